//! Data commands: reads of history and heads, publishes, probes. Through a
//! pool; a connection that has failed does not go back into it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime, Timeouts};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, RedisResult, Value};
use sluice_wire::channel::Channel;
use sluice_wire::keys::Keys;
use sluice_wire::position::Position;
use sluice_wire::publish::{self, Defaults, Publish, Refusal, parse_reply};

use super::RedisSettings;
use super::parse;
use crate::broker::clock::Clock;
use crate::broker::{Publication, PublishError};
use crate::hub::exchange::{Context, Oldest, Query, Range, ReadId, Reading};

/// Heads read by one pipeline.
const HEADS_PER_PIPELINE: usize = 1_000;
/// How often a live channel's head has its time to live refreshed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(3_600);

/// The pool and the scripts.
pub(in crate::broker) struct DataLink {
    pool: Pool,
    keys: Keys,
    events: Defaults,
    publish: Script,
    ensure_head: Script,
    clock: Clock,
    new_heads: Mutex<NewHeads>,
    refreshed: Mutex<Option<Instant>>,
}

struct Script {
    text: String,
    sha: String,
}

/// How many more heads reading may create within this second.
struct NewHeads {
    per_second: u32,
    left: u32,
    since: Instant,
}

/// Why a command gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    #[error("no connection to Redis: {0}")]
    NoConnection(#[from] PoolError),
    #[error("Redis: {0}")]
    Command(#[from] RedisError),
    #[error("Redis answered {0} with something else")]
    Reply(&'static str),
    #[error("more new channels are being read than `limits.new_heads_per_second` allows")]
    TooManyNewHeads,
}

impl DataLink {
    pub(super) fn new(
        settings: &RedisSettings,
        events: Defaults,
        new_heads_per_second: u32,
        clock: Clock,
    ) -> Result<DataLink, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let super::Topology::Standalone(info) = &settings.topology;
        let manager = Manager::new_with_config((**info).clone(), config)?;
        let wait = settings.connect_timeout + settings.response_timeout;
        let pool = Pool::builder(manager)
            .max_size(settings.pool)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(wait),
                create: Some(settings.connect_timeout),
                recycle: Some(settings.response_timeout),
            })
            .build()
            .map_err(|error| {
                RedisError::from((redis::ErrorKind::Client, "pool", error.to_string()))
            })?;
        Ok(DataLink {
            pool,
            keys: settings.keys.clone(),
            events,
            publish: Script::new(publish::script(&events)),
            ensure_head: Script::new(publish::ensure_head_script(&events)),
            clock,
            new_heads: Mutex::new(NewHeads {
                per_second: new_heads_per_second,
                left: new_heads_per_second,
                since: Instant::now(),
            }),
            refreshed: Mutex::new(None),
        })
    }

    /// Answers each query, or tells with `None` that it could not.
    pub(in crate::broker) async fn read_all(
        &self,
        batch: Vec<(ReadId, Query)>,
    ) -> Vec<(ReadId, Channel, Option<Reading>)> {
        let readings = match self.read_batch(&batch).await {
            Ok(readings) => readings,
            Err(error) => {
                tracing::debug!(%error, "reads failed");
                batch.iter().map(|_| None).collect()
            }
        };
        batch
            .into_iter()
            .zip(readings)
            .map(|((id, query), reading)| (id, query.channel, reading))
            .collect()
    }

    async fn read_batch(
        &self,
        batch: &[(ReadId, Query)],
    ) -> Result<Vec<Option<Reading>>, DataError> {
        let mut pipeline = Pipeline::with_capacity(batch.len() * 5);
        for (_, query) in batch {
            self.add_query(query, &mut pipeline);
        }
        let replies: Vec<Value> = self.run(async |connection| pipeline.query_async(connection).await).await?;
        let mut transactions = replies.into_iter().filter_map(|reply| match reply {
            Value::Array(parts) => Some(parts),
            _ => None,
        });
        let mut readings = Vec::with_capacity(batch.len());
        for (_, query) in batch {
            let parts = transactions.next().ok_or(DataError::Reply("EXEC"))?;
            let reading = match read_transaction(parts).ok_or(DataError::Reply("a read"))? {
                (Some(head), entries, context) => {
                    Some(Reading { head, head_is_new: false, entries, context })
                }
                (None, ..) => match self.read_new_channel(query).await {
                    Ok(reading) => Some(reading),
                    Err(error) => {
                        tracing::debug!(%error, channel = %query.channel, "no head could be made");
                        None
                    }
                },
            };
            readings.push(reading);
        }
        Ok(readings)
    }

    /// Makes the head of a channel that has none, then reads as asked.
    async fn read_new_channel(&self, query: &Query) -> Result<Reading, DataError> {
        if !self.may_create_a_head() {
            return Err(DataError::TooManyNewHeads);
        }
        let keys = [self.keys.stream(&query.channel), self.keys.head(&query.channel)];
        let tag = format!("{:08x}", rand::random::<u32>());
        let args = [b"tag".to_vec(), tag.into_bytes()];
        let reply = self.eval(&self.ensure_head, &keys, &args).await?;
        parse_reply(&reply).map_err(|_| DataError::Reply("ensure_head"))?;
        let mut pipeline = Pipeline::new();
        self.add_query(query, &mut pipeline);
        let replies: Vec<Value> = self.run(async |connection| pipeline.query_async(connection).await).await?;
        let parts = replies.into_iter().find_map(|reply| match reply {
            Value::Array(parts) => Some(parts),
            _ => None,
        });
        match parts.and_then(read_transaction) {
            Some((Some(head), entries, context)) => {
                Ok(Reading { head, head_is_new: true, entries, context })
            }
            Some((None, ..)) | None => Err(DataError::Reply("a read")),
        }
    }

    fn may_create_a_head(&self) -> bool {
        let Ok(mut heads) = self.new_heads.lock() else { return false };
        if heads.since.elapsed() >= Duration::from_secs(1) {
            heads.since = Instant::now();
            heads.left = heads.per_second;
        }
        let may = heads.left > 0;
        heads.left = heads.left.saturating_sub(1);
        may
    }

    /// One look at one channel: head and entries of the same moment.
    fn add_query(&self, query: &Query, pipeline: &mut Pipeline) {
        let stream = self.keys.stream(&query.channel);
        pipeline.cmd("MULTI");
        pipeline.cmd("GET").arg(self.keys.head(&query.channel));
        match query.range {
            Range::Head => {}
            Range::After(place) => {
                let from = format!("({}", place.id());
                pipeline.cmd("XRANGE").arg(&stream).arg(from).arg("+");
                pipeline.arg("COUNT").arg(query.count);
            }
            Range::Since(ms) => {
                pipeline.cmd("XRANGE").arg(&stream).arg(ms).arg("+");
                pipeline.arg("COUNT").arg(query.count);
            }
            Range::Last(count) => {
                pipeline.cmd("XREVRANGE").arg(&stream).arg("+").arg("-");
                pipeline.arg("COUNT").arg(count);
            }
            Range::Exactly(place) => {
                let id = place.id().to_string();
                pipeline.cmd("XRANGE").arg(&stream).arg(&id).arg(&id);
            }
        }
        if query.confirm {
            pipeline.cmd("XRANGE").arg(&stream).arg("-").arg("+").arg("COUNT").arg(1);
        }
        pipeline.cmd("EXEC");
    }

    /// The heads of these channels, `None` where there is none, and the time.
    pub(in crate::broker) async fn heads(
        &self,
        channels: Vec<Channel>,
    ) -> Option<Vec<(Channel, Option<Position>)>> {
        let refresh = self.refresh_is_due();
        let mut heads = Vec::with_capacity(channels.len());
        for channels in channels.chunks(HEADS_PER_PIPELINE) {
            match self.some_heads(channels, refresh).await {
                Ok(some) => heads.extend(some),
                Err(error) => {
                    tracing::debug!(%error, "the audit failed");
                    return None;
                }
            }
        }
        Some(heads)
    }

    fn refresh_is_due(&self) -> bool {
        let Ok(mut refreshed) = self.refreshed.lock() else { return false };
        let due = refreshed.is_none_or(|at| at.elapsed() >= REFRESH_INTERVAL);
        if due {
            *refreshed = Some(Instant::now());
        }
        due
    }

    async fn some_heads(
        &self,
        channels: &[Channel],
        refresh: bool,
    ) -> Result<Vec<(Channel, Option<Position>)>, DataError> {
        let mut pipeline = Pipeline::with_capacity(channels.len() + 1);
        pipeline.cmd("TIME");
        for channel in channels {
            let head = self.keys.head(channel);
            if refresh {
                let ttl = u64::try_from(self.events.head_ttl.as_millis()).unwrap_or(u64::MAX);
                pipeline.cmd("GETEX").arg(head).arg("PX").arg(ttl);
            } else {
                pipeline.cmd("GET").arg(head);
            }
        }
        let asked = Instant::now();
        let replies: Vec<Value> = self.run(async |connection| pipeline.query_async(connection).await).await?;
        let mut replies = replies.into_iter();
        let time = replies.next().ok_or(DataError::Reply("TIME"))?;
        let (seconds, micros): (u64, u64) = redis::from_redis_value(time)
            .map_err(|_| DataError::Reply("TIME"))?;
        self.clock.correct(seconds * 1_000 + micros / 1_000, asked.elapsed());
        channels
            .iter()
            .cloned()
            .zip(replies)
            .map(|(channel, reply)| {
                let head = parse::head(&reply).ok_or(DataError::Reply("GET head"))?;
                Ok((channel, head))
            })
            .collect()
    }

    /// Publishes; tries once more after a lost reply if the event has an id.
    pub(in crate::broker) async fn publish(
        &self,
        publication: &Publication,
    ) -> Result<Position, PublishError> {
        let tag = Some(rand::random());
        let publish = Publish { tag, ..publication.as_publish() };
        publish.check(self.events.event_bytes)?;
        let keys = publish.keys(&self.keys);
        let args = publish.args();
        let mut tries = if publication.event_id.is_some() { 2 } else { 1 };
        loop {
            tries -= 1;
            match self.eval(&self.publish, &keys, &args).await {
                Ok(reply) => return parse_reply(&reply).map_err(|_| PublishError::Unknown),
                Err(DataError::Command(error)) => {
                    if let Some(refusal) = Refusal::from_redis_error(&error.to_string()) {
                        return Err(refusal.into());
                    }
                    tracing::warn!(%error, "a publish failed");
                    let unknown = error.is_io_error() || error.is_timeout();
                    match (unknown, tries) {
                        (false, _) => return Err(PublishError::Unavailable),
                        (true, 0) => return Err(PublishError::Unknown),
                        (true, _) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a publish failed");
                    return Err(PublishError::Unavailable);
                }
            }
        }
    }

    /// Publishes nothing on a topic of the subscriber's own.
    pub(super) async fn probe(&self, topic: &str) -> Result<(), DataError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(topic).arg("");
        self.run(async |connection| publish.query_async(connection).await).await
    }

    /// Loads the function library where it is absent or older. True when it did.
    pub(super) async fn install_library(&self) -> Result<bool, DataError> {
        let mut version = redis::cmd("FCALL_RO");
        version.arg(publish::FUNCTION_VERSION).arg(0);
        let found: Result<i64, DataError> =
            self.run(async |connection| version.query_async(connection).await).await;
        if !publish::needs_install(found.ok()) {
            return Ok(false);
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(publish::library(&self.events));
        self.run(async |connection| load.exec_async(connection).await).await?;
        Ok(true)
    }

    async fn eval(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<Vec<u8>, DataError> {
        let sent = self.eval_as("EVALSHA", &script.sha, keys, args).await;
        match sent {
            Err(DataError::Command(error)) if error.code() == Some("NOSCRIPT") => {
                self.eval_as("EVAL", &script.text, keys, args).await
            }
            Ok(_) | Err(_) => sent,
        }
    }

    async fn eval_as(
        &self,
        command: &str,
        script: &str,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<Vec<u8>, DataError> {
        let mut eval = redis::cmd(command);
        eval.arg(script).arg(keys.len()).arg(keys).arg(args);
        self.run(async |connection| eval.query_async(connection).await).await
    }

    /// Runs commands on a connection of the pool; one that has failed is dropped.
    async fn run<T>(
        &self,
        commands: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, DataError> {
        let mut connection = self.pool.get().await?;
        let result = commands(&mut connection).await;
        if let Err(error) = &result
            && (error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error())
        {
            drop(Connection::take(connection));
        }
        Ok(result?)
    }
}

impl Script {
    fn new(text: String) -> Script {
        Script { sha: publish::sha1_hex(&text), text }
    }
}

type Look = (Option<Position>, Vec<sluice_wire::event::Event>, Option<Context>);

/// What the commands of [`DataLink::add_query`] have answered.
fn read_transaction(parts: Vec<Value>) -> Option<Look> {
    let mut parts = parts.into_iter();
    let head = parse::head(&parts.next()?)?;
    let mut entries = match parts.next() {
        Some(entries) => parse::entries(entries)?,
        None => Vec::new(),
    };
    if entries.len() > 1 && entries[0].position.id() > entries[1].position.id() {
        entries.reverse();
    }
    let context = match parts.next() {
        Some(oldest) => Some(Context {
            oldest: parse::entries(oldest)?
                .first()
                .map(|event| Oldest { position: event.position, prev: event.prev }),
        }),
        None => None,
    };
    Some((head, entries, context))
}

//! Looks at the stream: history and heads, many to a pipeline, each look
//! atomic. Refuses to guess: what cannot be read is no reading.

use std::time::{Duration, Instant};

use redis::{Pipeline, RedisResult, Value};
use sluice_wire::channel::Channel;
use sluice_wire::look::{self, Entries};
use sluice_wire::position::{Position, StreamId};
use sluice_wire::publish::parse_reply;

use super::data::{DataError, DataLink};
use super::parse;
use crate::broker::canary::is_canary;
use crate::broker::history::Look;
use crate::hub::exchange::{Context, Oldest, Query, Range, ReadId, Reading};
use crate::reasons::{LimitName, RedisCommand};

/// Heads read by one pipeline.
const HEADS_PER_PIPELINE: usize = 1_000;
/// How often a live channel's head has its time to live refreshed, unless a third of that time is less.
const REFRESH_INTERVAL: Duration = Duration::from_secs(3_600);

/// How many more heads reading may create within this second.
pub(super) struct NewHeads {
    per_second: u32,
    left: u32,
    since: Instant,
}

impl NewHeads {
    pub(super) fn new(per_second: u32) -> NewHeads {
        NewHeads {
            per_second,
            left: per_second,
            since: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.left = self.per_second;
        }
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }
}

impl DataLink {
    /// Answers each query, or tells with `None` that it could not.
    pub(in crate::broker) async fn read_all(
        &self,
        batch: Vec<(ReadId, Query)>,
    ) -> Vec<(ReadId, Channel, Option<Reading>)> {
        let queries: Vec<&Query> = batch.iter().map(|(_, query)| query).collect();
        let looks = self.look(&queries).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "reads failed");
            Vec::new()
        });
        let mut looks = looks.into_iter();
        let mut readings = Vec::with_capacity(batch.len());
        for (id, query) in batch {
            // One channel's broken key keeps no other from being read.
            let reading = match looks.next().flatten() {
                Some(look) => self.reading(look, &query).await,
                None => None,
            };
            readings.push((id, query.channel, reading));
        }
        readings
    }

    async fn reading(&self, look: Look, query: &Query) -> Option<Reading> {
        if let Some(reading) = look.into_reading(false) {
            return Some(reading);
        }
        let made = self.read_new_channel(query).await;
        made.inspect_err(
            |error| tracing::debug!(%error, channel = %query.channel, "no head could be made"),
        )
        .ok()
    }

    /// Makes the head of a channel that has none, then reads as asked.
    async fn read_new_channel(&self, query: &Query) -> Result<Reading, DataError> {
        // The canary's one head takes no reader's place.
        let is_limited = !is_canary(&query.channel);
        if is_limited && !self.new_heads.lock().is_ok_and(|mut heads| heads.take()) {
            self.limits.hits.of(LimitName::NewHeads).inc();
            return Err(DataError::TooManyNewHeads);
        }
        let keys = [
            self.keys.stream(&query.channel),
            self.keys.head(&query.channel),
        ];
        let tag = format!("{:08x}", rand::random::<u32>());
        let args = [b"tag".to_vec(), tag.into_bytes()];
        let reply: Vec<u8> = self
            .eval(self.head_script(&query.channel), &keys, &args)
            .await?;
        parse_reply(&reply).map_err(|_| DataError::Reply("ensure_head"))?;
        let look = self.look(&[query]).await?.into_iter().next().flatten();
        look.and_then(|look| look.into_reading(true))
            .ok_or(DataError::Reply("a read"))
    }

    /// One atomic look per query, all in one pipeline; `None` where a key cannot be read.
    async fn look(&self, queries: &[&Query]) -> Result<Vec<Option<Look>>, DataError> {
        let mut pipeline = Pipeline::with_capacity(queries.len());
        pipeline.ignore_errors();
        for query in queries {
            let entries = entries(query);
            let words = look::words(&self.keys, &query.channel, entries, query.confirm);
            pipeline.cmd(look::COMMAND).arg(words);
        }
        let replies: Vec<RedisResult<Value>> = self
            .run(RedisCommand::Read, async |connection| {
                pipeline.query_async(connection).await
            })
            .await?;
        self.timed.partly_failed(RedisCommand::Read, &replies);
        let looks = queries.iter().zip(replies);
        let looks = looks.map(|(query, reply)| self.readable(&query.channel, reply, Look::parse));
        Ok(looks.collect())
    }

    /// What a reply of one channel's keys means; where it means nothing, that is
    /// said, not more than once a minute for all channels together.
    pub(super) fn readable<T>(
        &self,
        channel: &Channel,
        reply: RedisResult<Value>,
        parse: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        let why = match reply.map(parse) {
            Ok(Some(read)) => return Some(read),
            Ok(None) => "they hold what Sluice has not written".to_owned(),
            Err(error) => error.to_string(),
        };
        if let Some(left_out) = self.unreadable.due() {
            tracing::warn!(%channel, why, left_out, "a channel's keys cannot be read; its readers wait");
        }
        None
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
        let Ok(mut refreshed) = self.refreshed.lock() else {
            return false;
        };
        let interval = REFRESH_INTERVAL.min(self.events.head_ttl / 3);
        let due = refreshed.is_none_or(|at| at.elapsed() >= interval);
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
        let mut pipeline = Pipeline::with_capacity(channels.len() * 2 + 1);
        pipeline.ignore_errors();
        pipeline.cmd("TIME");
        for channel in channels {
            pipeline.cmd("GET").arg(self.keys.head(channel));
        }
        if refresh {
            let ttl = u64::try_from(self.events.head_ttl.as_millis()).unwrap_or(u64::MAX);
            // The canary's goes with its last probe.
            for channel in channels {
                if is_canary(channel) {
                    continue;
                }
                // Never shorter than what a publisher has asked for.
                pipeline
                    .cmd("PEXPIRE")
                    .arg(self.keys.head(channel))
                    .arg(ttl)
                    .arg("GT");
            }
        }
        let asked = Instant::now();
        let replies: Vec<RedisResult<Value>> = self
            .run(RedisCommand::Audit, async |connection| {
                pipeline.query_async(connection).await
            })
            .await?;
        self.timed.partly_failed(RedisCommand::Audit, &replies);
        let mut replies = replies.into_iter();
        let time = replies.next().ok_or(DataError::Reply("TIME"))??;
        self.clock.correct(parse::time(time)?, asked.elapsed());
        let heads = channels.iter().zip(replies).filter_map(|(channel, reply)| {
            let head = self.readable(channel, reply, |reply| parse::head(&reply))?;
            Some((channel.clone(), head))
        });
        Ok(heads.collect())
    }
}

/// The entries that a query is about.
fn entries(query: &Query) -> Entries {
    match query.range {
        Range::Head => Entries::none(),
        Range::After(place) => Entries::after(place.id(), query.count),
        Range::Since(ms) => Entries::from(StreamId { ms, seq: 0 }, query.count),
        Range::Last(count) => Entries::newest(count as usize),
        Range::Exactly(place) => Entries::at(place.id()),
    }
}

impl Look {
    /// What the script of [`look`] has answered.
    pub(super) fn parse(reply: Value) -> Option<Look> {
        let Value::Array(parts) = reply else {
            return None;
        };
        let mut parts = parts.into_iter();
        let head = parse::head(&parts.next()?)?;
        let mut entries = parse::entries(parts.next()?)?;
        // XREVRANGE's order is the other way round.
        entries.sort_by_key(|event| event.position.id());
        let context = match parts.next() {
            Some(oldest) => {
                let oldest = parse::entries(oldest)?.into_iter().next();
                let oldest = oldest.map(|event| Oldest {
                    position: event.position,
                    prev: event.prev,
                });
                Some(Context { oldest })
            }
            None => None,
        };
        Some(Look {
            head,
            entries,
            context,
        })
    }

    fn into_reading(self, head_is_new: bool) -> Option<Reading> {
        let Look {
            head,
            entries,
            context,
        } = self;
        Some(Reading {
            head: head?,
            head_is_new,
            entries,
            context,
        })
    }
}

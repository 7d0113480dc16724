//! Publishes as any backend would, through the one script, and keeps the journal. It speaks to redis-server
//! itself, never through a gateway or the proxy, and repeats a call without an answer under its event id.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use redis::{RedisError, aio::MultiplexedConnection};
use sluice_wire::{
    Channel, Keys,
    publish::{self, Defaults, Publish},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    journal::{Journal, Outcome, Record},
    redis::{RedisServer, connect},
};

/// How long a call is repeated before its outcome is left unknown.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events kept per channel: more than any scenario publishes, so that history ends only where one trims it.
const HISTORY: u32 = 10_000;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// A stream entry as `XRANGE` gives it.
type Entry = (String, HashMap<String, String>);

/// A publisher; clones share its connection and journal. At most one publishes to a channel at a time.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    script: String,
    sha: String,
    keys: Keys,
    connection: Mutex<Option<MultiplexedConnection>>,
    journal: Mutex<Journal>,
    serials: Mutex<BTreeMap<String, u64>>,
}

impl Publisher {
    /// A publisher to `redis` with the script as shipped, but for a longer history.
    pub fn new(redis: &RedisServer) -> Result<Publisher> {
        let script = publish::script(&Defaults {
            maxlen: HISTORY,
            ..Defaults::default()
        });
        let inner = Inner {
            url: redis.url(),
            sha: publish::sha1_hex(&script),
            script,
            keys: Keys::new(Keys::DEFAULT_PREFIX)?,
            connection: Mutex::default(),
            journal: Mutex::default(),
            serials: Mutex::default(),
        };
        Ok(Publisher {
            inner: Arc::new(inner),
        })
    }

    /// Publishes the next event of `channel`; its payload names channel and serial and is unique.
    pub async fn publish(&self, channel: &str) -> Result<Record> {
        self.publish_sized(channel, 0).await
    }

    /// As [`Publisher::publish`], with a payload of at least `bytes` bytes.
    pub async fn publish_sized(&self, channel: &str, bytes: usize) -> Result<Record> {
        let serial = self.next_serial(channel);
        let name = format!("{channel} {serial}");
        let payload = format!("{name} {}|", " ".repeat(bytes.saturating_sub(name.len())));
        self.append(channel, serial, None, payload).await
    }

    /// Publishes this text, of this type if one is given; neither need be unique.
    pub async fn publish_text(
        &self,
        channel: &str,
        event_type: Option<&str>,
        text: &str,
    ) -> Result<Record> {
        let serial = self.next_serial(channel);
        self.append(channel, serial, event_type, text.to_owned())
            .await
    }

    async fn append(
        &self,
        channel: &str,
        serial: u64,
        event_type: Option<&str>,
        payload: String,
    ) -> Result<Record> {
        let event_id = format!("{channel}/{serial}");
        let outcome = self.store(channel, &event_id, event_type, &payload).await?;
        let record = Record {
            channel: channel.to_owned(),
            serial,
            payload,
            outcome,
        };
        self.inner
            .journal
            .lock()
            .expect("no holder panics")
            .records
            .push(record.clone());
        Ok(record)
    }

    /// Publishes `rounds` events to each of `channels`, one round at a time, all channels of it at once.
    pub async fn publish_rounds(&self, channels: &[String], rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            try_join_all(channels.iter().map(|channel| self.publish(channel))).await?;
        }
        Ok(())
    }

    /// Starts a steady flow: every `pace` one event, on each of `channels` in turn.
    pub fn flow(&self, channels: &[String], pace: Duration) -> Flow {
        let (stop, mut stopped) = watch::channel(false);
        let (publisher, channels) = (self.clone(), channels.to_vec());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = interval(pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for channel in channels.iter().cycle() {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stopped.changed() => return Ok(()),
                }
                publisher.publish(channel).await?;
            }
            bail!("a flow needs a channel")
        });
        Flow { stop, task }
    }

    /// All that was published so far.
    pub fn journal(&self) -> Journal {
        self.inner.journal.lock().expect("no holder panics").clone()
    }

    /// How many events were handed over so far.
    pub fn published(&self) -> usize {
        self.inner
            .journal
            .lock()
            .expect("no holder panics")
            .records
            .len()
    }

    /// The head of each of `channels` as Redis holds it now; a channel without one is left out.
    pub async fn heads(&self, channels: &[String]) -> Result<BTreeMap<String, String>> {
        let mut connection = connect(&self.inner.url).await?;
        let mut heads = BTreeMap::new();
        for channel in channels {
            let head: Option<String> = redis::cmd("GET")
                .arg(self.head_key(channel)?)
                .query_async(&mut connection)
                .await?;
            // The key holds the position and, behind a blank, the genesis of its timeline.
            let position = head.and_then(|head| head.split(' ').next().map(str::to_owned));
            heads.extend(position.map(|position| (channel.clone(), position)));
        }
        Ok(heads)
    }

    pub fn stream_key(&self, channel: &str) -> Result<String> {
        Ok(self.inner.keys.stream(&Channel::parse(channel)?))
    }

    pub fn head_key(&self, channel: &str) -> Result<String> {
        Ok(self.inner.keys.head(&Channel::parse(channel)?))
    }

    pub fn topic(&self, channel: &str) -> Result<String> {
        Ok(self.inner.keys.topic(&Channel::parse(channel)?))
    }

    fn next_serial(&self, channel: &str) -> u64 {
        let mut serials = self.inner.serials.lock().expect("no holder panics");
        let next = serials.entry(channel.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    /// Stores one event, however often the call must be repeated; fails only on a refusal.
    async fn store(
        &self,
        channel: &str,
        event_id: &str,
        event_type: Option<&str>,
        payload: &str,
    ) -> Result<Outcome> {
        let channel = Channel::parse(channel)?;
        let event = Publish {
            event_id: Some(event_id),
            event_type,
            ..Publish::new(&channel, payload.as_bytes())
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.attempt(&event).await {
                Ok(position) => {
                    let prev = self.prev(&channel, &position, deadline).await;
                    return Ok(Outcome::Stored { position, prev });
                }
                Err(error) if is_refusal(&error) => return Err(error).context("publishing"),
                Err(_) if Instant::now() >= deadline => return Ok(Outcome::Unknown),
                Err(_) => sleep(BETWEEN_ATTEMPTS).await,
            }
        }
    }

    async fn attempt(&self, event: &Publish<'_>) -> Result<String, RedisError> {
        let call = |command: &str, script: &str| {
            let keys = event.keys(&self.inner.keys);
            let mut call = redis::cmd(command);
            call.arg(script).arg(keys.len()).arg(keys).arg(event.args());
            call
        };
        match self.query(&call("EVALSHA", &self.inner.sha)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.query(&call("EVAL", &self.inner.script)).await
            }
            other => other,
        }
    }

    /// The `prev` that the stream holds at `position`; none if the entry is gone.
    async fn prev(&self, channel: &Channel, position: &str, deadline: Instant) -> Option<String> {
        let id = position.split('.').next()?;
        let mut range = redis::cmd("XRANGE");
        range.arg(self.inner.keys.stream(channel)).arg(id).arg(id);
        loop {
            match self.query::<Vec<Entry>>(&range).await {
                Ok(entries) => {
                    let (id, mut fields) = entries.into_iter().next()?;
                    let is_same =
                        position.strip_prefix(&id)?.strip_prefix('.')? == fields.get("t")?;
                    return fields.remove("p").filter(|_| is_same);
                }
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => sleep(BETWEEN_ATTEMPTS).await,
            }
        }
    }

    async fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, RedisError> {
        let open = self
            .inner
            .connection
            .lock()
            .expect("no holder panics")
            .clone();
        let mut connection = match open {
            Some(connection) => connection,
            None => {
                let made = connect(&self.inner.url).await.map_err(|error| {
                    RedisError::from((redis::ErrorKind::Io, "connecting", error.to_string()))
                })?;
                self.inner
                    .connection
                    .lock()
                    .expect("no holder panics")
                    .insert(made)
                    .clone()
            }
        };
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(|error| error.code().is_none()) {
            // Not an error reply: the connection itself is in doubt.
            *self.inner.connection.lock().expect("no holder panics") = None;
        }
        answer
    }
}

fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("SLUICE")
}

/// A steady flow of events in the background.
pub struct Flow {
    stop: watch::Sender<bool>,
    task: JoinSet<Result<()>>,
}

impl Flow {
    /// Ends the flow after the event in hand; fails if the flow failed.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.task
            .join_next()
            .await
            .context("a flow has one task")?
            .context("the flow panicked")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lab::Lab, redis::Data};

    #[tokio::test]
    async fn the_journal_is_a_chain_even_over_a_stopped_and_a_restarted_server() -> Result<()> {
        let lab = Lab::new()?;
        let mut redis = lab.redis().await?;
        let publisher = Publisher::new(&redis)?;
        let channels = ["a".to_owned(), "b".to_owned()];
        publisher.publish_rounds(&channels, 5).await?;
        let flow = publisher.flow(&channels, Duration::from_millis(1));
        redis.stop(Data::Kept).await?;
        redis.start_again().await?;
        let then = publisher.published();
        crate::wait::until_true(PATIENCE, "the flow goes on", || {
            publisher.published() > then + 10
        })
        .await?;
        flow.stop().await?;

        let (journal, heads) = (publisher.journal(), publisher.heads(&channels).await?);
        for channel in &channels {
            let records: Vec<_> = journal
                .records
                .iter()
                .filter(|record| record.channel == *channel)
                .collect();
            let mut last = None;
            for record in records {
                let Outcome::Stored { position, prev } = &record.outcome else {
                    bail!("{record:?}")
                };
                if let Some(last) = last {
                    assert_eq!(prev.as_ref(), Some(last));
                }
                last = Some(position);
            }
            assert_eq!(heads.get(channel), last);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_not_repeated() -> Result<()> {
        let lab = Lab::new()?;
        let redis = lab.redis().await?;
        let publisher = Publisher::new(&redis)?;
        let error = publisher
            .publish_sized("a", 1 << 20)
            .await
            .expect_err("too large");
        assert!(
            format!("{error:#}").contains("event_too_large"),
            "{error:#}"
        );
        Ok(())
    }
}

//! The supervisor of the subscriber connection: what is wanted against what
//! Redis has confirmed, until they agree. Pushes, never replies, are the truth.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, Value};
use sluice_wire::channel::Channel;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::data::DataLink;
use super::parse;
use super::topology::Shard;
use super::{Outlets, RedisSettings};
use crate::broker::Push;
use crate::reasons::RedisCommand;

/// Topics in one SUBSCRIBE.
const TOPICS_PER_COMMAND: usize = 500;
/// How often wanted and confirmed are compared.
const COMPARE_INTERVAL: Duration = Duration::from_millis(250);
/// How long a SUBSCRIBE may stay unconfirmed before it is sent again.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);

/// What the node wants to hear of, shared with the supervisor.
#[derive(Default)]
pub(super) struct Wishes {
    topics: Mutex<Topics>,
    changed: Notify,
    overflowed: AtomicBool,
}

#[derive(Default)]
struct Topics {
    wanted: HashMap<String, Channel>,
    confirmed: HashSet<String>,
    /// Sent and not confirmed yet.
    asked: HashMap<String, Instant>,
}

impl Wishes {
    pub(super) fn want(&self, topic: &str, channel: &Channel) {
        let mut topics = self.topics();
        topics.wanted.insert(topic.to_owned(), channel.clone());
        // Said again, it wants a new confirmation.
        topics.confirmed.remove(topic);
        topics.asked.remove(topic);
        drop(topics);
        self.changed.notify_one();
    }

    pub(super) fn unwant(&self, topic: &str) {
        self.topics().wanted.remove(topic);
        self.changed.notify_one();
    }

    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::Relaxed)
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one connection per primary that carries nothing but subscriptions.
pub(in crate::broker) struct Subscriber {
    settings: RedisSettings,
    data: Arc<DataLink>,
    wishes: Arc<Wishes>,
    outlets: Outlets,
    probe_topic: String,
    orders_topic: String,
    links: HashMap<Shard, Link>,
    /// A push of an older generation is not believed.
    generation: Arc<AtomicU64>,
    failures: u32,
    was_connected: bool,
}

struct Link {
    connection: MultiplexedConnection,
    pulse: Arc<Pulse>,
}

/// What a connection's pushes tell about the connection.
struct Pulse {
    started: Instant,
    /// Milliseconds after `started` at which something was last heard.
    heard: AtomicU64,
    lost: AtomicBool,
}

impl Subscriber {
    pub(super) fn new(
        settings: RedisSettings,
        data: Arc<DataLink>,
        wishes: Arc<Wishes>,
        outlets: Outlets,
    ) -> Result<Subscriber, RedisError> {
        let name = format!("_probe.{:016x}", rand::random::<u64>());
        let probe = Channel::parse(&name).map_err(|error| {
            RedisError::from((redis::ErrorKind::Client, "probe", error.to_string()))
        })?;
        Ok(Subscriber {
            probe_topic: settings.keys.topic(&probe),
            orders_topic: settings.keys.orders_topic(),
            settings,
            data,
            wishes,
            outlets,
            links: HashMap::new(),
            generation: Arc::default(),
            failures: 0,
            was_connected: false,
        })
    }

    /// Supervises until the future is dropped.
    pub(in crate::broker) async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(()) => {
                    let wishes = Arc::clone(&self.wishes);
                    let changed = wishes.changed.notified();
                    // Either is a reason to look; neither is an error.
                    drop(timeout(COMPARE_INTERVAL, changed).await);
                }
                Err(error) => {
                    tracing::warn!(%error, "the subscriber connection failed");
                    self.lose_all().await;
                    tokio::time::sleep(self.backoff()).await;
                }
            }
        }
    }

    async fn turn(&mut self) -> Result<(), RedisError> {
        if self
            .links
            .values()
            .any(|link| link.pulse.lost.load(Ordering::Relaxed))
        {
            return Err(RedisError::from((
                redis::ErrorKind::Io,
                "Redis closed the connection",
            )));
        }
        if self.links.is_empty() {
            self.connect().await?;
        }
        self.unsubscribe().await?;
        self.subscribe().await?;
        self.watch().await
    }

    async fn connect(&mut self) -> Result<(), RedisError> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        for (shard, client) in self.settings.topology.primaries()? {
            let pulse = Arc::new(Pulse::new());
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(self.settings.connect_timeout))
                .set_response_timeout(Some(self.settings.response_timeout))
                .set_push_sender(self.ear(generation, &pulse));
            let timed = &self.data.timed;
            let connect = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = timed.counted(RedisCommand::Connect, connect).await?;
            for own in [&self.probe_topic, &self.orders_topic] {
                let subscribe = connection.subscribe(own);
                timed.counted(RedisCommand::Subscribe, subscribe).await?;
            }
            self.links.insert(shard, Link { connection, pulse });
        }
        self.failures = 0;
        self.outlets.metrics.connected.set(1);
        if self.was_connected {
            self.outlets.metrics.reconnects.inc();
        }
        self.was_connected = true;
        tracing::info!("subscribed to Redis");
        if self.settings.install_functions {
            match self.data.install_library().await {
                Ok(true) => tracing::info!("loaded the function library"),
                Ok(false) => {}
                Err(error) => tracing::info!(%error, "the function library was not loaded"),
            }
        }
        self.outlets.connected.send_replace(true);
        Ok(())
    }

    /// What a connection calls for each push. It never waits: what does not
    /// fit is counted as lost, and everything is synced.
    fn ear(
        &self,
        generation: u64,
        pulse: &Arc<Pulse>,
    ) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static {
        let current = Arc::clone(&self.generation);
        let wishes = Arc::clone(&self.wishes);
        let pulse = Arc::clone(pulse);
        let pushes = self.outlets.pushes.clone();
        let own = [self.probe_topic.clone(), self.orders_topic.clone()];
        move |info| {
            if current.load(Ordering::Relaxed) != generation {
                return Err(redis::aio::SendError);
            }
            pulse.hear();
            let push = hear(info, &pulse, &wishes, &own);
            if let Some(push) = push
                && let Err(refused) = pushes.try_send(push)
            {
                wishes.refused(&refused.into_inner());
            }
            Ok(())
        }
    }

    async fn subscribe(&mut self) -> Result<(), RedisError> {
        let mut by_shard: HashMap<Shard, Vec<String>> = HashMap::new();
        {
            let mut topics = self.wishes.topics();
            let Topics {
                wanted,
                confirmed,
                asked,
            } = &mut *topics;
            for (topic, channel) in wanted.iter() {
                let waits = asked
                    .get(topic)
                    .is_some_and(|at| at.elapsed() < CONFIRM_WAIT);
                if !confirmed.contains(topic) && !waits {
                    asked.insert(topic.clone(), Instant::now());
                    let shard = self.settings.topology.owner(channel);
                    by_shard.entry(shard).or_default().push(topic.clone());
                }
            }
        }
        for (shard, topics) in by_shard {
            let Some(link) = self.links.get_mut(&shard) else {
                continue;
            };
            for topics in topics.chunks(TOPICS_PER_COMMAND) {
                let left = link.pulse.patience(self.settings.probe_timeout);
                let subscribe = link.connection.subscribe(topics);
                let class = RedisCommand::Subscribe;
                match timeout(left, self.data.timed.counted(class, subscribe)).await {
                    Ok(subscribed) => subscribed?,
                    // The watchdog, whose turn is next, must not wait for a reply that may never come.
                    Err(_) => return self.unanswered(class),
                }
            }
        }
        Ok(())
    }

    async fn unsubscribe(&mut self) -> Result<(), RedisError> {
        let unwanted: Vec<String> = {
            let mut topics = self.wishes.topics();
            let Topics {
                wanted, confirmed, ..
            } = &mut *topics;
            confirmed
                .extract_if(|topic| !wanted.contains_key(topic))
                .collect()
        };
        for topics in unwanted.chunks(TOPICS_PER_COMMAND) {
            for link in self.links.values_mut() {
                let left = link.pulse.patience(self.settings.probe_timeout);
                let unsubscribe = link.connection.unsubscribe(topics);
                let class = RedisCommand::Subscribe;
                match timeout(left, self.data.timed.counted(class, unsubscribe)).await {
                    Ok(unsubscribed) => unsubscribed?,
                    Err(_) => return self.unanswered(class),
                }
            }
        }
        Ok(())
    }

    fn unanswered(&self, class: RedisCommand) -> Result<(), RedisError> {
        self.data.timed.unanswered(class);
        Ok(())
    }

    /// Probes a silent connection; one that stays silent has failed.
    async fn watch(&mut self) -> Result<(), RedisError> {
        let silences = self.links.values().map(|link| link.pulse.silence());
        let silence = silences.max().unwrap_or_default();
        self.outlets
            .metrics
            .silence_seconds
            .set(silence.as_secs_f64());
        if silence >= self.settings.probe_timeout {
            self.data.give_up();
            return Err(RedisError::from((
                redis::ErrorKind::Io,
                "Redis has fallen silent",
            )));
        }
        if silence >= self.settings.probe_interval {
            let left = self.settings.probe_timeout.saturating_sub(silence);
            for link in self.links.values_mut() {
                // The reply says nothing; the push that comes back is what is listened for.
                let mut publish = redis::cmd("PUBLISH");
                publish.arg(&self.probe_topic).arg("");
                let probe = publish.exec_async(&mut link.connection);
                let timed = &self.data.timed;
                match timeout(left, timed.counted(RedisCommand::Probe, probe)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "the probe could not be sent"),
                    Err(_) => {
                        timed.unanswered(RedisCommand::Probe);
                        tracing::debug!("the probe was not answered");
                    }
                }
            }
        }
        Ok(())
    }

    async fn lose_all(&mut self) {
        let was_connected = !self.links.is_empty();
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.links.clear();
        {
            let mut topics = self.wishes.topics();
            topics.confirmed.clear();
            topics.asked.clear();
        }
        self.failures = self.failures.saturating_add(1);
        self.outlets.metrics.connected.set(0);
        self.outlets.connected.send_replace(false);
        if was_connected {
            // The node reads this queue without waiting, so there is room soon.
            drop(self.outlets.pushes.send(Push::Disconnected).await);
        }
    }

    /// Full jitter below a bound that doubles with each failure.
    fn backoff(&self) -> Duration {
        let doubled = self.settings.backoff_min * 2_u32.saturating_pow(self.failures.min(16));
        let bound = doubled.min(self.settings.backoff_max);
        let spread = bound.saturating_sub(self.settings.backoff_min);
        self.settings.backoff_min + spread.mul_f64(rand::random())
    }
}

impl Wishes {
    fn confirm(&self, topic: String) -> Option<Push> {
        let mut topics = self.topics();
        topics.asked.remove(&topic);
        let channel = topics.wanted.get(&topic).cloned();
        topics.confirmed.insert(topic);
        channel.map(Push::Confirmed)
    }

    fn unconfirm(&self, topic: &str) -> Option<Push> {
        let mut topics = self.topics();
        topics.confirmed.remove(topic);
        topics.wanted.get(topic).cloned().map(Push::Unconfirmed)
    }

    /// The node's queue was full: what was refused must be made good.
    fn refused(&self, push: &Push) {
        if let Push::Confirmed(channel) = push {
            let mut topics = self.topics();
            let Topics {
                wanted, confirmed, ..
            } = &mut *topics;
            confirmed.retain(|topic| wanted.get(topic) != Some(channel));
        }
        self.overflowed.store(true, Ordering::Relaxed);
    }
}

impl Pulse {
    fn new() -> Pulse {
        Pulse {
            started: Instant::now(),
            heard: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        }
    }

    fn hear(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// How much longer the connection may be silent.
    fn patience(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.silence())
    }

    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(heard)
    }
}

/// What a push means for the node.
fn hear(info: PushInfo, pulse: &Pulse, wishes: &Wishes, own: &[String; 2]) -> Option<Push> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nothing else is asked for here"
    )]
    match info.kind {
        PushKind::Disconnection => {
            pulse.lost.store(true, Ordering::Relaxed);
            wishes.changed.notify_one();
            None
        }
        PushKind::Message | PushKind::SMessage => message(info.data, &own[0]),
        PushKind::Subscribe | PushKind::SSubscribe => {
            // The supervisor keeps its own topics by itself.
            wishes.confirm(topic(info.data).filter(|topic| !own.contains(topic))?)
        }
        PushKind::Unsubscribe | PushKind::SUnsubscribe => wishes.unconfirm(&topic(info.data)?),
        _ => None,
    }
}

fn topic(data: Vec<Value>) -> Option<String> {
    String::from_utf8(parse::text(data.into_iter().next()?)?).ok()
}

fn message(data: Vec<Value>, probe: &str) -> Option<Push> {
    let [topic, payload] = <[Value; 2]>::try_from(data).ok()?;
    let (topic, payload) = (parse::text(topic)?, parse::text(payload)?);
    (topic != probe.as_bytes()).then(|| Push::Raw {
        topic,
        payload: payload.into(),
    })
}

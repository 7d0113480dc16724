//! The canary: the node publishes to a channel of its own, as any publisher, and reads it back through its own listener, as
//! any client. So one number covers the whole way: script, Redis, subscriber, hub, worker, HTTP, socket. The stream stays
//! open between probes, so that delivery is measured and not connecting. What it finds feeds metrics and the log, never
//! readiness: a node that leaves the load balancer for a slow Redis would only end streams that heal by themselves.

mod link;
pub mod pass;
mod reader;

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout, timeout_at};

use self::link::Link;
use self::reader::Event;
use crate::broker::{Broker, Publication, PublishError};
use crate::health::{Health, Phase};
use crate::metrics::{CanaryMetrics, Metrics};
use crate::reasons::CanaryOutcome;
pub use link::Door;
pub use pass::Pass;

/// The first wait before connecting again; it doubles, with jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A stream that says nothing for so many heartbeats is replaced.
const SILENT_HEARTBEATS: u32 = 3;

/// How often, and how long each time.
#[derive(Clone, Copy, Debug)]
pub struct CanarySettings {
    pub interval: Duration,
    pub timeout: Duration,
    /// How often the listener lets a quiet stream hear something.
    pub heartbeat: Duration,
}

/// What the canary works on.
pub struct Surroundings {
    pub broker: Broker,
    pub health: Health,
    pub metrics: CanaryMetrics,
}

/// Probes the node that it runs in.
pub struct Canary {
    settings: CanarySettings,
    door: Door,
    pass: Pass,
    around: Surroundings,
    line: Line,
    /// Where the next stream is to go on from.
    cursor: Option<String>,
    place: Place,
    retry_at: Instant,
    /// Streams lost, one after the other, without having found their place.
    lost: u32,
    /// What went wrong in the probe.
    why: String,
    /// Probes that have failed since the last one that did not.
    failed: u64,
}

/// The canary's stream.
enum Line {
    Closed,
    /// It goes on from one probe to the next: a socket that was given up before the node has seen it would be a stranger's there.
    Entering(Pin<Box<dyn Future<Output = Result<io::Result<Link>, Elapsed>>>>),
    Open(Box<Link>),
}

/// What is known of the open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing; there may be none.
    Unanswered,
    /// The listener has answered, and waits for the broker to say where the channel stands.
    Waiting,
    /// Whatever is published from now on must come.
    Known,
}

impl Surroundings {
    #[must_use]
    pub fn new(broker: &Broker, health: &Health, metrics: &Metrics) -> Surroundings {
        Surroundings {
            broker: broker.clone(),
            health: health.clone(),
            metrics: metrics.canary.clone(),
        }
    }
}

impl Canary {
    #[must_use]
    pub fn new(settings: CanarySettings, door: Door, pass: Pass, around: Surroundings) -> Canary {
        Canary {
            settings,
            door,
            pass,
            around,
            line: Line::Closed,
            cursor: None,
            place: Place::Unanswered,
            retry_at: Instant::now(),
            lost: 0,
            why: String::new(),
            failed: 0,
        }
    }

    /// Probes until `leaving` is there, then lets its stream go at once: no drain waits for it.
    pub async fn run(mut self, leaving: impl Future<Output = ()>) -> Infallible {
        tokio::select! {
            never = self.work() => match never {},
            () = leaving => {}
        }
        drop(self);
        std::future::pending().await
    }

    async fn work(&mut self) -> Infallible {
        // Nodes that start together do not probe together.
        let first = self.settings.interval.mul_f64(rand::rng().random());
        let mut tick = interval_at(Instant::now() + first, self.settings.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => match self.around.health.phase() {
                    Phase::Started => {
                        let outcome = self.probe().await;
                        self.note(outcome);
                    }
                    // No caller is sent here: there is nothing to measure yet, or any more.
                    Phase::Starting | Phase::Draining => {}
                },
                never = self.listen() => match never {},
            }
        }
    }

    /// Keeps the stream open between probes.
    async fn listen(&mut self) -> Infallible {
        loop {
            match self.around.health.phase() {
                Phase::Started => drop(self.event().await),
                // The next probe looks again.
                Phase::Starting | Phase::Draining => std::future::pending().await,
            }
        }
    }

    async fn probe(&mut self) -> CanaryOutcome {
        self.why.clear();
        let until = Instant::now() + self.settings.timeout;
        match timeout_at(until, self.attempt()).await {
            Ok(outcome) => outcome,
            Err(_) => match self.place {
                Place::Unanswered => {
                    if self.why.is_empty() {
                        "the listener did not answer in time".clone_into(&mut self.why);
                    }
                    CanaryOutcome::StreamFailed
                }
                Place::Waiting | Place::Known => {
                    "it was not read back in time".clone_into(&mut self.why);
                    CanaryOutcome::Timeout
                }
            },
        }
    }

    async fn attempt(&mut self) -> CanaryOutcome {
        while self.place != Place::Known {
            self.event().await;
        }
        let mark = format!("{:032x}", rand::random::<u128>());
        let broker = self.around.broker.clone();
        let begun = Instant::now();
        let mut sent = pin!(broker.publish(self.publication(&mark)));
        let mut is_sent = false;
        loop {
            tokio::select! {
                answer = &mut sent, if !is_sent => match answer {
                    // It may have been published: then it comes.
                    Ok(_) | Err(PublishError::Unknown) => is_sent = true,
                    Err(error @ (PublishError::Refused(_) | PublishError::Unavailable | PublishError::NotTried)) => {
                        self.why = error.to_string();
                        return CanaryOutcome::PublishFailed;
                    }
                },
                event = self.event() => if event.data == mark {
                    let latency = begun.elapsed().as_secs_f64();
                    self.around.metrics.latency_seconds.observe(latency);
                    return CanaryOutcome::Ok;
                },
            }
        }
    }

    fn publication(&self, mark: &str) -> Publication {
        Publication {
            channel: self.pass.channel().clone(),
            event_type: None,
            event_id: None,
            traceparent: None,
            data: Bytes::copy_from_slice(mark.as_bytes()),
        }
    }

    /// The next event; opens a stream where there is none, and another where one ends. May be given up at any time.
    async fn event(&mut self) -> Event {
        loop {
            let heard = match &mut self.line {
                Line::Open(link) => {
                    let silent = link.heard + self.settings.heartbeat * SILENT_HEARTBEATS;
                    let heard = timeout_at(silent, link.next()).await;
                    heard.unwrap_or_else(|_| Err("the stream fell silent".to_owned()))
                }
                Line::Entering(entered) => {
                    let entered = entered.await;
                    self.opened(entered);
                    continue;
                }
                Line::Closed => {
                    sleep_until(self.retry_at).await;
                    let entered = self.door.enter(self.cursor.as_deref());
                    self.line = Line::Entering(Box::pin(timeout(self.settings.timeout, entered)));
                    continue;
                }
            };
            match heard {
                Ok(event) => {
                    self.hear(&event);
                    return event;
                }
                Err(why) => self.lose(why),
            }
        }
    }

    fn opened(&mut self, entered: Result<io::Result<Link>, Elapsed>) {
        match entered {
            Ok(Ok(link)) => self.line = Line::Open(Box::new(link)),
            Ok(Err(error)) => self.lose(format!("the listener cannot be reached: {error}")),
            Err(_) => self.lose("the listener cannot be reached in time".to_owned()),
        }
    }

    /// Takes what an event says about the stream itself.
    fn hear(&mut self, event: &Event) {
        if let Line::Open(link) = &self.line
            && let Some(cursor) = link.cursor()
        {
            self.cursor = Some(cursor.to_owned());
        }
        if event.name != "sluice.open" {
            return;
        }
        let told: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
        let status = told["channels"][self.pass.channel().as_str()].as_str();
        self.place = match status {
            Some("waiting") | None => Place::Waiting,
            Some(_) => Place::Known,
        };
        if self.place == Place::Known {
            self.lost = 0;
        }
    }

    fn lose(&mut self, why: String) {
        tracing::debug!(why, "the canary has no stream");
        self.line = Line::Closed;
        self.place = Place::Unanswered;
        self.why = why;
        let wait = BACKOFF_MIN
            .saturating_mul(1 << self.lost.min(10))
            .min(BACKOFF_MAX);
        self.retry_at = Instant::now() + wait.mul_f64(rand::rng().random_range(0.5..1.0));
        self.lost = self.lost.saturating_add(1);
    }

    /// Counts a probe; begins and ends of failing are told, not each.
    fn note(&mut self, outcome: CanaryOutcome) {
        self.around.metrics.probes.of(outcome).inc();
        match outcome {
            CanaryOutcome::Ok if self.failed > 0 => {
                tracing::info!(failed = self.failed, "the canary is well again");
                self.failed = 0;
            }
            CanaryOutcome::Ok => {}
            CanaryOutcome::Timeout | CanaryOutcome::PublishFailed | CanaryOutcome::StreamFailed => {
                if self.failed == 0 {
                    let why = self.why.as_str();
                    tracing::warn!(
                        %outcome,
                        why,
                        "the canary fails: what is published does not reach this node's clients as it should (docs/canary.md)"
                    );
                }
                self.failed += 1;
            }
        }
    }
}

//! Whether the node should get new connections, and why not. Redis being away does not make it unready by
//! itself: were every node to leave the load balancer at once, its 503 would end every native EventSource for
//! good. Probes read this state; they never ask Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::HealthConfig;

/// The node's state, shared by whoever changes it and by the probes. A clone is a reference to the same state.
#[derive(Clone, Debug)]
pub struct Health {
    redis_grace: Option<Duration>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    broker: Broker,
}

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Not yet reached its broker once.
    Starting,
    /// Serving.
    Started,
    /// Leaving.
    Draining,
}

/// What is known of the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broker {
    Connected,
    /// Away since then; before the first connection, since the start.
    Away(Instant),
}

/// Whether the node should get new connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    Ready,
    Starting,
    Draining,
    /// The broker has been away for longer than `health.redis_grace`.
    BrokerAway,
}

impl Readiness {
    /// The text in answers of the probes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Starting => "starting",
            Readiness::Draining => "draining",
            Readiness::BrokerAway => "broker_away",
        }
    }
}

impl Health {
    /// A node that is starting and has no broker yet.
    pub fn new(config: &HealthConfig) -> Health {
        let state = State {
            phase: Phase::Starting,
            broker: Broker::Away(Instant::now()),
        };
        Health {
            redis_grace: config.redis_grace,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The broker is connected. The first time makes a starting node ready, and it stays so.
    pub fn broker_connected(&self) {
        let mut state = self.lock();
        state.broker = Broker::Connected;
        if state.phase == Phase::Starting {
            state.phase = Phase::Started;
        }
    }

    /// The broker is away. Telling it again does not restart the grace.
    pub fn broker_away(&self) {
        let mut state = self.lock();
        if state.broker == Broker::Connected {
            state.broker = Broker::Away(Instant::now());
        }
    }

    /// The node is leaving; there is no way back.
    pub fn drain(&self) {
        self.lock().phase = Phase::Draining;
    }

    /// Where the node is in its life.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// What is known of the broker.
    pub fn broker(&self) -> Broker {
        self.lock().broker
    }

    /// Whether the node should get new connections.
    pub fn readiness(&self) -> Readiness {
        self.readiness_at(Instant::now())
    }

    fn readiness_at(&self, now: Instant) -> Readiness {
        let state = self.lock();
        match (state.phase, state.broker, self.redis_grace) {
            (Phase::Draining, _, _) => Readiness::Draining,
            (Phase::Starting, _, _) => Readiness::Starting,
            (Phase::Started, Broker::Away(since), Some(grace))
                if now.saturating_duration_since(since) >= grace =>
            {
                Readiness::BrokerAway
            }
            (Phase::Started, Broker::Connected | Broker::Away(_), _) => Readiness::Ready,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two plain values: whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(redis_grace: Option<Duration>) -> Health {
        Health::new(&HealthConfig { redis_grace })
    }

    #[test]
    fn ready_only_once_the_broker_was_reached_and_until_the_drain() {
        let health = health(None);
        assert_eq!(health.readiness(), Readiness::Starting);
        health.broker_away();
        assert_eq!(health.readiness(), Readiness::Starting);
        health.broker_connected();
        assert_eq!(health.readiness(), Readiness::Ready);
        health.drain();
        health.broker_connected();
        assert_eq!(health.readiness(), Readiness::Draining);
    }

    #[test]
    fn a_ready_node_stays_ready_without_its_broker() {
        let health = health(None);
        health.broker_connected();
        health.broker_away();
        let much_later = Instant::now() + Duration::from_secs(86_400);
        assert_eq!(health.readiness_at(much_later), Readiness::Ready);
    }

    #[test]
    fn with_a_grace_readiness_falls_after_it_and_comes_back() {
        let grace = Duration::from_secs(60);
        let health = health(Some(grace));
        health.broker_connected();
        health.broker_away();
        let now = Instant::now();
        assert_eq!(health.readiness_at(now), Readiness::Ready);
        assert_eq!(health.readiness_at(now + grace), Readiness::BrokerAway);
        health.broker_away();
        assert_eq!(
            health.readiness_at(now + grace),
            Readiness::BrokerAway,
            "telling it again does not restart the grace"
        );
        health.broker_connected();
        assert_eq!(health.readiness_at(now + grace), Readiness::Ready);
    }
}

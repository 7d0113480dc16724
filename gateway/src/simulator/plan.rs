//! From a seed to a run: how big everything is, and which move comes next.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::connection::StreamLimits;
use crate::hub::chain::ChainLimits;
use crate::hub::node::NodeLimits;
use crate::hub::ring::RingLimits;

/// The sizes of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub gateways: usize,
    pub workers: usize,
    pub clients: usize,
    pub channels: usize,
    /// Room of each queue between a node and one worker.
    pub queue: usize,
    pub node: NodeLimits,
    pub stream: StreamLimits,
    pub maxlen: u32,
    pub ttl: Duration,
    /// How often a token expires early.
    pub expiring: f64,
    /// Whether history may be lost in this run.
    pub lossy: bool,
    /// Whether the moves of this run include faults at all often.
    pub rough: f64,
    /// Mean virtual microseconds between two moves.
    pub pace: u64,
}

/// A move of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    Publish,
    Burst,
    Shout,
    Retry,
    // Clients.
    Hop,
    Cut,
    Stall,
    Renew,
    Reload,
    Rechannel,
    Garble,
    // The subscriber connection.
    Disconnect,
    HalfOpen,
    Sunsubscribe,
    Drop,
    Overflow,
    Double,
    Hold,
    Corrupt,
    SlowPushes,
    // Reads.
    FailReads,
    SlowReads,
    Depose,
    // The node.
    Busy,
    Kill,
    Drain,
    // Redis.
    Outage,
    Snapshot,
    ClockBack,
    // Redis, losing history.
    Trim,
    DeleteStream,
    DeleteHead,
    Flush,
    Rollback,
    Age,
}

/// Each move with its weight, and whether it loses history.
const MOVES: [(Move, f64, bool); 35] = [
    (Move::Publish, 60.0, false),
    (Move::Burst, 8.0, false),
    (Move::Shout, 6.0, false),
    (Move::Retry, 2.0, false),
    (Move::Hop, 8.0, false),
    (Move::Cut, 3.0, false),
    (Move::Stall, 3.0, false),
    (Move::Renew, 4.0, false),
    (Move::Reload, 1.5, false),
    (Move::Rechannel, 4.0, false),
    (Move::Garble, 0.5, false),
    (Move::Disconnect, 1.2, false),
    (Move::HalfOpen, 0.7, false),
    (Move::Sunsubscribe, 0.8, false),
    (Move::Drop, 3.0, false),
    (Move::Overflow, 0.6, false),
    (Move::Double, 3.0, false),
    (Move::Hold, 2.5, false),
    (Move::Corrupt, 0.8, false),
    (Move::SlowPushes, 1.2, false),
    (Move::FailReads, 1.2, false),
    (Move::SlowReads, 1.2, false),
    (Move::Depose, 1.6, false),
    (Move::Busy, 2.5, false),
    (Move::Kill, 0.25, false),
    (Move::Drain, 0.25, false),
    (Move::Outage, 0.3, false),
    (Move::Snapshot, 2.0, false),
    (Move::ClockBack, 0.7, false),
    (Move::Trim, 1.5, true),
    (Move::DeleteStream, 0.4, true),
    (Move::DeleteHead, 0.4, true),
    (Move::Flush, 0.3, true),
    (Move::Rollback, 0.9, true),
    (Move::Age, 0.3, true),
];

impl Settings {
    pub fn draw(rng: &mut SmallRng) -> Settings {
        let tight = rng.random_bool(0.7);
        let lossy = rng.random_bool(0.6);
        let channels = rng.random_range(2..=4);
        let ms = Duration::from_millis;
        let chain = ChainLimits {
            buffer: rng.random_range(3..=8),
            page: rng.random_range(2..=5),
            backfill: if tight {
                rng.random_range(8..=24)
            } else {
                5_000
            },
            echoes: rng.random_range(2..=8),
            rounds: 3,
            retry: ms(rng.random_range(50..=250)),
            suspicion: ms(rng.random_range(20..=60)),
        };
        let node = NodeLimits {
            chain,
            backfills: 2,
            linger: ms(rng.random_range(100..=2_000)),
            audit_interval: ms(rng.random_range(800..=3_000)),
        };
        let stream = stream(rng, tight);
        Settings {
            gateways: rng.random_range(2..=3),
            workers: 2,
            clients: rng.random_range(6..=20),
            channels,
            queue: if rng.random_bool(0.4) {
                rng.random_range(2..=4)
            } else {
                rng.random_range(5..=16)
            },
            expiring: if rng.random_bool(0.4) { 0.2 } else { 0.0 },
            node,
            stream,
            maxlen: if lossy {
                rng.random_range(6..=60)
            } else {
                100_000
            },
            ttl: if lossy && rng.random_bool(0.5) {
                ms(rng.random_range(3_000..=20_000))
            } else {
                ms(3_600_000)
            },
            lossy,
            rough: rng.random_range(0.1..=1.5),
            pace: rng.random_range(4_000..=40_000),
        }
    }

    /// The next move of the schedule.
    pub fn next_move(&self, rng: &mut SmallRng) -> Move {
        let weight = |(kind, weight, lossy): &(Move, f64, bool)| {
            let fault = *kind >= Move::Disconnect;
            if *lossy && !self.lossy {
                0.0
            } else if fault {
                weight * self.rough
            } else {
                *weight
            }
        };
        let total: f64 = MOVES.iter().map(weight).sum();
        let mut rest = rng.random_range(0.0..total);
        for entry in &MOVES {
            rest -= weight(entry);
            if rest < 0.0 {
                return entry.0;
            }
        }
        Move::Publish
    }
}

/// The bounds of streams in one run.
fn stream(rng: &mut SmallRng, tight: bool) -> StreamLimits {
    let ms = Duration::from_millis;
    StreamLimits {
        node: "n".to_owned(),
        ring: RingLimits {
            entries: rng.random_range(4..=16),
            bytes: rng.random_range(2_000..=8_000),
        },
        ring_age: ms(rng.random_range(500..=10_000)),
        heartbeat: ms(rng.random_range(1_000..=5_000)),
        retry: ms(rng.random_range(50..=1_000)),
        limit_retry: ms(1_000),
        max_age: ms(rng.random_range(8_000..=60_000)),
        open_wait: ms(1_000),
        slow_consumer_age: ms(rng.random_range(1_500..=4_000)),
        backfill_events: if tight {
            rng.random_range(8..=24)
        } else {
            5_000
        },
        chunk_bytes: rng.random_range(64..=2_048),
        expiring_lead: ms(rng.random_range(0..=4_000)),
        ended_streams: 4,
    }
}

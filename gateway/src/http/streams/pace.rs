//! How fast a worker is, gathered without touching what all workers share and told at every tick.

use std::cell::Cell;
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::local::LocalHistogram;

use crate::connection::worker::lag::Lag;
use crate::metrics::{ConnectionMetrics, Part};

pub(super) struct Pace {
    metrics: ConnectionMetrics,
    ring_lag: LocalHistogram,
    fanout: LocalHistogram,
    /// Written and not told yet.
    bytes: Cell<u64>,
    /// This worker's parts of what is told of all.
    lag: Part,
    lagging: Cell<usize>,
    seats: Cell<usize>,
}

impl Pace {
    pub(super) fn new(metrics: &ConnectionMetrics) -> Pace {
        Pace {
            ring_lag: metrics.ring_lag_seconds.local(),
            fanout: metrics.fanout_seconds.local(),
            lag: metrics.lag_events.part(),
            metrics: metrics.clone(),
            bytes: Cell::new(0),
            lagging: Cell::new(0),
            seats: Cell::new(0),
        }
    }

    /// An event of so long ago was taken at `taken`, and all its streams were awake at `woken`.
    pub(super) fn event(&self, emitted: Duration, taken: Duration, woken: Duration) {
        let since = |at: Duration| at.saturating_sub(emitted).as_secs_f64();
        self.ring_lag.observe(since(taken));
        self.fanout.observe(since(woken));
    }

    /// A stream has given bytes to its connection.
    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    pub(super) fn tell(&self, lag: Lag, seats: usize) {
        self.lag.set(lag.most);
        change(&self.metrics.lagging, &self.lagging, lag.lagging);
        change(&self.metrics.subscriptions, &self.seats, seats);
        self.ring_lag.flush();
        self.fanout.flush();
        self.tell_bytes();
    }

    pub(super) fn tell_bytes(&self) {
        self.metrics.bytes_sent.inc_by(self.bytes.take());
    }
}

/// Tells this worker's part of a gauge that all workers share.
fn change(gauge: &IntGauge, told: &Cell<usize>, now: usize) {
    let before = told.replace(now);
    gauge.add(i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
}

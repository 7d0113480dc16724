//! How fast a worker is, gathered without touching what all workers share and told at every tick.

use std::cell::Cell;
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::local::LocalHistogram;

use crate::broker::clock::Clock;
use crate::connection::worker::lag::Lag;
use crate::metrics::{ConnectionMetrics, Part};

pub(super) struct Pace {
    metrics: ConnectionMetrics,
    latency: LocalHistogram,
    ring_lag: LocalHistogram,
    fanout: LocalHistogram,
    /// Written and not told yet.
    bytes: Cell<u64>,
    /// Events among them.
    events: Cell<u64>,
    /// This worker's parts of what is told of all.
    lag: Part,
    lagging: Cell<usize>,
    seats: Cell<usize>,
}

impl Pace {
    pub(super) fn new(metrics: &ConnectionMetrics) -> Pace {
        Pace {
            latency: metrics.delivery_latency_seconds.local(),
            ring_lag: metrics.ring_lag_seconds.local(),
            fanout: metrics.fanout_seconds.local(),
            lag: metrics.lag_events.part(),
            metrics: metrics.clone(),
            bytes: Cell::new(0),
            events: Cell::new(0),
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

    /// Streams have been given live events, published when `published` says in Unix milliseconds, and so many others.
    pub(super) fn delivered(&self, published: &mut Vec<u64>, others: u64, clock: &Clock) {
        let events = published.len() as u64 + others;
        self.events.set(self.events.get() + events);
        if published.is_empty() {
            return;
        }
        let wall = clock.wall();
        for published in published.drain(..) {
            if published > wall {
                self.metrics.latency_clamped.inc();
            }
            let millis = u32::try_from(wall.saturating_sub(published)).unwrap_or(u32::MAX);
            self.latency.observe(f64::from(millis) / 1_000.0);
        }
    }

    /// A stream has given bytes to its connection.
    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    pub(super) fn tell(&self, lag: Lag, seats: usize) {
        self.lag.set(lag.most);
        change(&self.metrics.lagging, &self.lagging, lag.lagging);
        change(&self.metrics.subscriptions, &self.seats, seats);
        self.latency.flush();
        self.ring_lag.flush();
        self.fanout.flush();
        self.tell_written();
    }

    pub(super) fn tell_written(&self) {
        self.metrics.bytes_sent.inc_by(self.bytes.take());
        self.metrics.delivered.inc_by(self.events.take());
    }
}

/// Tells this worker's part of a gauge that all workers share.
fn change(gauge: &IntGauge, told: &Cell<usize>, now: usize) {
    let before = told.replace(now);
    gauge.add(i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
}

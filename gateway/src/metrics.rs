//! What the node counts, registered on an injected registry so that two gateways fit in one process.
//! Every labelled counter takes its labels from an enum and begins at 0; the text in each constructor is its HELP.

mod canary;
mod control;
mod keys;
mod limits;
mod process;
mod transport;

use std::marker::PhantomData;

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::reasons::{
    Arrival, AuthCode, CloseReason, DropReason, Label, PublishOutcome, RejectReason, ReplayOutcome,
    ResetReason, SyncCause,
};

pub use canary::CanaryMetrics;
pub use control::ControlMetrics;
pub use keys::KeyMetrics;
pub use limits::LimitMetrics;
pub use process::ProcessMetrics;
pub use transport::{TlsMetrics, TransportMetrics};

/// Delivery latency, publish to socket write, in seconds.
const LATENCY_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Age of a stream at its end, in seconds: from a failed try to a day.
const DURATION_BUCKETS: [f64; 10] = [
    0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// One counter per value of a label, found without hashing. Clones share the counts.
#[derive(Clone)]
pub struct Counters<L> {
    by_index: Vec<IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<Counters<L>> {
        let vec = IntCounterVec::new(Opts::new(name, help), &[label])?;
        registry.register(Box::new(vec.clone()))?;
        let by_index = L::ALL
            .iter()
            .map(|value| vec.with_label_values(&[value.as_label()]))
            .collect();
        Ok(Counters {
            by_index,
            label: PhantomData,
        })
    }

    /// The counter of one label value.
    pub fn of(&self, value: L) -> &IntCounter {
        &self.by_index[value.index()]
    }
}

/// Streams: opened, closed, turned away, and what was written to them.
#[derive(Clone)]
pub struct ConnectionMetrics {
    pub open: IntGauge,
    pub opened: IntCounter,
    pub closed: Counters<CloseReason>,
    pub duration_seconds: Histogram,
    pub rejected: Counters<RejectReason>,
    pub subscriptions: IntGauge,
    pub delivered: IntCounter,
    pub bytes_sent: IntCounter,
    pub delivery_latency_seconds: Histogram,
    pub latency_clamped: IntCounter,
    pub limit: IntGauge,
}

/// Channels on this node: events in, syncs, gaps, resets, replays.
#[derive(Clone)]
pub struct HubMetrics {
    pub channels: IntGauge,
    pub received: Counters<Arrival>,
    pub dropped: Counters<DropReason>,
    pub syncs: Counters<SyncCause>,
    pub gaps_found: IntCounter,
    pub resets_told: Counters<ResetReason>,
    pub stragglers: IntCounter,
    pub worker_overflows: IntCounter,
    pub replays: Counters<ReplayOutcome>,
    pub replay_events: IntCounter,
}

/// The connection to Redis.
#[derive(Clone)]
pub struct BrokerMetrics {
    pub connected: IntGauge,
    pub reconnects: IntCounter,
    pub silence_seconds: Gauge,
    pub audit_findings: IntCounter,
}

/// Requests other than streams.
#[derive(Clone)]
pub struct HttpMetrics {
    pub published: Counters<PublishOutcome>,
    pub auth_failures: Counters<AuthCode>,
}

/// All of the node's metrics. Components take their part; clones share the values.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub connections: ConnectionMetrics,
    pub hub: HubMetrics,
    pub broker: BrokerMetrics,
    pub http: HttpMetrics,
    pub transport: TransportMetrics,
    pub tls: TlsMetrics,
    pub control: ControlMetrics,
    pub limits: LimitMetrics,
    pub keys: KeyMetrics,
    pub canary: CanaryMetrics,
    pub draining: IntGauge,
}

impl Metrics {
    /// Registers everything on `registry`.
    ///
    /// # Errors
    /// When one of the names is taken there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let build = Opts::new("sluice_build_info", "The running version; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build_info = IntGauge::with_opts(build)?;
        build_info.set(1);
        registry.register(Box::new(build_info))?;
        registry.register(Box::new(ProcessMetrics::new()?))?;
        Ok(Metrics {
            registry: registry.clone(),
            connections: ConnectionMetrics::register(registry)?,
            hub: HubMetrics::register(registry)?,
            broker: BrokerMetrics::register(registry)?,
            http: HttpMetrics::register(registry)?,
            transport: TransportMetrics::register(registry)?,
            tls: TlsMetrics::register(registry)?,
            control: ControlMetrics::register(registry)?,
            limits: LimitMetrics::register(registry)?,
            keys: KeyMetrics::register(registry)?,
            canary: CanaryMetrics::register(registry)?,
            draining: gauge(registry, "sluice_draining", "1 while the node is leaving.")?,
        })
    }

    /// All metrics as Prometheus text (version 0.0.4).
    ///
    /// # Errors
    /// When a collector gives something that the format cannot carry.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }

    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> prometheus::Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

impl ConnectionMetrics {
    fn register(r: &Registry) -> prometheus::Result<ConnectionMetrics> {
        Ok(ConnectionMetrics {
            open: gauge(r, "sluice_connections", "Streams open now.")?,
            opened: counter(r, "sluice_connections_opened_total", "Streams opened.")?,
            closed: Counters::register(
                r,
                "sluice_connections_closed_total",
                "Streams ended, by reason.",
                "reason",
            )?,
            duration_seconds: histogram(
                r,
                "sluice_connection_duration_seconds",
                "Age of a stream at its end.",
                &DURATION_BUCKETS,
            )?,
            rejected: Counters::register(
                r,
                "sluice_connections_rejected_total",
                "Requests for a stream that were turned away, by reason.",
                "reason",
            )?,
            subscriptions: gauge(
                r,
                "sluice_subscriptions",
                "Channels of open streams, counted once per stream.",
            )?,
            delivered: counter(
                r,
                "sluice_events_delivered_total",
                "Events written to streams, counted per stream.",
            )?,
            bytes_sent: counter(
                r,
                "sluice_bytes_sent_total",
                "Bytes written to streams, heartbeats included.",
            )?,
            delivery_latency_seconds: histogram(
                r,
                "sluice_delivery_latency_seconds",
                "Time from publish (Redis clock) to socket write, live events only.",
                &LATENCY_BUCKETS,
            )?,
            latency_clamped: counter(
                r,
                "sluice_latency_clamped_total",
                "Latencies that were negative for clock difference and counted as 0.",
            )?,
            limit: gauge(
                r,
                "sluice_limit_connections",
                "Streams this node accepts at most.",
            )?,
        })
    }
}

impl HubMetrics {
    fn register(r: &Registry) -> prometheus::Result<HubMetrics> {
        Ok(HubMetrics {
            channels: gauge(r, "sluice_channels", "Channels with a reader on this node.")?,
            received: Counters::register(
                r,
                "sluice_events_received_total",
                "Events that reached this node, by how they came.",
                "source",
            )?,
            dropped: Counters::register(
                r,
                "sluice_events_dropped_total",
                "Messages not delivered as they came, by reason.",
                "reason",
            )?,
            syncs: Counters::register(
                r,
                "sluice_syncs_total",
                "Channels read from the broker, by cause.",
                "cause",
            )?,
            gaps_found: counter(
                r,
                "sluice_gaps_found_total",
                "Live events that did not link to the one before.",
            )?,
            resets_told: Counters::register(
                r,
                "sluice_resets_told_total",
                "Resets told to clients, in whatever shape they read, by reason.",
                "reason",
            )?,
            stragglers: counter(
                r,
                "sluice_stragglers_total",
                "Late live events discarded after a sync.",
            )?,
            worker_overflows: counter(
                r,
                "sluice_worker_overflows_total",
                "Times a worker's queue was full and its channels were synced instead.",
            )?,
            replays: Counters::register(
                r,
                "sluice_replay_requests_total",
                "Requests to go on from an earlier place, by outcome.",
                "outcome",
            )?,
            replay_events: counter(
                r,
                "sluice_replay_events_total",
                "Events replayed to streams.",
            )?,
        })
    }
}

impl BrokerMetrics {
    fn register(r: &Registry) -> prometheus::Result<BrokerMetrics> {
        let silence = Gauge::new(
            "sluice_redis_silence_seconds",
            "Time since the subscriber connection last said anything.",
        )?;
        r.register(Box::new(silence.clone()))?;
        Ok(BrokerMetrics {
            connected: gauge(
                r,
                "sluice_redis_connected",
                "1 while the subscriber connection stands.",
            )?,
            reconnects: counter(
                r,
                "sluice_redis_reconnects_total",
                "Times the subscriber connection was replaced.",
            )?,
            silence_seconds: silence,
            audit_findings: counter(
                r,
                "sluice_audit_findings_total",
                "Channels whose head differed from this node's at an audit.",
            )?,
        })
    }
}

impl HttpMetrics {
    fn register(r: &Registry) -> prometheus::Result<HttpMetrics> {
        Ok(HttpMetrics {
            published: Counters::register(
                r,
                "sluice_published_total",
                "Publishes over HTTP, by outcome.",
                "outcome",
            )?,
            auth_failures: Counters::register(
                r,
                "sluice_auth_failures_total",
                "Callers not recognised or not allowed, by code.",
                "code",
            )?,
        })
    }
}

#[cfg(test)]
mod tests;

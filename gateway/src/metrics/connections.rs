//! Streams: opened, closed, turned away, and what was written to them.

use prometheus::{Histogram, IntCounter, IntGauge};

use super::kinds::{Counters, Peak, metrics};
use super::{AGES, HAND_OVERS, LATENCIES};
use crate::reasons::{CloseReason, RejectReason};

metrics! {
    /// Streams and polls.
    pub struct ConnectionMetrics {
        /// Streams open now.
        pub open: IntGauge = "sluice_connections",
        /// Streams opened.
        pub opened: IntCounter = "sluice_connections_opened_total",
        /// Streams ended, by reason.
        pub closed: Counters<CloseReason> = "sluice_connections_closed_total" by "reason",
        /// Age of a stream at its end.
        pub duration_seconds: Histogram = "sluice_connection_duration_seconds" in AGES,
        /// Requests for a stream that were turned away, by reason.
        pub rejected: Counters<RejectReason> = "sluice_connections_rejected_total" by "reason",
        /// Channels of open streams, counted once per stream.
        pub subscriptions: IntGauge = "sluice_subscriptions",
        /// Events written to streams, counted per stream.
        pub delivered: IntCounter = "sluice_events_delivered_total",
        /// Bytes written to streams, heartbeats included.
        pub bytes_sent: IntCounter = "sluice_bytes_sent_total",
        /// Time from publish (Redis clock) to socket write, live events only.
        pub delivery_latency_seconds: Histogram = "sluice_delivery_latency_seconds" in LATENCIES,
        /// Latencies that were negative for clock difference and counted as 0.
        pub latency_clamped: IntCounter = "sluice_latency_clamped_total",
        /// Streams this node accepts at most.
        pub limit: IntGauge = "sluice_limit_connections",
        /// Most events that an open stream is behind its channel's newest one.
        pub lag_events: Peak = "sluice_client_lag_events",
        /// Open streams that are more than 100 events behind.
        pub lagging: IntGauge = "sluice_clients_lagging",
        /// Time from the broker side's emission of an event to its place in a worker's ring, once per worker.
        pub ring_lag_seconds: Histogram = "sluice_ring_lag_seconds" in HAND_OVERS,
        /// Time from the broker side's emission of an event until the last of a worker's streams on its channel is woken, once per worker.
        pub fanout_seconds: Histogram = "sluice_fanout_duration_seconds" in HAND_OVERS,
    }
}

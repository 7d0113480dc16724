//! The canary's probes: how they ended, and how long they took.

use prometheus::{Histogram, IntGauge};

use super::LATENCIES;
use super::kinds::{Counters, metrics};
use crate::reasons::CanaryOutcome;

metrics! {
    /// The node's probes of its own delivery.
    pub struct CanaryMetrics {
        /// 1 when the canary is switched on.
        pub enabled: IntGauge = "sluice_canary_enabled",
        /// Time from a probe's publish until it was read back over the node's own listener.
        pub latency_seconds: Histogram = "sluice_canary_latency_seconds" in LATENCIES,
        /// Probes of the canary, by outcome.
        pub probes: Counters<CanaryOutcome> = "sluice_canary_probes_total" by "outcome",
    }
}

//! The canary's probes: how they ended, and how long they took.

use prometheus::{Histogram, IntGauge, Registry};

use super::{Counters, gauge, histogram};
use crate::reasons::CanaryOutcome;

/// 1 ms to 10 s.
const LATENCY_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The canary.
#[derive(Clone)]
pub struct CanaryMetrics {
    pub enabled: IntGauge,
    pub latency_seconds: Histogram,
    pub probes: Counters<CanaryOutcome>,
}

impl CanaryMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<CanaryMetrics> {
        Ok(CanaryMetrics {
            enabled: gauge(
                r,
                "sluice_canary_enabled",
                "1 when the canary is switched on.",
            )?,
            latency_seconds: histogram(
                r,
                "sluice_canary_latency_seconds",
                "Time from a probe's publish until it was read back over the node's own listener.",
                &LATENCY_BUCKETS,
            )?,
            probes: Counters::register(
                r,
                "sluice_canary_probes_total",
                "Probes of the canary, by outcome.",
                "outcome",
            )?,
        })
    }
}

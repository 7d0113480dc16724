//! How often each limit was reached, and the leases by which subjects are counted over all nodes.

use prometheus::{IntCounter, IntGauge, Registry};

use super::{Counters, counter, gauge};
use crate::reasons::LimitName;

/// Limits.
#[derive(Clone)]
pub struct LimitMetrics {
    pub hits: Counters<LimitName>,
    pub leases: IntGauge,
    pub leases_skipped: IntCounter,
}

impl LimitMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<LimitMetrics> {
        Ok(LimitMetrics {
            hits: Counters::register(
                r,
                "sluice_limit_hits_total",
                "Times a limit turned somebody away or cut something off, by limit.",
                "limit",
            )?,
            leases: gauge(
                r,
                "sluice_leases",
                "Places of subjects that this node holds among all nodes.",
            )?,
            leases_skipped: counter(
                r,
                "sluice_leases_skipped_total",
                "Streams let in although their subject's places could not be counted, since Redis was away.",
            )?,
        })
    }
}

//! How far each limit is used and how often it was reached, and the leases by which subjects are counted over all nodes.

use prometheus::{IntCounter, IntGauge};

use super::kinds::{Counters, Gauges, metrics};
use crate::reasons::{LimitName, NodeLimit};

metrics! {
    /// Limits.
    pub struct LimitMetrics {
        /// Times a limit turned somebody away or cut something off, by limit.
        pub hits: Counters<LimitName> = "sluice_limit_hits_total" by "limit",
        /// The most that the node may have of what is limited as a whole, by limit; 0 where the limit is off.
        pub most: Gauges<NodeLimit> = "sluice_limit" by "limit",
        /// What the node has of it now, by limit; 0 where the limit is off.
        pub used: Gauges<NodeLimit> = "sluice_limit_used" by "limit",
        /// Places of subjects that this node holds among all nodes.
        pub leases: IntGauge = "sluice_leases",
        /// Streams let in although their subject's places could not be counted, since Redis was away.
        pub leases_skipped: IntCounter = "sluice_leases_skipped_total",
    }
}

impl LimitMetrics {
    /// Tells how far a limit is used.
    pub fn tell(&self, limit: NodeLimit, used: usize) {
        self.used.of(limit).set(whole(used));
    }

    /// Tells a limit as it was set.
    pub fn set(&self, limit: NodeLimit, most: usize) {
        self.most.of(limit).set(whole(most));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

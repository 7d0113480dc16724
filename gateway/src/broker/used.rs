//! How far the limits of the broker side are used.

use super::outside::{Backend, LEASES_IN_FLIGHT, LOOKS_IN_FLIGHT, Outside, PUBLISHES_IN_FLIGHT};
use super::{BackendSettings, BrokerSettings};
use crate::metrics::LimitMetrics;
use crate::reasons::NodeLimit;

/// Tells the limits as they were set.
pub(super) fn set(settings: &BrokerSettings, limits: &LimitMetrics) {
    limits.set(NodeLimit::StandingOrders, settings.standing_orders);
    limits.set(NodeLimit::WorkerQueue, settings.worker_queue);
    limits.set(NodeLimit::BrokerQueue, settings.queue);
    limits.set(NodeLimit::Backfills, settings.node.backfills);
    match &settings.backend {
        BackendSettings::Embedded(embedded) => {
            limits.set(NodeLimit::EmbeddedChannels, embedded.channels);
        }
        BackendSettings::Redis(redis) => {
            limits.set(NodeLimit::RedisPool, redis.pool);
            limits.set(NodeLimit::PublishesInFlight, PUBLISHES_IN_FLIGHT);
            limits.set(NodeLimit::LooksInFlight, LOOKS_IN_FLIGHT);
            limits.set(NodeLimit::LeasesInFlight, LEASES_IN_FLIGHT);
        }
    }
}

impl Outside {
    /// Tells how far they are used, and what is waiting for the loop and read by it.
    pub(super) fn tell_limits(&self, waiting: usize, backfills: usize) {
        let limits = &self.limits;
        let queued = self.workers.iter();
        let queued = queued.map(|queue| queue.max_capacity() - queue.capacity());
        limits.tell(NodeLimit::WorkerQueue, queued.max().unwrap_or(0));
        limits.tell(NodeLimit::BrokerQueue, waiting);
        limits.tell(NodeLimit::Backfills, backfills);
        match &self.backend {
            Backend::Embedded(embedded) => {
                limits.tell(NodeLimit::EmbeddedChannels, embedded.channels());
            }
            Backend::Redis(redis) => {
                limits.tell(NodeLimit::RedisPool, redis.data().connections_in_use());
                limits.tell(NodeLimit::PublishesInFlight, self.publishing);
                limits.tell(NodeLimit::LooksInFlight, self.looking);
                limits.tell(NodeLimit::LeasesInFlight, self.leasing);
            }
        }
    }
}

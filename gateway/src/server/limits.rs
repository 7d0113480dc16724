//! How far the limits of callers are used, looked at with each scrape.

use actix_web::web;

use crate::config::Config;
use crate::http::routes::Public;
use crate::lifecycle::Admission;
use crate::metrics::Metrics;
use crate::reasons::NodeLimit;

/// Tells the limits as they were set, and from now on how far they are used.
pub(super) fn follow(
    config: &Config,
    metrics: &Metrics,
    (streams, (sockets, most_sockets)): (&Admission, (&Admission, usize)),
    public: web::Data<Public>,
) {
    let (limits, orders) = (
        metrics.limits.clone(),
        metrics.control.standing_orders.clone(),
    );
    let (streams, sockets) = (streams.clone(), sockets.clone());
    let batches = config.limits.batches_at_once;
    limits.set(NodeLimit::Connections, streams.limit());
    limits.set(NodeLimit::Sockets, most_sockets);
    limits.set(NodeLimit::BatchesAtOnce, batches);
    limits.set(NodeLimit::IpEntries, public.gate.may_remember());
    metrics.at_scrape(move || {
        limits.tell(NodeLimit::Connections, streams.open());
        limits.tell(NodeLimit::Sockets, sockets.open());
        let free = public.batches.available_permits();
        limits.tell(NodeLimit::BatchesAtOnce, batches.saturating_sub(free));
        limits.tell(NodeLimit::IpEntries, public.gate.remembers());
        limits.used.of(NodeLimit::StandingOrders).set(orders.get());
    });
}

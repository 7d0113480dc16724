//! What must hold of the bounds of single requests: pages of history, batches, admin commands.

use super::Findings;
use crate::config::kinds::Size;
use crate::config::sections::LimitsConfig;

pub(super) fn check(limits: &LimitsConfig, found: &mut Findings) {
    found.within(
        "limits.page_bytes",
        &limits.page_bytes,
        Size::kib(1),
        Size::mib(64),
    );
    found.within(
        "limits.batch_bytes",
        &limits.batch_bytes,
        Size::kib(1),
        Size::mib(64),
    );
    found.at_least(
        "limits.batch_bytes",
        &limits.batch_bytes,
        "limits.event_bytes",
        &limits.event_bytes,
    );
    found.within("limits.batch_events", &limits.batch_events, 1, 100_000);
    found.within("limits.batches_at_once", &limits.batches_at_once, 1, 10_000);
    found.within(
        "limits.standing_orders",
        &limits.standing_orders,
        1,
        1_000_000,
    );
    found.within("limits.ended_streams", &limits.ended_streams, 0, 1_000_000);
}

//! What must hold of the bounds of queues, rings and callers.

use super::{Findings, minutes, ms};
use crate::config::kinds::Size;
use crate::config::sections::LimitsConfig;

/// Most that a rate or a number of callers may be set to.
const MOST: u32 = 1_000_000;

pub(super) fn check(limits: &LimitsConfig, found: &mut Findings) {
    found.within("limits.connections", &limits.connections, 0, 10_000_000);
    found.within(
        "limits.channels_per_connection",
        &limits.channels_per_connection,
        1,
        32,
    );
    found.within(
        "limits.event_bytes",
        &limits.event_bytes,
        Size::bytes(1),
        Size::mib(16),
    );
    found.within("limits.ring_events", &limits.ring_events, 1, 1 << 20);
    found.within(
        "limits.ring_bytes",
        &limits.ring_bytes,
        Size::kib(64),
        Size::mib(1024),
    );
    found.within("limits.worker_queue", &limits.worker_queue, 16, 1 << 20);
    found.within("limits.broker_queue", &limits.broker_queue, 16, 1 << 20);
    found.within("limits.sync_buffer", &limits.sync_buffer, 1, 1 << 16);
    found.within("limits.backfills", &limits.backfills, 1, 4096);
    found.within("limits.backfill_page", &limits.backfill_page, 1, 10_000);
    found.within(
        "limits.backfill_events",
        &limits.backfill_events,
        1,
        1_000_000,
    );
    found.within(
        "limits.new_heads_per_second",
        &limits.new_heads_per_second,
        1,
        1_000_000,
    );
    found.within(
        "limits.embedded_channels",
        &limits.embedded_channels,
        1,
        1_000_000,
    );
    found.within(
        "limits.streams_per_connection",
        &limits.streams_per_connection,
        1,
        10_000,
    );
    found.at_least(
        "limits.ring_bytes",
        &limits.ring_bytes,
        "limits.event_bytes",
        &limits.event_bytes,
    );
    found.at_least(
        "limits.backfill_events",
        &limits.backfill_events,
        "limits.backfill_page",
        &limits.backfill_page,
    );
}

/// What each address and each subject may have.
pub(super) fn callers(limits: &LimitsConfig, found: &mut Findings) {
    let most = MOST as usize;
    found.within(
        "limits.connections_per_ip",
        &limits.connections_per_ip,
        0,
        most,
    );
    found.within("limits.sockets_per_ip", &limits.sockets_per_ip, 0, most);
    found.within(
        "limits.connections_per_subject",
        &limits.connections_per_subject,
        0,
        10_000,
    );
    found.within(
        "limits.subject_lease",
        &limits.subject_lease,
        ms(500),
        minutes(10),
    );
    let rates = [
        (
            "limits.attempts_per_ip_per_second",
            limits.attempts_per_ip_per_second,
        ),
        (
            "limits.publishes_per_subject_per_second",
            limits.publishes_per_subject_per_second,
        ),
    ];
    for (key, rate) in rates {
        found.within(key, &rate, 0, MOST);
    }
    let bursts = [
        ("limits.attempts_per_ip_burst", limits.attempts_per_ip_burst),
        (
            "limits.publishes_per_subject_burst",
            limits.publishes_per_subject_burst,
        ),
    ];
    for (key, burst) in bursts {
        found.within(key, &burst, 1, MOST);
    }
    found.within("limits.ip_entries", &limits.ip_entries, 1, most);
}

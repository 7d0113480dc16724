//! Channels on this node: events in, syncs, gaps, resets, replays.

use prometheus::{IntCounter, IntGauge};

use super::kinds::{Counters, metrics};
use crate::reasons::{Arrival, DropReason, ReplayOutcome, ResetReason, SyncCause};

metrics! {
    /// What the node core does.
    pub struct HubMetrics {
        /// Channels with a reader on this node.
        pub channels: IntGauge = "sluice_channels",
        /// Events that reached this node, by how they came.
        pub received: Counters<Arrival> = "sluice_events_received_total" by "source",
        /// Messages not delivered as they came, by reason.
        pub dropped: Counters<DropReason> = "sluice_events_dropped_total" by "reason",
        /// Channels read from the broker, by cause.
        pub syncs: Counters<SyncCause> = "sluice_syncs_total" by "cause",
        /// Live events that did not link to the one before.
        pub gaps_found: IntCounter = "sluice_gaps_found_total",
        /// Resets told to clients, in whatever shape they read, by reason.
        pub resets_told: Counters<ResetReason> = "sluice_resets_told_total" by "reason",
        /// Late live events discarded after a sync.
        pub stragglers: IntCounter = "sluice_stragglers_total",
        /// Times a worker's queue was full and its channels were synced instead.
        pub worker_overflows: IntCounter = "sluice_worker_overflows_total",
        /// Requests to go on from an earlier place, by outcome.
        pub replays: Counters<ReplayOutcome> = "sluice_replay_requests_total" by "outcome",
        /// Events replayed to streams.
        pub replay_events: IntCounter = "sluice_replay_events_total",
    }
}

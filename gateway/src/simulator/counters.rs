//! Counts what took effect, so that a run can prove that each fault and each
//! branch of the core was met.

use std::collections::BTreeMap;

use crate::hub::exchange::Note;

/// What must have happened in a run of many seeds, or it has not tested what it claims to.
pub const EXPECTED: [&str; 87] = [
    "asks overflow",
    "attach",
    "attach from node",
    "attach from ring",
    "page shared",
    "audit",
    "backfill_limit",
    "client ephemerals",
    "client events",
    "client lines",
    "client resets",
    "close drain",
    "close max_age",
    "close slow_consumer",
    "close token_expired",
    "fault block cut",
    "fault message corrupted",
    "fault message doubled",
    "fault message held",
    "fault message lost",
    "fault message overflowed",
    "fault read failed",
    "fault rolled back",
    "fault stale read",
    "gap",
    "move age",
    "move burst",
    "move busy",
    "move clock_back",
    "move corrupt",
    "move cut",
    "move delete_head",
    "move delete_stream",
    "move depose",
    "move disconnect",
    "move double",
    "move drain",
    "move drop",
    "move fail_reads",
    "move flush",
    "move garble",
    "move half_open",
    "move hold",
    "move hop",
    "move kill",
    "move outage",
    "move overflow",
    "move publish",
    "move rechannel",
    "move reload",
    "move renew",
    "move retry",
    "move rollback",
    "move shout",
    "move slow_pushes",
    "move slow_reads",
    "move snapshot",
    "move stall",
    "move sunsubscribe",
    "move trim",
    "note audit_finding",
    "note backfill",
    "note buffer_overflow",
    "note duplicate",
    "note from_ephemeral",
    "note from_pubsub",
    "note from_sync",
    "note gap",
    "note resubscribe",
    "note straggler",
    "note worker_overflow",
    "overflow",
    "publish repeated",
    "reconnect",
    "rollback",
    "state_lost",
    "stream aborted",
    "stream renewed",
    "subscribe",
    "suspect",
    "told backfill_limit",
    "told bad_cursor",
    "told expiring",
    "told rollback",
    "told state_lost",
    "told trimmed",
    "trimmed",
];

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    pub fn add(&mut self, name: &'static str, count: u64) {
        *self.0.entry(name).or_default() += count;
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn note(&mut self, note: Note) {
        self.count(note_name(note));
    }

    pub fn merge(&mut self, other: &Counters) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

fn note_name(note: Note) -> &'static str {
    match note {
        Note::FromPubSub => "note from_pubsub",
        Note::FromSync => "note from_sync",
        Note::FromEphemeral => "note from_ephemeral",
        Note::Gap => "note gap",
        Note::Sync(cause) => cause.as_label(),
        Note::Reset(reason) => reason.as_label(),
        Note::AuditFinding => "note audit_finding",
        Note::Straggler => "note straggler",
        Note::Duplicate => "note duplicate",
        Note::WorkerOverflow => "note worker_overflow",
        Note::BufferOverflow => "note buffer_overflow",
        Note::Resubscribe => "note resubscribe",
        Note::Backfill => "note backfill",
    }
}

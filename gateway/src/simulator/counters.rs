//! Counts what took effect, so that a run can prove that each fault and each
//! branch of the core was met.

use std::collections::BTreeMap;

use crate::hub::exchange::Note;

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

//! What a look at the stream proves about a place: nothing missed, this much
//! missed, or continuity lost and why.

use sluice_wire::event::Event;
use sluice_wire::position::Position;

use super::exchange::Reading;
use super::sabotage::{Mutant, sabotaged};
use crate::reasons::ResetReason;

/// The verdict on a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The place is the head.
    Current,
    /// These follow it, link by link; more may follow them.
    Follows(Vec<Event>),
    /// The stream does not continue the place.
    Broken,
}

/// Judges `place` by a reading of what comes after it.
#[must_use]
pub fn prove(place: Position, reading: &mut Reading) -> Proof {
    let entries = std::mem::take(&mut reading.entries);
    if sabotaged(Mutant::SkipChainCheckOnResume) && !entries.is_empty() {
        return Proof::Follows(entries);
    }
    let linked = linked(place, entries);
    if !linked.is_empty() {
        Proof::Follows(linked)
    } else if reading.head == place {
        Proof::Current
    } else {
        Proof::Broken
    }
}

/// Whether the event at `position` with this `prev` is what comes right after `place`.
#[must_use]
pub fn links(place: Position, position: Position, prev: Position) -> bool {
    if sabotaged(Mutant::CompareWithGreater) {
        return position.id() > place.id();
    }
    prev == place
}

/// The longest prefix of `entries` in which each links to the one before, the first to `place`.
fn linked(place: Position, mut entries: Vec<Event>) -> Vec<Event> {
    let mut last = place;
    let length = entries
        .iter()
        .take_while(|event| {
            let links = links(last, event.position, event.prev);
            last = event.position;
            links
        })
        .count();
    entries.truncate(length);
    entries
}

/// Why a place that [`prove`] found broken is broken; `reading` was confirmed.
#[must_use]
pub fn reason(place: Position, reading: &Reading) -> ResetReason {
    if reading.head_is_new || reading.head.is_genesis() {
        return ResetReason::StateLost;
    }
    let oldest = reading.context.and_then(|context| context.oldest);
    match oldest {
        // The place lies within what is kept, and is not there.
        Some(oldest) if place.id() >= oldest.position.id() => ResetReason::Rollback,
        Some(oldest) if oldest.prev.is_genesis() => ResetReason::StateLost,
        Some(_) => ResetReason::Trimmed,
        None if place.id() < reading.head.id() => ResetReason::Trimmed,
        None => ResetReason::Rollback,
    }
}

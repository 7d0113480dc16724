//! The recent past of one channel on one worker: what live connections have
//! still to send, and what a resuming one may take without asking Redis.

use std::collections::VecDeque;
use std::time::Duration;

use sluice_wire::position::Position;

use super::exchange::Entry;
use super::sabotage::{Mutant, sabotaged};

/// The most a ring keeps.
#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    pub entries: usize,
    pub bytes: usize,
}

/// A bounded run of entries, each named by a serial number that never repeats.
#[derive(Debug)]
pub struct Ring {
    limits: RingLimits,
    /// The place before the first entry.
    base: Position,
    first: u64,
    entries: VecDeque<Kept>,
    bytes: usize,
    /// Serial from which places may be proved: after the last reset.
    provable: u64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// The channel's place after this entry.
    place: Position,
    weight: usize,
    arrived: Duration,
}

impl Ring {
    /// An empty ring that stands at `base`, its first serial being `first`.
    #[must_use]
    pub fn new(limits: RingLimits, base: Position, first: u64) -> Ring {
        Ring {
            limits,
            base,
            first,
            entries: VecDeque::new(),
            bytes: 0,
            provable: first,
        }
    }

    /// Adds what happened next and lets go of what exceeds the limits.
    pub fn push(&mut self, entry: Entry, now: Duration) {
        let (place, weight) = match &entry {
            Entry::Event(frame) => (frame.position, frame.weight()),
            Entry::Ephemeral(frame) => (self.tip(), frame.weight()),
            Entry::Reset(reset) => (reset.to, size_of::<Kept>()),
        };
        if matches!(entry, Entry::Reset(_)) {
            self.provable = self.end() + 1;
        }
        self.entries.push_back(Kept {
            entry,
            place,
            weight,
            arrived: now,
        });
        self.bytes += weight;
        while self.entries.len() > self.limits.entries
            || (self.bytes > self.limits.bytes && self.entries.len() > 1)
        {
            self.drop_first();
        }
    }

    /// Lets go of everything that arrived before `then`.
    pub fn forget_before(&mut self, then: Duration) {
        while self.entries.front().is_some_and(|kept| kept.arrived < then) {
            self.drop_first();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(0);
        }
    }

    /// The place after the newest entry.
    #[must_use]
    pub fn tip(&self) -> Position {
        self.entries.back().map_or(self.base, |kept| kept.place)
    }

    /// The serial of the oldest entry.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The serial that the next entry will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The entry with this serial, if it is still kept and already there.
    #[must_use]
    pub fn get(&self, serial: u64) -> Option<&Entry> {
        self.kept(serial).map(|kept| &kept.entry)
    }

    /// When the entry with this serial arrived.
    #[must_use]
    pub fn arrived(&self, serial: u64) -> Option<Duration> {
        self.kept(serial).map(|kept| kept.arrived)
    }

    /// The serial of the event at this position, if it is kept.
    #[must_use]
    pub fn serial_of(&self, position: Position) -> Option<u64> {
        let is_it =
            |kept: &Kept| matches!(&kept.entry, Entry::Event(frame) if frame.position == position);
        let index = self.entries.iter().rposition(is_it)?;
        Some(self.first + index as u64)
    }

    /// Whether the entry with this serial is gone for good.
    #[must_use]
    pub fn has_lost(&self, serial: u64) -> bool {
        serial < self.first
    }

    /// The serial of what follows `place`, if this ring proves the place: the
    /// next event, since ephemeral ones in between may have been read before.
    #[must_use]
    pub fn prove(&self, place: Position) -> Option<u64> {
        if self.tip() == place {
            return Some(self.end());
        }
        let skip = usize::try_from(self.provable.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let provable = self.entries.range(skip.min(self.entries.len())..);
        let stands = |kept: &Kept| kept.place == place;
        let found = if sabotaged(Mutant::ReplayEphemeral) {
            provable.clone().position(stands)
        } else {
            provable.clone().rposition(stands)
        };
        if let Some(index) = found {
            return Some(self.first + (skip + index + 1) as u64);
        }
        let start = if skip == 0 {
            Some(self.base)
        } else {
            self.kept(self.provable - 1).map(|reset| reset.place)
        };
        (start == Some(place)).then_some(self.first + skip as u64)
    }

    fn kept(&self, serial: u64) -> Option<&Kept> {
        let index = serial.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn drop_first(&mut self) {
        if let Some(gone) = self.entries.pop_front() {
            self.base = gone.place;
            self.bytes -= gone.weight;
            self.first += 1;
        }
    }
}

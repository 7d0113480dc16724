//! Pieces of history for connections that come back: each read once for
//! everyone who wants it, a bounded number at a time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::position::Position;

use super::exchange::{
    Note, Placed, Query, Range, ReadId, Reading, Reset, Start, Ticket, WorkerId, World,
};
use super::frame::EventFrame;
use super::node::NodeLimits;
use super::proof::{self, Proof, prove};
use super::sabotage::{Mutant, sabotaged};

type Key = (Channel, Start);
type Waiter = (WorkerId, Ticket);

/// Every piece that somebody waits for.
#[derive(Debug)]
pub struct Backfills {
    /// Reads at the same time.
    limit: usize,
    page: usize,
    retry: Duration,
    wanted: HashMap<Key, Backfill>,
    queued: VecDeque<Key>,
    running: HashMap<ReadId, Key>,
    /// Those whose read failed, and when to try again.
    failed: VecDeque<(Duration, Key)>,
}

#[derive(Debug, Default)]
struct Backfill {
    waiters: Vec<Waiter>,
    confirm: bool,
    /// Where the node stood when the read was issued.
    stood: Option<Position>,
}

/// A piece that has come, for those who have waited for it.
#[derive(Debug)]
pub struct Backfilled {
    pub channel: Channel,
    pub waiters: Vec<Waiter>,
    pub placed: Placed,
    /// The head that the read has seen.
    pub head: Position,
    /// Where the node stood when the read was issued.
    pub stood: Option<Position>,
}

impl Backfills {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(limits: &NodeLimits) -> Backfills {
        Backfills {
            limit: limits.backfills,
            page: limits.chain.page,
            retry: limits.chain.retry,
            wanted: HashMap::new(),
            queued: VecDeque::new(),
            running: HashMap::new(),
            failed: VecDeque::new(),
        }
    }

    /// Reads under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Wants a piece for one more waiter.
    pub fn want(&mut self, channel: &Channel, start: Start, waiter: Waiter) {
        let key = (channel.clone(), start);
        let backfill = self.wanted.entry(key.clone()).or_insert_with(|| {
            self.queued.push_back(key);
            Backfill::default()
        });
        backfill.waiters.push(waiter);
    }

    /// A waiter has gone; a piece that nobody waits for is not read.
    pub fn withdraw(&mut self, channel: &Channel, start: Start, waiter: Waiter) {
        let key = (channel.clone(), start);
        if let Some(backfill) = self.wanted.get_mut(&key) {
            backfill.waiters.retain(|other| *other != waiter);
            if backfill.waiters.is_empty() {
                self.wanted.remove(&key);
                self.queued.retain(|other| *other != key);
            }
        }
    }

    /// Issues as many reads as the limit allows; `stood` tells where the node stands.
    pub fn issue<W: World>(
        &mut self,
        reads: &mut ReadId,
        stood: impl Fn(&Channel) -> Option<Position>,
        world: &mut W,
    ) {
        while self.running.len() < self.limit {
            let Some(key) = self.queued.pop_front() else {
                return;
            };
            let Some(backfill) = self.wanted.get_mut(&key) else {
                continue;
            };
            backfill.stood = stood(&key.0);
            if !backfill.confirm {
                world.note(Note::Backfill);
            }
            let query = Query {
                channel: key.0.clone(),
                range: key.1.range(),
                count: self.page,
                confirm: backfill.confirm,
            };
            *reads += 1;
            self.running.insert(*reads, key);
            world.read(*reads, query);
        }
    }

    /// Whether a read is one of these.
    #[must_use]
    pub fn runs(&self, id: ReadId) -> bool {
        self.running.contains_key(&id)
    }

    /// A read has come back or failed; `None` when there has to be another one.
    pub fn returned(
        &mut self,
        id: ReadId,
        reading: Option<Reading>,
        now: Duration,
    ) -> Option<Backfilled> {
        let key = self.running.remove(&id)?;
        let Some(reading) = reading else {
            self.failed.push_back((now + self.retry, key));
            return None;
        };
        let backfill = self.wanted.get_mut(&key)?;
        let head = reading.head;
        let Some(placed) = judge(&key, reading, backfill.confirm) else {
            // Broken at first sight: look once more, at the primary as it is now.
            backfill.confirm = true;
            self.queued.push_front(key);
            return None;
        };
        let Backfill { waiters, stood, .. } = self.wanted.remove(&key)?;
        Some(Backfilled {
            channel: key.0,
            waiters,
            placed,
            head,
            stood,
        })
    }

    /// Queues what has failed long enough ago.
    pub fn try_again(&mut self, now: Duration) {
        while self.failed.front().is_some_and(|(at, _)| *at <= now) {
            self.queued
                .extend(self.failed.pop_front().map(|(_, key)| key));
        }
    }

    /// Pieces and reads that are still open.
    #[cfg(test)]
    pub fn owed(&self) -> usize {
        self.wanted.len() + self.queued.len() + self.running.len() + self.failed.len()
    }
}

impl Start {
    fn range(self) -> Range {
        match self {
            Start::Live => Range::Head,
            Start::After(place) => Range::After(place),
            Start::Since(ms) => Range::Since(ms),
            Start::Last(count) => Range::Last(count),
            // A genesis has no entry of its own; the first entry names it.
            Start::Holds(place) if place.is_genesis() => Range::After(place),
            Start::Holds(place) => Range::Exactly(place),
        }
    }
}

/// What a reading means for a start; `None` when it calls for a confirming read.
fn judge(key: &(Channel, Start), mut reading: Reading, confirmed: bool) -> Option<Placed> {
    let (channel, start) = key;
    match *start {
        Start::Live => Some(Placed::At(reading.head)),
        Start::Holds(place) => {
            let first = reading.entries.first();
            let holds = reading.head == place
                || first.is_some_and(|entry| {
                    entry.position == place || (place.is_genesis() && entry.prev == place)
                });
            // Held by nobody means a reset: that, too, calls for a second look.
            let sure = holds || confirmed || sabotaged(Mutant::NobodyHolds);
            sure.then_some(Placed::Holds(holds))
        }
        Start::Since(_) | Start::Last(_) => {
            let from = reading
                .entries
                .first()
                .map_or(reading.head, |first| first.prev);
            Some(match prove(from, &mut reading) {
                Proof::Follows(entries) => page(channel, from, entries),
                Proof::Current | Proof::Broken => Placed::At(reading.head),
            })
        }
        Start::After(place) => match prove(place, &mut reading) {
            Proof::Current => Some(Placed::At(place)),
            Proof::Follows(entries) => Some(page(channel, place, entries)),
            Proof::Broken if !confirmed => None,
            Proof::Broken => Some(Placed::Broken(Reset {
                from: Some(place),
                to: reading.head,
                reason: proof::reason(place, &reading),
            })),
        },
    }
}

fn page(channel: &Channel, from: Position, entries: Vec<Event>) -> Placed {
    let events = entries
        .into_iter()
        .map(|event| EventFrame::new(channel, event))
        .collect();
    Placed::Page { from, events }
}

//! Where a followed channel stands on its chain, and what may come next. No I/O.

use std::collections::HashSet;
use std::fmt;

use sluice_wire::{Channel, Event, Head, Position, StreamId};

/// Positions remembered as read ahead of their messages; forgetting some costs a read each.
const READ_AHEAD: usize = 4096;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has no head: whatever comes first must begin its chain.
    Unborn,
    At(Position),
}

impl Place {
    /// The place at a channel's head.
    pub fn live(head: Option<Head>) -> Place {
        head.map_or(Place::Unborn, |head| Place::At(head.position))
    }

    /// Whether the chain leads from here to an event whose `prev` this is.
    fn leads_to(self, prev: Position) -> bool {
        match self {
            Place::Unborn => prev.is_genesis(),
            Place::At(position) => position == prev,
        }
    }

    /// The stream id after which to read on.
    pub fn id(self) -> StreamId {
        match self {
            Place::Unborn => StreamId::ZERO,
            Place::At(position) => position.id(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unborn => f.write_str("the beginning"),
            Place::At(position) => position.fmt(f),
        }
    }
}

/// One channel's place, and what it read ahead of its messages.
#[derive(Debug)]
pub struct Followed {
    pub channel: Channel,
    pub place: Place,
    /// Positions taken from the stream whose messages may still come: those are no news.
    read_ahead: HashSet<Position>,
}

/// What an event is to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The next event; the place has moved to it.
    Next,
    /// Seen before.
    Known,
    /// The chain does not lead to it.
    Broken,
}

impl Followed {
    pub fn new(channel: Channel) -> Followed {
        Followed {
            channel,
            place: Place::Unborn,
            read_ahead: HashSet::new(),
        }
    }

    /// Moves along a message's event if it is the next one.
    pub fn take_message(&mut self, event: &Event) -> Link {
        if self.place.leads_to(event.prev) {
            // Messages come in order: what was read ahead has all been passed.
            self.read_ahead.clear();
            self.place = Place::At(event.position);
            Link::Next
        } else if self.place == Place::At(event.position) || self.read_ahead.remove(&event.position)
        {
            Link::Known
        } else {
            Link::Broken
        }
    }

    /// Moves along a stream entry's event if it is the next one.
    pub fn take_entry(&mut self, event: &Event) -> Link {
        if !self.place.leads_to(event.prev) {
            return Link::Broken;
        }
        if self.read_ahead.len() == READ_AHEAD {
            self.read_ahead.clear();
        }
        self.read_ahead.insert(event.position);
        self.place = Place::At(event.position);
        Link::Next
    }

    /// Goes on from `to` without proof, and says where it stood.
    pub fn reset(&mut self, to: Place) -> Place {
        self.read_ahead.clear();
        std::mem::replace(&mut self.place, to)
    }

    /// The reason, in the design's words, why the chain does not lead to `head`; `next` is what the first event after
    /// this place, if there is any, links back to.
    pub fn why_broken(&self, head: &Head, next: Option<Position>) -> &'static str {
        if self.place.id() >= head.position.id() {
            "rollback"
        } else if next.is_some_and(Position::is_genesis) {
            "state_lost"
        } else {
            "trimmed"
        }
    }
}

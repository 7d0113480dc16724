//! Where a followed channel stands on its chain, and what may come next. No I/O.

use std::collections::HashSet;

use sluice_wire::{Channel, Event, Position};

use crate::place::Place;

/// Positions remembered as read ahead of their messages; forgetting some costs a read each.
const READ_AHEAD: usize = 4096;

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
}

//! Where a reader stands on a channel's chain. No I/O.

use sluice_wire::{Head, Position, StreamId};

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
    pub fn leads_to(self, prev: Position) -> bool {
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

    /// The position, where there is one.
    pub fn position(self) -> Option<Position> {
        match self {
            Place::Unborn => None,
            Place::At(position) => Some(position),
        }
    }

    /// The reason, in the design's words, why the chain does not lead from here to `head`; `next` is what the first
    /// event after this place, if there is any, links back to.
    pub fn why_broken(self, head: &Head, next: Option<Position>) -> &'static str {
        if self.id() >= head.position.id() {
            "rollback"
        } else if next.is_some_and(Position::is_genesis) {
            "state_lost"
        } else {
            "trimmed"
        }
    }
}

//! One channel of one stream: where it stands and what it is doing.

use std::sync::Arc;

use sluice_wire::position::Position;

use super::blocks::Status;
use crate::hub::exchange::{Reset, Start};
use crate::hub::frame::EventFrame;
use crate::hub::ring::Ring;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::ResetReason;

/// A stream's place in one channel.
#[derive(Debug)]
pub struct Seat {
    /// The worker's number of the channel.
    pub channel: usize,
    /// Names the channel in a cursor of several.
    pub short_hash: u32,
    /// Index among the channel's members.
    pub member: usize,
    /// What the reader has: the channel's part of its cursor.
    pub place: Option<Position>,
    pub state: State,
    pub status: Status,
    /// The place that it began with, packed; zeros while it is not known.
    pub began: [u8; 12],
    /// Events taken from history since the seat was last live.
    pub replayed: u32,
}

/// What a seat is doing.
#[derive(Debug)]
pub enum State {
    /// It has asked the node where it stands; `reset` is told with the answer.
    Asking {
        serial: u64,
        start: Start,
        reset: Option<ResetReason>,
    },
    /// It knows whether its channel holds the bare position.
    Probed(bool),
    /// It is about to ask.
    Unsettled,
    /// It sends a proved piece of history.
    Replaying {
        events: Arc<[Arc<EventFrame>]>,
        next: usize,
    },
    /// It has to tell that its place could not be continued.
    Resetting(Reset),
    /// It sends the ring's entries from this serial on.
    Live { next: u64 },
}

impl Seat {
    /// Whether the stream can say where this channel continues from.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.status != Status::Waiting
    }

    /// Whether the reader came with a place that nobody could read, and has not been told.
    #[must_use]
    pub fn owes_first_reset(&self) -> bool {
        let owed = match self.state {
            State::Asking { reset, .. } => reset.is_some(),
            State::Resetting(_) => true,
            State::Probed(_) | State::Unsettled | State::Replaying { .. } | State::Live { .. } => {
                false
            }
        };
        owed && self.place.is_none() && !sabotaged(Mutant::PartialCursor)
    }

    /// Events that it has still to send, as far as this worker holds them.
    #[must_use]
    pub fn behind(&self, ring: &Ring) -> u64 {
        match &self.state {
            State::Live { next } => ring.end().saturating_sub(*next),
            State::Replaying { events, next } => (events.len() - next) as u64,
            State::Asking { .. } | State::Probed(_) | State::Unsettled | State::Resetting(_) => 0,
        }
    }

    /// The place that it began with.
    #[must_use]
    pub fn began(&self) -> Option<Position> {
        (self.began != [0; 12]).then(|| Position::from_bytes(self.began))
    }

    /// Whether no answer is waited for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Asking { .. } | State::Probed(_) | State::Unsettled => false,
            State::Replaying { .. } | State::Resetting(_) | State::Live { .. } => true,
        }
    }

    /// The question that is still open: its serial and what was asked.
    #[must_use]
    pub fn open_question(&self) -> Option<(u64, Start)> {
        match self.state {
            State::Asking { serial, start, .. } => Some((serial, start)),
            State::Probed(_)
            | State::Unsettled
            | State::Replaying { .. }
            | State::Resetting(_)
            | State::Live { .. } => None,
        }
    }
}

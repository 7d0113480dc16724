//! How a seat finds its place: by the ring if that proves it, else by asking
//! the node, whose answers come in the order of the worker's queue.

use sluice_wire::channel::Channel;
use sluice_wire::cursor::Cursor;
use sluice_wire::position::Position;
use smallvec::SmallVec;
use std::time::Duration;

use super::Worker;
use crate::connection::blocks::Status;
use crate::connection::seat::{Seat, State};
use crate::connection::{StartAt, Transport};
use crate::hub::exchange::{Placed, Reset, Start, Ticket, ToNode};
use crate::hub::ring::Ring;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::{ReplayOutcome, ResetReason};

impl<T: Transport> Worker<T> {
    pub(super) fn start(&mut self, key: usize, start: &StartAt) {
        let seats = self.streams.get(key).map_or(0, |stream| stream.seats.len());
        for seat in 0..seats {
            match start {
                StartAt::Live => self.start_live(key, seat),
                StartAt::Since(ms) => self.ask(key, seat, Start::Since(*ms), None),
                StartAt::Last(count) => self.ask(key, seat, Start::Last(*count), None),
                StartAt::Unreadable => {
                    self.ask(key, seat, Start::Live, Some(ResetReason::BadCursor));
                }
                StartAt::Cursor(Cursor::Bare(place)) if seats == 1 => {
                    self.resume(key, seat, *place);
                }
                StartAt::Cursor(Cursor::Bare(place)) => {
                    self.ask(key, seat, Start::Holds(*place), None);
                }
                StartAt::Cursor(Cursor::Many(places)) => {
                    match self
                        .channel_of(key, seat)
                        .and_then(|name| places.get(&name))
                    {
                        Some(place) => self.resume(key, seat, place),
                        None => self.start_live(key, seat),
                    }
                }
            }
        }
    }

    fn channel_of(&self, key: usize, seat: usize) -> Option<Channel> {
        let seat = self.streams.get(key)?.seats.get(seat)?;
        Some(self.channels.get(seat.channel)?.name.clone())
    }

    /// At the tip if this worker follows the channel, else wherever the node stands.
    fn start_live(&mut self, key: usize, seat: usize) {
        let tip = self.ring_of(key, seat).map(Ring::tip);
        match tip {
            Some(tip) => self.settle(key, seat, tip, Status::Live),
            None => self.ask(key, seat, Start::Live, None),
        }
    }

    /// From the ring if it proves the place, else from the stream.
    fn resume(&mut self, key: usize, seat: usize, place: Position) {
        if let Some(seat) = self
            .streams
            .get_mut(key)
            .and_then(|s| s.seats.get_mut(seat))
        {
            seat.place = Some(place);
        }
        let ring = self.ring_of(key, seat);
        let at_tip = ring.is_some_and(|ring| ring.tip() == place);
        if ring.is_some_and(|ring| ring.prove(place).is_some()) {
            self.tally.replays.push(if at_tip {
                ReplayOutcome::Current
            } else {
                ReplayOutcome::Ring
            });
            self.settle(key, seat, place, Status::Resumed);
        } else {
            self.ask(key, seat, Start::After(place), None);
        }
    }

    fn ring_of(&self, key: usize, seat: usize) -> Option<&Ring> {
        let seat = self.streams.get(key)?.seats.get(seat)?;
        self.channels.get(seat.channel)?.ring.as_ref()
    }

    /// Stands at `place` and goes live there, by the ring or by asking on.
    fn settle(&mut self, key: usize, index: usize, place: Position, status: Status) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.known(index, status, Some(place));
        let Some(seat) = stream.seats.get_mut(index) else {
            return;
        };
        seat.place = Some(place);
        let ring = self
            .channels
            .get(seat.channel)
            .and_then(|local| local.ring.as_ref());
        if let Some(next) = ring.and_then(|ring| ring.prove(place)) {
            seat.state = State::Live { next };
            seat.replayed = 0;
        } else if let Some(ring) = ring.filter(|_| sabotaged(Mutant::JoinAtNodesPlace)) {
            seat.place = Some(ring.tip());
            seat.state = State::Live { next: ring.end() };
        } else {
            self.ask(key, index, Start::After(place), None);
        }
    }

    pub(super) fn ask(
        &mut self,
        key: usize,
        index: usize,
        start: Start,
        reset: Option<ResetReason>,
    ) {
        let Some(channel) = self.channel_of(key, index) else {
            return;
        };
        self.serial += 1;
        let serial = self.serial;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Some(seat) = stream.seats.get_mut(index) else {
            return;
        };
        seat.state = State::Asking {
            serial,
            start,
            reset,
        };
        let ticket = Ticket {
            connection: key,
            seat: index as u16,
            serial,
        };
        self.outbox.push_back(ToNode::Attach {
            channel,
            ticket,
            start,
        });
    }

    /// Takes back the question of a seat that goes: out of the outbox if it is
    /// still there, else by telling the node.
    pub(super) fn withdraw(&mut self, key: usize, index: usize, seat: &Seat) {
        let Some((serial, start)) = seat.open_question() else {
            return;
        };
        let ticket = Ticket {
            connection: key,
            seat: index as u16,
            serial,
        };
        let unsent = self.outbox.iter().position(
            |question| matches!(question, ToNode::Attach { ticket: asked, .. } if *asked == ticket),
        );
        if let Some(unsent) = unsent {
            self.outbox.remove(unsent);
        } else if let Some(local) = self.channels.get(seat.channel) {
            let channel = local.name.clone();
            self.outbox.push_back(ToNode::Withdraw {
                channel,
                ticket,
                start,
            });
        }
    }

    /// The node has moved this worker's place: whoever stood in the old ring
    /// finds its own way into the new one.
    pub(super) fn stand(&mut self, channel: &Channel, at: Position, now: Duration) {
        let Some(&number) = self.names.get(channel) else {
            return;
        };
        let Some(local) = self.channels.get_mut(number) else {
            return;
        };
        if sabotaged(Mutant::KeepRingOnStand) && local.ring.is_some() {
            return;
        }
        let first = local.ring.as_ref().map_or(0, Ring::end);
        local.ring = Some(Ring::new(self.limits.ring, at, first));
        for (key, index) in local.members.clone() {
            let Some(stream) = self.streams.get_mut(key) else {
                continue;
            };
            let Some(seat) = stream.seats.get(index) else {
                continue;
            };
            if let (State::Live { .. }, Some(place)) = (&seat.state, seat.place) {
                let status = seat.status;
                stream.notify(now);
                self.settle(key, index, place, status);
            }
        }
    }

    pub(super) fn placed(&mut self, ticket: Ticket, placed: Placed, now: Duration) {
        let (key, index) = (ticket.connection, usize::from(ticket.seat));
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Some(seat) = stream.seats.get_mut(index) else {
            return;
        };
        let State::Asking {
            serial,
            start,
            reset,
        } = seat.state
        else {
            return;
        };
        if serial != ticket.serial && !sabotaged(Mutant::AnyTicket) {
            return;
        }
        let waited = seat.status == Status::Waiting;
        self.tally
            .replays
            .extend(outcome(&placed, start).filter(|_| waited));
        match placed {
            Placed::At(to) => {
                // At the limit of a replay and at the head: nothing was missed.
                let arrived = seat.place == Some(to) && !sabotaged(Mutant::LimitOnArrival);
                if let Some(reason) = reset.filter(|_| !arrived) {
                    let from = seat.place;
                    seat.state = State::Resetting(Reset { from, to, reason });
                    stream.known(index, Status::Reset, from);
                } else {
                    let status = match start {
                        Start::After(_) => Status::Resumed,
                        Start::Live | Start::Since(_) | Start::Last(_) | Start::Holds(_) => {
                            Status::Live
                        }
                    };
                    self.settle(key, index, to, status);
                }
            }
            Placed::Page { from, events } => {
                seat.place = Some(from);
                seat.state = State::Replaying { events, next: 0 };
                stream.known(index, Status::Resumed, Some(from));
            }
            Placed::Broken(reset) => {
                seat.state = State::Resetting(reset);
                stream.known(index, Status::Reset, reset.from);
            }
            Placed::Holds(holds) => {
                seat.state = State::Probed(holds);
                self.settle_bare(key, start);
            }
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.notify(now);
        }
    }

    /// Once every channel has said whether it holds the bare position, it
    /// belongs to those that do; the others start live, or all are reset.
    fn settle_bare(&mut self, key: usize, start: Start) {
        let Start::Holds(place) = start else { return };
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let holds: Option<SmallVec<[bool; 4]>> = stream
            .seats
            .iter()
            .map(|seat| match seat.state {
                State::Probed(holds) => Some(holds),
                State::Asking { .. }
                | State::Unsettled
                | State::Replaying { .. }
                | State::Resetting(_)
                | State::Live { .. } => None,
            })
            .collect();
        let Some(holds) = holds else { return };
        let found = holds.contains(&true);
        for (index, holds) in holds.into_iter().enumerate() {
            if holds {
                self.resume(key, index, place);
            } else if found {
                self.start_live(key, index);
            } else {
                self.ask(key, index, Start::Live, Some(ResetReason::BadCursor));
            }
        }
    }
}

/// How a resume went, if the answer tells.
fn outcome(placed: &Placed, start: Start) -> Option<ReplayOutcome> {
    match (placed, start) {
        (Placed::At(_), Start::After(_)) => Some(ReplayOutcome::Current),
        (Placed::Page { .. }, _) => Some(ReplayOutcome::Stream),
        (Placed::Broken(_), _) => Some(ReplayOutcome::Reset),
        (Placed::At(_) | Placed::Holds(_), _) => None,
    }
}

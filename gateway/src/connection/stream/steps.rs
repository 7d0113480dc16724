//! What a stream writes, seat by seat: resets, replayed history, live events.

use sluice_wire::position::Position;

use super::{Around, Skip, Stream};
use crate::connection::Transport;
use crate::connection::blocks;
use crate::connection::seat::State;
use crate::connection::shapes::Sheet;
use crate::hub::exchange::{Entry, Reset, Start};
use crate::hub::frame::EventFrame;
use crate::hub::proof::links;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::{CloseReason, ResetReason};

impl<T: Transport> Stream<T> {
    /// Gives each seat its turn, so that a busy channel cannot starve another.
    pub(super) fn drain(&mut self, around: &mut Around<'_>, sheet: &mut Sheet) {
        let seats = self.seats.len();
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..seats {
            let seat = (usize::from(self.turn) + offset) % seats;
            while sheet.has_room() && self.step(seat, around, sheet) {}
        }
    }

    /// Writes the next thing that one seat has; false when it has nothing.
    pub(super) fn step(
        &mut self,
        index: usize,
        around: &mut Around<'_>,
        sheet: &mut Sheet,
    ) -> bool {
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        match &mut seat.state {
            State::Asking { .. } | State::Probed(_) | State::Unsettled => false,
            State::Resetting(reset) => {
                let reset = *reset;
                self.tell_reset(index, &reset, around, sheet);
                self.settle(index, reset.to, around);
                true
            }
            State::Replaying { events, next } => {
                if let Some(frame) = events.get(*next).cloned() {
                    if !sheet.admits(|format| frame.tail(format)) {
                        return false;
                    }
                    *next += 1;
                    seat.replayed = seat.replayed.saturating_add(1);
                    around.tally.replayed += 1;
                    let checked = !sabotaged(Mutant::SkipChainCheckOnResume);
                    self.deliver(index, &frame, checked, around, sheet)
                } else {
                    self.end_of_page(index, around)
                }
            }
            State::Live { next } => {
                let serial = *next;
                self.step_live(index, serial, around, sheet)
            }
        }
    }

    fn step_live(
        &mut self,
        index: usize,
        serial: u64,
        around: &mut Around<'_>,
        sheet: &mut Sheet,
    ) -> bool {
        let channels = around.channels;
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        let Some(ring) = channels
            .get(seat.channel)
            .and_then(|local| local.ring.as_ref())
        else {
            return false;
        };
        if ring.has_lost(serial) {
            if sabotaged(Mutant::SkipEvicted) {
                seat.state = State::Live { next: ring.first() };
                return true;
            }
            self.close(CloseReason::SlowConsumer, around.now);
            return false;
        }
        let Some(entry) = ring.get(serial) else {
            return false;
        };
        let admitted = match entry {
            Entry::Event(frame) => sheet.admits(|format| frame.tail(format)),
            Entry::Ephemeral(frame) => sheet.admits(|format| frame.tail(format)),
            Entry::Reset(_) => true,
        };
        if !admitted {
            return false;
        }
        seat.state = State::Live { next: serial + 1 };
        match entry {
            Entry::Event(frame) => {
                let delivered = self.deliver(index, frame, true, around, sheet);
                if delivered {
                    around.tally.published.push(frame.position.id().ms);
                }
                delivered
            }
            Entry::Ephemeral(frame) => {
                sheet.ephemeral(frame, || self.cursor());
                around.tally.ephemerals += 1;
                self.events += 1;
                true
            }
            Entry::Reset(reset) => {
                let reset = *reset;
                self.tell_reset(index, &reset, around, sheet);
                true
            }
        }
    }

    fn deliver(
        &mut self,
        index: usize,
        frame: &EventFrame,
        checked: bool,
        around: &mut Around<'_>,
        sheet: &mut Sheet,
    ) -> bool {
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        let linked = seat
            .place
            .is_some_and(|place| links(place, frame.position, frame.prev));
        if checked && !linked {
            around.tally.unlinked += 1;
            if let Some(place) = seat.place {
                around.questions.push((index, Start::After(place), None));
                seat.state = State::Unsettled;
            }
            return false;
        }
        seat.place = Some(frame.position);
        if self.seats.len() == 1 {
            sheet.event(frame);
        } else {
            sheet.event_among_others(frame, || self.cursor());
        }
        self.events += 1;
        true
    }

    fn tell_reset(
        &mut self,
        index: usize,
        reset: &Reset,
        around: &mut Around<'_>,
        sheet: &mut Sheet,
    ) {
        let Some(seat) = self.seats.get_mut(index) else {
            return;
        };
        seat.place = Some(reset.to);
        seat.replayed = 0;
        let Some(local) = around.channels.get(seat.channel) else {
            return;
        };
        around.tally.resets.push(reset.reason);
        around.tally.skips.push(Skip {
            id: self.id,
            channel: local.name.clone(),
            reset: *reset,
        });
        let notice = blocks::reset(local.name.as_str(), reset);
        sheet.reset(&notice, reset, || self.cursor());
    }

    fn end_of_page(&mut self, index: usize, around: &mut Around<'_>) -> bool {
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        let Some(place) = seat.place else {
            return false;
        };
        let ring = around
            .channels
            .get(seat.channel)
            .and_then(|local| local.ring.as_ref());
        let arrived = ring.is_some_and(|ring| ring.prove(place).is_some())
            && !sabotaged(Mutant::LimitOnArrival);
        if seat.replayed > around.limits.backfill_events && !arrived {
            seat.state = State::Unsettled;
            around
                .questions
                .push((index, Start::Live, Some(ResetReason::BackfillLimit)));
            return false;
        }
        if sabotaged(Mutant::ForgetTheNextPage)
            && let Some(ring) = ring
        {
            seat.place = Some(ring.tip());
            seat.state = State::Live { next: ring.end() };
            return false;
        }
        self.settle(index, place, around)
    }

    /// Live from `place` on if the ring proves it, else asks the node. True when live.
    pub(super) fn settle(
        &mut self,
        index: usize,
        place: Position,
        around: &mut Around<'_>,
    ) -> bool {
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        let ring = around
            .channels
            .get(seat.channel)
            .and_then(|local| local.ring.as_ref());
        seat.place = Some(place);
        if let Some(next) = ring.and_then(|ring| ring.prove(place)) {
            seat.state = State::Live { next };
            seat.replayed = 0;
            return true;
        }
        seat.state = State::Unsettled;
        around.questions.push((index, Start::After(place), None));
        false
    }
}

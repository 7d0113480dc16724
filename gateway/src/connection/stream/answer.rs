//! A poll: a stream that ends with its first events, or when its time is over,
//! and whose bytes are one answer. Places, replay, resets and ends are a stream's.

use std::time::Duration;

use super::{Around, Pull, Stream};
use crate::connection::Transport;
use crate::connection::blocks::Status;
use crate::connection::seat::Seat;
use crate::connection::shapes::Sheet;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::CloseReason;

impl<T: Transport> Stream<T> {
    /// The answer once there is something to tell or nothing more to wait for. A poll
    /// that has no place to give ends without bytes.
    pub(super) fn pull_answer(&mut self, around: &mut Around<'_>, mut sheet: Sheet) -> Pull {
        if self.close == Some(CloseReason::Revoked) {
            self.ended = true;
            return Pull::End;
        }
        if !self.greeted {
            self.greeted = true;
            // Each poll begins with another seat: a small limit must not starve the last one.
            self.turn = (around.jitter * f64::from(u16::MAX)) as u16;
        }
        let knows_all = self.seats.iter().all(Seat::is_known);
        if self.has_expired(around.now) && !sabotaged(Mutant::DeliverAfterExpiry) {
            // No event any more: the places are all that there is to tell.
        } else if knows_all || self.may_begin_without_the_rest(around) {
            self.tell_owed_resets(around, &mut sheet);
            self.drain(around, &mut sheet);
        }
        if !sheet.is_empty() || (knows_all && self.has_new_places()) {
            self.close.get_or_insert(CloseReason::PollDone);
        } else if let Some(reason) = self.over(around.now, around.limits.open_wait) {
            self.close.get_or_insert(reason);
        }
        if self.close.is_none() {
            return Pull::Pending;
        }
        self.ended = true;
        around.tally.cut_answers += u64::from(sheet.is_cut());
        let cursor = self.cursor();
        if cursor.is_empty() || (self.fresh && !knows_all) {
            return Pull::End;
        }
        let answer = sheet.answer(&cursor);
        self.give(answer, around.now)
    }

    /// A poll's time is over once every question is answered, so that even one that would not wait goes on from its
    /// place; at the latest when a stream would say `sluice.open` without the answers. Whatever else ends it, ends it
    /// at once.
    pub(super) fn poll_is_over(&self, now: Duration, open_wait: Duration) -> bool {
        let (at, reason) = self.end_at;
        let by_itself = reason == CloseReason::PollDone;
        let settled = self.seats.iter().all(Seat::is_settled);
        at <= now && (!by_itself || settled || self.opened_at + open_wait <= now)
    }

    /// Whether the reader has to be told where it stands, so that it cannot lose what comes while it is away: it came
    /// without a place, or with one that does not name every channel.
    fn has_new_places(&self) -> bool {
        let is_new = |seat: &Seat| seat.status == Status::Live;
        self.fresh || self.seats.iter().any(is_new)
    }

    /// Whether some channels may speak while others are still waited for: not to a reader without a place, whose cursor
    /// would leave those out, nor while a reset is owed, with which the cursor stays the reader's own.
    fn may_begin_without_the_rest(&self, around: &Around<'_>) -> bool {
        around.now >= self.opened_at + around.limits.open_wait
            && !self.fresh
            && !self.seats.iter().any(Seat::owes_first_reset)
    }

    /// The resets of a place that nobody could read are told together, whatever the limit: until the last of them the
    /// cursor stays what it was.
    fn tell_owed_resets(&mut self, around: &mut Around<'_>, sheet: &mut Sheet) {
        for index in 0..self.seats.len() {
            if self.seats.get(index).is_some_and(Seat::owes_first_reset) {
                self.step(index, around, sheet);
            }
        }
    }
}

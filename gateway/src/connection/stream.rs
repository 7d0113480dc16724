//! One connection as a state machine: open, catch up, live, close. It is
//! pulled for bytes and gives whole blocks only.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use slab::Slab;
use sluice_wire::cursor;
use sluice_wire::position::Position;
use sluice_wire::sse;
use smallvec::SmallVec;

use super::blocks::{self, Status};
use super::chunk::Chunk;
use super::seat::{Seat, State};
use super::worker::LocalChannel;
use super::{StreamLimits, Transport};
use crate::hub::exchange::{Entry, Reset, Start};
use crate::hub::frame::{EventFrame, Format};
use crate::hub::proof::links;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::{CloseReason, ReplayOutcome, ResetReason};

/// One stream.
#[derive(Debug)]
pub struct Stream<T> {
    pub(super) transport: T,
    pub(super) seats: SmallVec<[Seat; 1]>,
    pub(super) close: Option<CloseReason>,
    /// When it ends by itself, and why.
    pub(super) end_at: (Duration, CloseReason),
    pub(super) opened_at: Duration,
    /// Since when bytes are due that nobody has pulled.
    pub(super) due_since: Option<Duration>,
    pub(super) heartbeat_at: Duration,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// The reader's own cursor, until this stream has one to give.
    pub(super) incoming: Option<Box<str>>,
    format: Format,
    greeted: bool,
    opened: bool,
    /// A seat has become known since the last `sluice.open`.
    news: bool,
    heartbeat_due: bool,
    ended: bool,
    turn: u16,
}

/// What a pull gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Pull {
    Bytes(Bytes),
    /// Nothing is due; the transport will be notified.
    Pending,
    /// The stream is over.
    End,
}

/// What a stream needs from its worker while it is pulled.
pub struct Around<'a> {
    pub channels: &'a Slab<LocalChannel>,
    pub limits: &'a StreamLimits,
    pub now: Duration,
    /// Unix time in milliseconds, by Redis's clock.
    pub wall: u64,
    pub tally: &'a mut Tally,
    /// Jitter for `retry:` between 0 and 1.
    pub jitter: f64,
    /// Questions that seats want to ask.
    pub questions: &'a mut Vec<(usize, Start, Option<ResetReason>)>,
}

/// What has been delivered since it was last looked at.
#[derive(Debug, Default)]
pub struct Tally {
    /// Milliseconds from publish to the socket, per delivered event; negative
    /// when the clocks disagree.
    pub latencies: Vec<i64>,
    pub ephemerals: u64,
    pub replayed: u64,
    pub resets: Vec<ResetReason>,
    /// How resumes went, one per channel.
    pub replays: Vec<ReplayOutcome>,
    /// Frames that did not link to the reader's place: the last line of defence.
    pub unlinked: u64,
}

impl<T: Transport> Stream<T> {
    pub(super) fn new(
        transport: T,
        seats: SmallVec<[Seat; 1]>,
        format: Format,
        now: Duration,
        end_at: (Duration, CloseReason),
        heartbeat: Duration,
    ) -> Stream<T> {
        Stream {
            transport,
            seats,
            close: None,
            end_at,
            opened_at: now,
            due_since: None,
            heartbeat_at: now + heartbeat,
            events: 0,
            bytes: 0,
            incoming: None,
            format,
            greeted: false,
            opened: false,
            news: false,
            heartbeat_due: false,
            ended: false,
            turn: 0,
        }
    }

    /// Tells the transport that something is due.
    pub(super) fn notify(&mut self, now: Duration) {
        self.due_since.get_or_insert(now);
        self.transport.notify();
    }

    /// Ends the stream after what is already due has been written.
    pub(super) fn close(&mut self, reason: CloseReason, now: Duration) {
        if self.close.is_none() {
            self.close = Some(reason);
            self.notify(now);
        }
    }

    pub(super) fn beat(&mut self, now: Duration) {
        self.heartbeat_due = true;
        self.notify(now);
    }

    /// Notes that a seat's place has become known.
    pub(super) fn known(&mut self, seat: usize, status: Status) {
        if let Some(seat) = self.seats.get_mut(seat)
            && seat.status == Status::Waiting
        {
            seat.status = status;
            self.news = true;
        }
    }

    /// Whether the close block is written.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Everything that is due, up to the limit of one chunk.
    pub(super) fn pull(&mut self, around: &mut Around<'_>) -> Pull {
        self.due_since = None;
        if self.ended {
            return Pull::End;
        }
        let mut chunk = Chunk::default();
        if !self.greeted {
            self.greeted = true;
            chunk.push(Bytes::from_static(sse::HEARTBEAT));
        }
        if self.open_is_due(around) {
            self.write_open(around, &mut chunk);
        }
        if self.opened {
            self.drain(around, &mut chunk);
        }
        if let Some(reason) = self.close
            && chunk.len() < around.limits.chunk_bytes
        {
            self.write_close(reason, around, &mut chunk);
        }
        if self.heartbeat_due && chunk.is_empty() {
            chunk.push(Bytes::from_static(sse::HEARTBEAT));
        }
        if chunk.is_empty() {
            return Pull::Pending;
        }
        self.heartbeat_due = false;
        self.heartbeat_at = around.now + around.limits.heartbeat;
        self.bytes += chunk.len() as u64;
        Pull::Bytes(chunk.freeze())
    }

    fn open_is_due(&self, around: &Around<'_>) -> bool {
        if self.opened {
            return self.news;
        }
        self.seats.iter().all(Seat::is_known)
            || around.now >= self.opened_at + around.limits.open_wait
    }

    fn write_open(&mut self, around: &Around<'_>, chunk: &mut Chunk) {
        self.opened = true;
        self.news = false;
        let id = self.cursor();
        let retry = jittered(around.limits.retry, around.jitter);
        let channels = self.seats.iter().filter_map(|seat| {
            let channel = around.channels.get(seat.channel)?;
            Some((channel.name.as_str(), seat.status))
        });
        blocks::write_open(&around.limits.node, channels, &id, retry, chunk.buffer());
    }

    fn write_close(&mut self, reason: CloseReason, around: &Around<'_>, chunk: &mut Chunk) {
        self.ended = true;
        let retry = (reason == CloseReason::Drain)
            .then(|| Duration::from_millis(200).mul_f64(1.0 + 9.0 * around.jitter));
        blocks::write_close(reason, &self.cursor(), retry, chunk.buffer());
    }

    /// Gives each seat its turn, so that a busy channel cannot starve another.
    fn drain(&mut self, around: &mut Around<'_>, chunk: &mut Chunk) {
        let seats = self.seats.len();
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..seats {
            let seat = (usize::from(self.turn) + offset) % seats;
            while chunk.len() < around.limits.chunk_bytes && self.step(seat, around, chunk) {}
        }
    }

    /// Writes the next thing that one seat has; false when it has nothing.
    fn step(&mut self, index: usize, around: &mut Around<'_>, chunk: &mut Chunk) -> bool {
        let Some(seat) = self.seats.get_mut(index) else {
            return false;
        };
        match &mut seat.state {
            State::Asking { .. } | State::Probed(_) | State::Unsettled => false,
            State::Resetting(reset) => {
                let reset = *reset;
                self.tell_reset(index, &reset, around, chunk);
                self.settle(index, reset.to, around);
                true
            }
            State::Replaying { events, next } => {
                if let Some(frame) = events.get(*next).cloned() {
                    *next += 1;
                    seat.replayed = seat.replayed.saturating_add(1);
                    around.tally.replayed += 1;
                    let checked = !sabotaged(Mutant::SkipChainCheckOnResume);
                    self.deliver(index, &frame, checked, around, chunk)
                } else {
                    self.end_of_page(index, around)
                }
            }
            State::Live { next } => {
                let serial = *next;
                self.step_live(index, serial, around, chunk)
            }
        }
    }

    fn step_live(
        &mut self,
        index: usize,
        serial: u64,
        around: &mut Around<'_>,
        chunk: &mut Chunk,
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
        seat.state = State::Live { next: serial + 1 };
        match entry {
            Entry::Event(frame) => {
                let delivered = self.deliver(index, frame, true, around, chunk);
                if delivered {
                    around
                        .tally
                        .latencies
                        .push(latency(frame.position, around.wall));
                }
                delivered
            }
            Entry::Ephemeral(frame) => {
                let id = self.cursor();
                if !id.is_empty() {
                    sse::write_id_line(&id, chunk.buffer());
                }
                chunk.push(frame.tail(self.format));
                around.tally.ephemerals += 1;
                self.events += 1;
                true
            }
            Entry::Reset(reset) => {
                let reset = *reset;
                self.tell_reset(index, &reset, around, chunk);
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
        chunk: &mut Chunk,
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
            chunk.push(frame.block(self.format));
        } else {
            let id = self.cursor();
            if !id.is_empty() {
                sse::write_id_line(&id, chunk.buffer());
            }
            chunk.push(frame.tail(self.format));
        }
        self.events += 1;
        true
    }

    fn tell_reset(
        &mut self,
        index: usize,
        reset: &Reset,
        around: &mut Around<'_>,
        chunk: &mut Chunk,
    ) {
        let Some(seat) = self.seats.get_mut(index) else {
            return;
        };
        seat.place = Some(reset.to);
        seat.replayed = 0;
        let Some(local) = around.channels.get(seat.channel) else {
            return;
        };
        let id = self.cursor();
        around.tally.resets.push(reset.reason);
        blocks::write_reset(local.name.as_str(), reset, &id, chunk.buffer());
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

    /// Where the reader stands, as the `id:` of the next block. It is the reader's own cursor when nothing is known, and
    /// while a reset is owed to a channel without a place: with an id that says nothing of it, a reconnect would start
    /// it live in silence, and a block without an id erases what the reader has (WHATWG HTML, 9.2.6). Empty when there
    /// is neither.
    pub(super) fn cursor(&mut self) -> BytesMut {
        if !self.seats.iter().any(Seat::owes_first_reset) {
            let id = self.own_cursor();
            if !id.is_empty() {
                self.incoming = None;
                return id;
            }
        }
        self.incoming.as_deref().unwrap_or_default().into()
    }

    fn own_cursor(&self) -> BytesMut {
        let mut id = BytesMut::new();
        if let [seat] = self.seats.as_slice() {
            if let Some(place) = seat.place {
                cursor::write_bare(place, &mut id);
            }
            return id;
        }
        let first = self.seats.first().and_then(|seat| seat.place);
        let one = sabotaged(Mutant::OnePlaceForAll).then_some(first).flatten();
        let mut places = self
            .seats
            .iter()
            .filter_map(|seat| Some((seat.short_hash, one.or(seat.place)?)))
            .peekable();
        if places.peek().is_some() {
            cursor::write_many(places, &mut id);
        }
        id
    }
}

/// Milliseconds from publish to now.
fn latency(published: Position, wall: u64) -> i64 {
    let published = i64::try_from(published.id().ms).unwrap_or(i64::MAX);
    i64::try_from(wall)
        .unwrap_or(i64::MAX)
        .saturating_sub(published)
}

/// Between 75 % and 125 % of `retry`.
fn jittered(retry: Duration, jitter: f64) -> Duration {
    retry.mul_f64(0.75 + jitter / 2.0)
}

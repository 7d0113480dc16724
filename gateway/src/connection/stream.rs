//! One connection as a state machine: open, catch up, live, close. It is
//! pulled for bytes and gives whole blocks only.

mod answer;
mod expiry;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use slab::Slab;
use sluice_wire::channel::Channel;
use sluice_wire::cursor;
use sluice_wire::position::Position;
use smallvec::SmallVec;

use super::blocks::{self, Status};
use super::seat::Seat;
use super::shapes::{Shape, Sheet};
use super::worker::LocalChannel;
use super::{ConnectionId, Expiry, Opening, StreamLimits, Transport};
use crate::holder::Holder;
use crate::hub::exchange::{Reset, Start};
use crate::hub::frame::EventFrame;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::{CloseReason, ReplayOutcome, ResetReason};

/// One stream.
#[derive(Debug)]
pub struct Stream<T> {
    pub(super) transport: T,
    pub(super) seats: SmallVec<[Seat; 1]>,
    pub(super) id: ConnectionId,
    pub(super) holder: Arc<Holder>,
    pub(super) close: Option<CloseReason>,
    /// The node's own: no user's.
    pub(super) own: bool,
    /// When it ends by itself, and why.
    pub(super) end_at: (Duration, CloseReason),
    /// When it ends with its token.
    pub(super) expiry: Option<Expiry>,
    pub(super) opened_at: Duration,
    /// Since when bytes are due that nobody has pulled.
    pub(super) due_since: Option<Duration>,
    pub(super) heartbeat_at: Duration,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// The reader's own cursor, until this stream has one to give.
    pub(super) incoming: Option<Box<str>>,
    pub(super) shape: Shape,
    /// The reader came without a place.
    fresh: bool,
    greeted: bool,
    opened: bool,
    /// A seat has become known since the last `sluice.open`.
    news: bool,
    heartbeat_due: bool,
    /// Its reader has been told of this expiry.
    warned: bool,
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
    pub tally: &'a mut Tally,
    /// Jitter for `retry:` between 0 and 1.
    pub jitter: f64,
    /// Questions that seats want to ask.
    pub questions: &'a mut Vec<(usize, Start, Option<ResetReason>)>,
}

/// What has been delivered since it was last looked at.
#[derive(Debug, Default)]
pub struct Tally {
    /// When live events were published, in Unix milliseconds by Redis's clock, one per delivery.
    pub published: Vec<u64>,
    pub ephemerals: u64,
    pub replayed: u64,
    /// Polls whose answer had no room for all that was there.
    pub cut_answers: u64,
    pub resets: Vec<ResetReason>,
    /// The same with what is needed to explain them later.
    pub skips: Vec<Skip>,
    /// How resumes went, one per channel.
    pub replays: Vec<ReplayOutcome>,
    /// Events that belong to a trace, whose last streams on this node have been here, and the number of all of those.
    pub handed: Vec<(Arc<EventFrame>, usize)>,
    /// Frames that did not link to the reader's place: the last line of defence.
    pub unlinked: u64,
}

/// A reset that was told to a stream.
#[derive(Clone, Debug)]
pub struct Skip {
    pub id: ConnectionId,
    pub channel: Channel,
    pub reset: Reset,
}

impl<T: Transport> Stream<T> {
    pub(super) fn new(
        transport: T,
        opening: &Opening,
        now: Duration,
        end_at: (Duration, CloseReason),
        heartbeat: Duration,
    ) -> Stream<T> {
        Stream {
            transport,
            seats: SmallVec::new(),
            id: opening.id,
            holder: Arc::clone(&opening.holder),
            close: None,
            own: opening.is_own(),
            end_at,
            expiry: opening.expires_at,
            opened_at: now,
            due_since: None,
            heartbeat_at: now + heartbeat,
            events: 0,
            bytes: 0,
            incoming: opening.incoming.as_deref().map(Into::into),
            shape: opening.shape,
            fresh: opening.start.is_fresh(),
            greeted: false,
            opened: false,
            news: false,
            heartbeat_due: false,
            warned: false,
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

    /// Notes that a seat's place has become known, and with which one it begins.
    pub(super) fn known(&mut self, seat: usize, status: Status, began: Option<Position>) {
        if let Some(seat) = self.seats.get_mut(seat)
            && seat.status == Status::Waiting
        {
            seat.status = status;
            seat.began = began.map(Position::to_bytes).unwrap_or_default();
            self.news = true;
        }
    }

    /// Whether it writes what arrives as it arrives; a poll may hold back for channels whose place is unknown.
    pub(super) fn keeps_up(&self) -> bool {
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => true,
            Shape::Poll(_) => false,
        }
    }

    /// Whether the last bytes have been given.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Everything that is due, up to the limit of one chunk.
    pub(super) fn pull(&mut self, around: &mut Around<'_>) -> Pull {
        self.due_since = None;
        if self.ended {
            return Pull::End;
        }
        let mut sheet = Sheet::new(self.shape, around.limits.chunk_bytes);
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => self.pull_blocks(around, &mut sheet),
            Shape::Poll(_) => return self.pull_answer(around, sheet),
        }
        if sheet.is_empty() {
            return Pull::Pending;
        }
        let bytes = sheet.freeze();
        self.heartbeat_due = false;
        self.heartbeat_at = around.now + around.limits.heartbeat;
        self.give(bytes, around.now)
    }

    fn give(&mut self, bytes: Bytes, now: Duration) -> Pull {
        self.bytes += bytes.len() as u64;
        // The last bytes are on their way: somebody has to fetch the end.
        self.due_since = self.ended.then_some(now);
        Pull::Bytes(bytes)
    }

    /// Cuts off a peer that leaves the last bytes unread.
    pub(super) fn cut_if_unread(&mut self, now: Duration, age: Duration) {
        if self.due_since.is_some_and(|since| since + age <= now) {
            if self.close.is_some_and(|reason| !reason.is_told()) {
                self.close = Some(CloseReason::SlowConsumer);
            }
            self.transport.abort();
        }
    }

    fn pull_blocks(&mut self, around: &mut Around<'_>, sheet: &mut Sheet) {
        if !self.greeted {
            self.greeted = true;
            sheet.heartbeat();
        }
        if self.has_expired(around.now) && !sabotaged(Mutant::DeliverAfterExpiry) {
            // Before anything else: the sweep may not have come round yet.
            let over = self.over(around.now, around.limits.open_wait);
            let over = over.unwrap_or(CloseReason::TokenExpired);
            let reason = *self.close.get_or_insert(over);
            return self.write_close(reason, around, sheet);
        }
        if self.open_is_due(around) {
            self.write_open(around, sheet);
        }
        if self.warning_is_due(around.now, around.limits.expiring_lead) {
            self.write_warning(around.now, sheet);
        }
        // Nothing more for a token that was taken back, not even what was due before.
        if self.opened && self.close != Some(CloseReason::Revoked) {
            self.drain(around, sheet);
        }
        if let Some(reason) = self.close
            && sheet.has_room()
        {
            self.write_close(reason, around, sheet);
        }
        if self.heartbeat_due && sheet.is_empty() {
            sheet.heartbeat();
        }
    }

    fn open_is_due(&self, around: &Around<'_>) -> bool {
        if self.opened {
            return self.news;
        }
        self.seats.iter().all(Seat::is_known)
            || around.now >= self.opened_at + around.limits.open_wait
    }

    fn write_open(&mut self, around: &Around<'_>, sheet: &mut Sheet) {
        self.opened = true;
        self.news = false;
        let cursor = self.cursor();
        let retry = jittered(around.limits.retry, around.jitter);
        let channels = self.seats.iter().filter_map(|seat| {
            let channel = around.channels.get(seat.channel)?;
            Some((channel.name.as_str(), seat.status))
        });
        let notice = blocks::open(&around.limits.node, self.id, channels, retry);
        sheet.notice(&notice, &cursor);
    }

    fn write_close(&mut self, reason: CloseReason, around: &Around<'_>, sheet: &mut Sheet) {
        self.ended = true;
        let retry = retry_after(reason, around);
        let cursor = self.cursor();
        sheet.notice(&blocks::close(reason, retry), &cursor);
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

/// The wait that a stream's end is told with, where that matters: short where another node takes over at once, long
/// where whoever comes back would push out somebody else.
fn retry_after(reason: CloseReason, around: &Around<'_>) -> Option<Duration> {
    match reason {
        CloseReason::Drain => Some(Duration::from_millis(200).mul_f64(1.0 + 9.0 * around.jitter)),
        CloseReason::Limit => Some(around.limits.limit_retry.mul_f64(0.5 + around.jitter)),
        CloseReason::ClientGone
        | CloseReason::TransportError
        | CloseReason::SlowConsumer
        | CloseReason::PollDone
        | CloseReason::MaxAge
        | CloseReason::Overload
        | CloseReason::TokenExpired
        | CloseReason::Revoked
        | CloseReason::Disconnected
        | CloseReason::Unavailable => None,
    }
}

/// Between 75 % and 125 % of `retry`.
fn jittered(retry: Duration, jitter: f64) -> Duration {
    retry.mul_f64(0.75 + jitter / 2.0)
}

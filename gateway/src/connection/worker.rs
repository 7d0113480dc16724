//! All streams of one worker thread and the rings they read from.

mod explain;
mod index;
pub mod lag;
pub mod list;
mod memory;
mod obey;
mod renewal;
mod seating;
mod users;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use slab::Slab;
use sluice_wire::channel::Channel;

use super::blocks::Status;
use super::seat::{Seat, State};
use super::shapes::Shape;
use super::stream::{Around, Pull, Stream, Tally};
use super::{ConnectionId, Ended, Opening, StreamLimits, Transport};
use crate::holder::Holder;
use crate::hub::exchange::{Entry, ToNode, ToWorker};
use crate::hub::ring::Ring;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::CloseReason;
use index::Index;
use lag::Rounds;
use memory::Memory;

/// Streams that one tick can look at without being felt.
const SWEPT_AT_ONCE: usize = 20_000;
/// Ticks that a round of more streams takes: less than the second within which an expired stream ends.
const ROUND: usize = 8;
/// Bytes that have been due for so long are not being fetched.
const STALLED: Duration = Duration::from_secs(1);

/// A channel as one worker sees it.
#[derive(Debug)]
pub struct LocalChannel {
    pub name: Channel,
    /// Nothing until the node has said where the channel stands.
    pub ring: Option<Ring>,
    /// Connection and seat of everyone here.
    members: Vec<(usize, usize)>,
}

/// A stream, as an order of somebody else looks at it.
pub struct Bystander<'a> {
    pub id: ConnectionId,
    pub holder: &'a Holder,
    pub opened_at: Duration,
    seats: &'a [Seat],
    channels: &'a Slab<LocalChannel>,
}

impl Bystander<'_> {
    /// Whether it reads the channel.
    #[must_use]
    pub fn reads(&self, channel: &str) -> bool {
        self.seats.iter().any(|seat| {
            let local = self.channels.get(seat.channel);
            local.is_some_and(|local| local.name.as_str() == channel)
        })
    }
}

/// Streams, rings and what is owed to the node. `T` is the way to the socket.
#[derive(Debug)]
pub struct Worker<T> {
    limits: StreamLimits,
    names: HashMap<Channel, usize>,
    channels: Slab<LocalChannel>,
    streams: Slab<Stream<T>>,
    /// How many of them are the node's own.
    own: usize,
    /// Those that can be renewed, by name.
    index: Index,
    memory: Memory,
    /// Streams that have not said `sluice.open`, by deadline.
    opening: VecDeque<(Duration, usize)>,
    outbox: VecDeque<ToNode>,
    serial: u64,
    swept: usize,
    lag: Rounds,
    draining: Option<(Duration, Duration)>,
    rng: SmallRng,
    tally: Tally,
}

impl<T: Transport> Worker<T> {
    /// A worker without streams; `seed` feeds jitter only.
    #[must_use]
    pub fn new(limits: StreamLimits, seed: u64) -> Worker<T> {
        Worker {
            memory: Memory::new(limits.ended_streams),
            index: Index::default(),
            limits,
            names: HashMap::new(),
            channels: Slab::new(),
            streams: Slab::new(),
            own: 0,
            opening: VecDeque::new(),
            outbox: VecDeque::new(),
            serial: 0,
            swept: 0,
            lag: Rounds::default(),
            draining: None,
            rng: SmallRng::seed_from_u64(seed),
            tally: Tally::default(),
        }
    }

    /// Takes a stream in; pull it by the key that comes back.
    pub fn open(&mut self, opening: &Opening, transport: T, now: Duration) -> usize {
        let end_at = self.end_of(opening, now);
        let stream = Stream::new(transport, opening, now, end_at, self.limits.heartbeat);
        self.own += usize::from(stream.own);
        let key = self.streams.insert(stream);
        if opening.expires_at.is_some() {
            self.index.add(opening.id, &opening.holder, key);
        }
        for channel in &opening.channels {
            self.seat(key, channel);
        }
        self.start(key, &opening.start);
        if let Some((from, window)) = self.draining {
            self.end_within(key, from, window);
        }
        self.opening.push_back((now + self.limits.open_wait, key));
        key
    }

    /// Whatever is due on a stream.
    pub fn pull(&mut self, key: usize, now: Duration) -> Pull {
        let Some(stream) = self.streams.get_mut(key) else {
            return Pull::End;
        };
        let mut questions = Vec::new();
        let mut untold = stream.own.then(Tally::default);
        let mut around = Around {
            channels: &self.channels,
            limits: &self.limits,
            now,
            tally: untold.as_mut().unwrap_or(&mut self.tally),
            jitter: self.rng.random(),
            questions: &mut questions,
        };
        let pull = stream.pull(&mut around);
        for (seat, start, reset) in questions {
            self.ask(key, seat, start, reset);
        }
        self.memory.skipped(&mut self.tally.skips);
        pull
    }

    /// Why a stream has ended or is about to.
    #[must_use]
    pub fn close_reason(&self, key: usize) -> Option<CloseReason> {
        self.streams.get(key)?.close
    }

    /// Lets a stream go, whoever ended it.
    pub fn remove(&mut self, key: usize, now: Duration) -> Option<Ended> {
        let stream = self.streams.try_remove(key)?;
        self.index.remove(stream.id, &stream.holder, key);
        if stream.own {
            self.own -= 1;
        } else {
            self.memory.ended(&stream, &self.channels, now);
        }
        for (index, seat) in stream.seats.iter().enumerate() {
            self.withdraw(key, index, seat);
            self.leave(seat);
        }
        Some(Ended {
            id: stream.id,
            shape: stream.shape,
            channels: stream.seats.len(),
            reason: stream.close.unwrap_or(CloseReason::ClientGone),
            duration: now.saturating_sub(stream.opened_at),
            events: stream.events,
            bytes: stream.bytes,
        })
    }

    /// A message from the node, in the order of its queue.
    pub fn hear(&mut self, message: ToWorker, now: Duration) {
        match message {
            ToWorker::Next { channel, entry, .. } => {
                let frame = match &entry {
                    Entry::Event(frame) if frame.trace().is_some() => Some(Arc::clone(frame)),
                    Entry::Event(_) | Entry::Ephemeral(_) | Entry::Reset(_) => None,
                };
                let streams = self.next(&channel, entry, now);
                if let Some(frame) = frame
                    && let Some(all) = frame.handed_to(streams)
                {
                    self.tally.handed.push((frame, all));
                }
            }
            ToWorker::Stand { channel, at } => self.stand(&channel, at, now),
            ToWorker::Placed { ticket, placed } => self.placed(ticket, placed, now),
        }
    }

    /// What the node is to be asked, oldest first; put back what it cannot take.
    pub fn outbox(&mut self) -> &mut VecDeque<ToNode> {
        &mut self.outbox
    }

    /// What has been delivered; take from it what has been counted.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Time has passed; call it about ten times a second. Each call looks at
    /// every stream; at an eighth of them when there are very many.
    pub fn tick(&mut self, now: Duration) {
        while self.opening.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.opening.pop_front()
                && let Some(stream) = self.streams.get_mut(key)
            {
                stream.notify(now);
            }
        }
        let all = self.draining.is_some() || self.streams.len() <= SWEPT_AT_ONCE;
        let share = if all { 1 } else { ROUND };
        let count = self.streams.capacity().div_ceil(share);
        for _ in 0..count {
            self.swept = (self.swept + 1) % self.streams.capacity().max(1);
            self.sweep(self.swept, now);
            if self.swept == 0 {
                self.lag.end();
            }
        }
        if let Some(then) = now.checked_sub(self.limits.ring_age) {
            for (_, local) in &mut self.channels {
                if let Some(ring) = &mut local.ring {
                    ring.forget_before(then);
                }
            }
        }
    }

    /// Ends every stream at a moment of its own between `from` and `from + window`.
    pub fn drain(&mut self, from: Duration, window: Duration) {
        self.draining = Some((from, window));
        let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end_within(key, from, window);
        }
    }

    /// Ends every stream that fits, after what is already due has been written.
    pub fn end_where(
        &mut self,
        reason: CloseReason,
        now: Duration,
        fits: impl Fn(&Bystander<'_>) -> bool,
    ) -> usize {
        let channels = &self.channels;
        let mut ended = 0;
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.own) {
            let bystander = Bystander {
                id: stream.id,
                holder: &stream.holder,
                opened_at: stream.opened_at,
                seats: &stream.seats,
                channels,
            };
            if fits(&bystander) {
                stream.close(reason, now);
                ended += 1;
            }
        }
        ended
    }

    /// The transport of a stream.
    pub fn transport(&mut self, key: usize) -> Option<&mut T> {
        self.streams
            .get_mut(key)
            .map(|stream| &mut stream.transport)
    }

    /// When a stream ends by itself, its token aside, and why.
    fn end_of(&mut self, opening: &Opening, now: Duration) -> (Duration, CloseReason) {
        let jitter = self.rng.random_range(0.8..1.2);
        let (age, reason) = match opening.shape {
            Shape::EventStream { .. } | Shape::Ndjson => {
                (self.limits.max_age.mul_f64(jitter), CloseReason::MaxAge)
            }
            Shape::Poll(terms) => (terms.timeout, CloseReason::PollDone),
        };
        (now + age, reason)
    }

    fn end_within(&mut self, key: usize, from: Duration, window: Duration) {
        let share: f64 = self.rng.random();
        let at = from + window.mul_f64(share);
        if let Some(stream) = self.streams.get_mut(key)
            && at < stream.end_at.0
        {
            stream.end_at = (at, CloseReason::Drain);
        }
    }

    fn seat(&mut self, key: usize, channel: &Channel) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let number = *self.names.entry(channel.clone()).or_insert_with(|| {
            self.channels.insert(LocalChannel {
                name: channel.clone(),
                ring: None,
                members: Vec::new(),
            })
        });
        let Some(local) = self.channels.get_mut(number) else {
            return;
        };
        local.members.push((key, stream.seats.len()));
        stream.seats.push(Seat {
            channel: number,
            short_hash: channel.short_hash(),
            member: local.members.len() - 1,
            place: None,
            state: State::Unsettled,
            status: Status::Waiting,
            began: [0; 12],
            replayed: 0,
        });
    }

    fn leave(&mut self, seat: &Seat) {
        let Some(local) = self.channels.get_mut(seat.channel) else {
            return;
        };
        local.members.swap_remove(seat.member);
        if let Some(&(key, index)) = local.members.get(seat.member)
            && let Some(moved) = self.streams.get_mut(key)
            && let Some(moved) = moved.seats.get_mut(index)
        {
            moved.member = seat.member;
        }
        if local.members.is_empty() {
            let local = self.channels.remove(seat.channel);
            self.names.remove(&local.name);
            self.outbox.push_back(ToNode::Leave {
                channel: local.name,
            });
        }
    }

    /// Wakes everyone on a channel, and gives their number.
    fn next(&mut self, channel: &Channel, entry: Entry, now: Duration) -> usize {
        let Some(local) = self
            .names
            .get(channel)
            .and_then(|n| self.channels.get_mut(*n))
        else {
            return 0;
        };
        let Some(ring) = &mut local.ring else {
            return 0;
        };
        ring.push(entry, now);
        for (key, _) in &local.members {
            if let Some(stream) = self.streams.get_mut(*key) {
                stream.notify(now);
            }
        }
        local.members.len()
    }

    fn sweep(&mut self, key: usize, now: Duration) {
        let age = self.limits.slow_consumer_age;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.has_ended() {
            stream.cut_if_unread(now, age.max(STALLED));
            return;
        }
        if let Some(reason) = stream.over(now, self.limits.open_wait) {
            stream.close(reason, now);
        } else if stream.keeps_up() && stream.warning_is_due(now, self.limits.expiring_lead) {
            stream.notify(now);
        }
        let (mut fallen, mut behind) = (false, 0);
        for seat in stream.seats.iter().filter(|_| stream.keeps_up()) {
            let channel = self.channels.get(seat.channel);
            let Some(ring) = channel.and_then(|local| local.ring.as_ref()) else {
                continue;
            };
            behind = behind.max(seat.behind(ring));
            if let State::Live { next } = seat.state {
                let waits = ring.arrived(next).is_some_and(|at| at + age <= now);
                fallen |= ring.has_lost(next) || waits;
            }
        }
        if !stream.own {
            self.lag.add(behind);
        }
        let unread = stream.due_since.is_some_and(|since| since + age <= now);
        if (fallen || unread) && !sabotaged(Mutant::SkipEvicted) {
            stream.close = Some(stream.close.unwrap_or(CloseReason::SlowConsumer));
            // Bytes are due and nobody fetches them: the close block would wait too.
            let stalled = stream.due_since.is_some_and(|since| since + STALLED <= now);
            if stalled {
                stream.transport.abort();
            } else {
                stream.notify(now);
            }
        }
        if stream.heartbeat_at <= now {
            stream.heartbeat_at = now + self.limits.heartbeat;
            stream.beat(now);
        }
    }
}

#[cfg(test)]
#[path = "worker/shape_tests.rs"]
mod tests;

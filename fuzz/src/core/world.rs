//! The world around the core: two channels in memory, a subscriber connection with messages under way, open reads, and two
//! workers' queues.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use sluice_gateway::hub::exchange::{
    Context, Full, Note, Oldest, Query, Range, ReadId, Reading, ToWorker, WorkerId, World,
};
use sluice_wire::channel::Channel;
use sluice_wire::event::Message;
use sluice_wire::log::{Log, Published, SystemMillis};
use sluice_wire::position::{Position, StreamId};
use sluice_wire::publish::{Defaults, Publish};

pub const CHANNELS: usize = 2;
pub const WORKERS: usize = 2;
/// Messages that wait for one worker.
const QUEUE: usize = 6;
/// Messages under way.
const UNDER_WAY: usize = 64;
/// When it begins.
const EPOCH_MS: u64 = 1_763_676_000_000;

/// The `n`th channel.
pub fn channel(n: usize) -> Channel {
    Channel::parse(&format!("c{n}")).expect("a channel")
}

/// Which one it is.
pub fn number(channel: &Channel) -> usize {
    let last = channel.as_str().bytes().last();
    last.map_or(0, |byte| usize::from(byte - b'0'))
}

/// One channel at the primary.
#[derive(Default)]
struct Stored {
    log: Log,
    snapshot: Option<Log>,
    /// Every position that there ever was, with the one before it; a genesis has none.
    ever: HashMap<Position, Option<Position>>,
    order: Vec<Position>,
}

impl Stored {
    fn remember(&mut self, position: Position, prev: Option<Position>) {
        if self.ever.insert(position, prev).is_none() {
            self.order.push(position);
        }
    }
}

#[derive(Default)]
pub struct Model {
    stored: [Stored; CHANNELS],
    ms: u64,
    nonce: u32,
    wanted: BTreeSet<Channel>,
    confirmed: BTreeSet<Channel>,
    pub messages: VecDeque<(Channel, Message)>,
    pub reads: Vec<(ReadId, Query)>,
    pub heads: Vec<Vec<Channel>>,
    pub queues: [Vec<ToWorker>; WORKERS],
}

impl Model {
    /// Redis's clock.
    pub fn wall(&self) -> u64 {
        EPOCH_MS + self.ms
    }

    fn nonce(&mut self) -> u32 {
        self.nonce += 1;
        self.nonce
    }

    pub fn publish(&mut self, n: usize) {
        self.ms += 1;
        let (now, nonce) = (SystemMillis(self.wall()), self.nonce());
        let name = channel(n);
        let publish = Publish {
            tag: Some(nonce),
            ..Publish::new(&name, b"x")
        };
        let stored = &mut self.stored[n];
        let genesis = self.nonce + 1_000_000;
        let published = stored
            .log
            .publish(now, &publish, genesis, &Defaults::default());
        let Ok(Published::Appended(event)) = published else {
            panic!("a sound publish was refused: {published:?}");
        };
        if event.prev.is_genesis() {
            stored.remember(event.prev, None);
        }
        stored.remember(event.position, Some(event.prev));
        self.send_out(name, Message::Event(event));
    }

    pub fn ephemeral(&mut self, n: usize) {
        self.send_out(channel(n), Message::Ephemeral(Bytes::from_static(b"plain")));
    }

    fn send_out(&mut self, channel: Channel, message: Message) {
        // What comes to a full connection is lost, as with Redis's output buffer.
        if self.confirmed.contains(&channel) && self.messages.len() < UNDER_WAY {
            self.messages.push_back((channel, message));
        }
    }

    pub fn drop_message(&mut self) {
        self.messages.pop_front();
    }

    pub fn repeat_message(&mut self) {
        if let Some(message) = self.messages.front().cloned() {
            self.messages.push_front(message);
        }
    }

    pub fn swap_messages(&mut self) {
        if self.messages.len() > 1 {
            self.messages.swap(0, 1);
        }
    }

    /// The subscriber connection is gone, with all that was under way.
    pub fn disconnect(&mut self) {
        self.messages.clear();
        self.confirmed.clear();
    }

    /// One subscription is gone.
    pub fn unconfirm(&mut self, channel: &Channel) {
        self.confirmed.remove(channel);
    }

    /// What is wanted and not confirmed.
    pub fn wanted_unconfirmed(&self) -> Vec<Channel> {
        self.wanted.difference(&self.confirmed).cloned().collect()
    }

    /// Confirms one of them.
    pub fn confirm(&mut self) -> Option<Channel> {
        let channel = self.wanted_unconfirmed().into_iter().next()?;
        self.confirmed.insert(channel.clone());
        Some(channel)
    }

    /// What happens to a channel's keys.
    pub fn damage(&mut self, which: usize) {
        let stored = &mut self.stored[which % CHANNELS];
        match which / CHANNELS % 6 {
            0 => stored.log.trim(which / 16),
            1 => stored.log.delete_stream(),
            2 => stored.log.delete_head(),
            3 => stored.log.flush(),
            4 => stored.snapshot = Some(stored.log.clone()),
            // Another primary, with less of the past.
            _ => {
                if let Some(log) = stored.snapshot.take() {
                    stored.log = log;
                }
            }
        }
    }

    /// One atomic look at the primary.
    pub fn look(&mut self, query: &Query) -> Reading {
        let (now, nonce) = (SystemMillis(self.wall()), self.nonce() + 2_000_000);
        let stored = &mut self.stored[number(&query.channel)];
        let head_is_new = stored.log.head().is_none();
        let head = stored.log.ensure_head(now, nonce, &Defaults::default());
        if head_is_new {
            stored.remember(head, None);
        }
        let (log, count) = (&stored.log, query.count);
        let entries = match query.range {
            Range::Head => Vec::new(),
            Range::After(place) => log.after(place.id(), count).cloned().collect(),
            Range::Since(ms) => {
                let before = StreamId {
                    ms: ms.saturating_sub(1),
                    seq: u16::MAX,
                };
                log.after(before, count).cloned().collect()
            }
            Range::Last(last) => log.last_n(count.min(last as usize)).cloned().collect(),
            Range::Exactly(place) => log.at(place.id()).cloned().into_iter().collect(),
        };
        let oldest = log.first().map(|event| Oldest {
            position: event.position,
            prev: event.prev,
        });
        Reading {
            head,
            head_is_new,
            entries,
            context: query.confirm.then_some(Context { oldest }),
        }
    }

    pub fn heads_of(&self, channels: Vec<Channel>) -> Vec<(Channel, Option<Position>)> {
        let head = |channel: Channel| {
            let head = self.head(number(&channel));
            (channel, head)
        };
        channels.into_iter().map(head).collect()
    }

    pub fn head(&self, n: usize) -> Option<Position> {
        self.stored[n].log.head()
    }

    /// A position that there was once, or one that there never was.
    pub fn known(&self, n: usize, which: usize) -> Position {
        let order = &self.stored[n].order;
        let known = order.get(which % (order.len() + 1)).copied();
        known.unwrap_or(Position::genesis(0))
    }

    pub fn has_known(&self, n: usize, position: Position) -> bool {
        self.stored[n].ever.contains_key(&position)
    }

    /// The position before this event's, if it was published.
    pub fn prev(&self, n: usize, position: Position) -> Option<Position> {
        self.stored[n].ever.get(&position).copied().flatten()
    }
}

impl World for Model {
    fn subscribe(&mut self, channel: &Channel) {
        self.wanted.insert(channel.clone());
    }

    fn unsubscribe(&mut self, channel: &Channel) {
        self.wanted.remove(channel);
        self.confirmed.remove(channel);
    }

    fn read(&mut self, id: ReadId, query: Query) {
        self.reads.push((id, query));
    }

    fn heads(&mut self, channels: Vec<Channel>) {
        self.heads.push(channels);
    }

    fn send(&mut self, worker: WorkerId, message: ToWorker) -> Result<(), Full> {
        let queue = &mut self.queues[worker];
        if queue.len() >= QUEUE {
            return Err(Full);
        }
        queue.push(message);
        Ok(())
    }

    fn note(&mut self, _note: Note) {}
}

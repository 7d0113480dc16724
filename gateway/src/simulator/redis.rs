//! The modelled primary: one [`Log`] per channel behind a clock that may jump,
//! and the past it keeps for the checker.

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::log::{Log, Published, SystemMillis};
use sluice_wire::position::{Position, StreamId};
use sluice_wire::publish::{Defaults, Publish};

use super::past::{Loss, Past, Time};
use crate::hub::exchange::{Context, Oldest, Query, Range, Reading};
use crate::hub::sabotage::{Mutant, sabotaged};

/// Unix time at the start of every run.
const EPOCH_MS: u64 = 1_763_676_000_000;
/// Snapshots kept per channel to roll back to.
const SNAPSHOTS: usize = 4;

/// One channel at the primary.
pub struct Stored {
    pub name: Channel,
    pub log: Log,
    pub past: Past,
    /// The record at the head.
    head: Option<usize>,
    snapshots: Vec<(Log, Option<usize>)>,
    /// What the past was last brought in line with; none after a jump.
    mark: Option<Mark>,
}

/// What tells whether a log has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    first: Option<Position>,
    length: usize,
    head: Option<Position>,
}

/// The primary.
pub struct Redis {
    pub channels: Vec<Stored>,
    pub up: bool,
    /// Milliseconds that the clock is off.
    pub skew: i64,
    defaults: Defaults,
    rng: SmallRng,
}

/// An event that somebody wants to publish.
#[derive(Clone, Debug)]
pub struct Draft {
    pub channel: usize,
    pub event_type: Option<&'static str>,
    pub event_id: Option<String>,
    pub data: String,
}

impl Redis {
    pub fn new(channels: &[Channel], maxlen: u32, ttl: Duration, seed: u64) -> Redis {
        let stored = |name: &Channel| Stored {
            name: name.clone(),
            log: Log::default(),
            past: Past::default(),
            head: None,
            snapshots: Vec::new(),
            mark: None,
        };
        Redis {
            channels: channels.iter().map(stored).collect(),
            up: true,
            skew: 0,
            defaults: Defaults {
                maxlen,
                ttl,
                head_ttl: ttl * 3,
                ..Defaults::default()
            },
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Unix time in milliseconds by this server's clock.
    pub fn wall(&self, now: Time) -> u64 {
        (EPOCH_MS + now / 1_000).saturating_add_signed(self.skew)
    }

    /// The event that is to be sent to the subscribers, if one was appended.
    pub fn publish(&mut self, draft: &Draft, now: Time) -> Option<Event> {
        let wall = SystemMillis(self.wall(now));
        self.expire(draft.channel, now);
        let (nonce, tag) = (self.nonce(), self.rng.random());
        let stored = &mut self.channels[draft.channel];
        let publish = Publish {
            event_type: draft.event_type,
            event_id: draft.event_id.as_deref(),
            tag: Some(tag),
            ..Publish::new(&stored.name, draft.data.as_bytes())
        };
        let published = stored
            .log
            .publish(wall, &publish, nonce, &self.defaults)
            .expect("drafts are valid");
        let Published::Appended(event) = published else {
            return None;
        };
        let prev = match stored.head {
            Some(head) => head,
            None => stored.past.begin(event.prev, now),
        };
        stored.head = Some(stored.past.append(&event, prev, now));
        stored.settle(Loss::Trim, now);
        Some(event)
    }

    /// A plain `PUBLISH`.
    pub fn shout(&mut self, channel: usize, data: Bytes, now: Time) {
        self.channels[channel].past.shout(data, now);
    }

    /// Answers a query, making the head where there is none.
    pub fn read(&mut self, channel: usize, query: &Query, now: Time) -> Reading {
        self.expire(channel, now);
        let (wall, nonce) = (SystemMillis(self.wall(now)), self.nonce());
        let stored = &mut self.channels[channel];
        let head_is_new = stored.log.head().is_none();
        let head = stored.log.ensure_head(wall, nonce, &self.defaults);
        if head_is_new {
            stored.head = Some(stored.past.begin(head, now));
        }
        stored.settle(Loss::Stream, now);
        look(&stored.log, head, head_is_new, query)
    }

    /// The head that an audit sees, and keeps alive.
    pub fn head(&mut self, channel: usize, now: Time) -> Option<Position> {
        self.expire(channel, now);
        let wall = SystemMillis(self.wall(now));
        let log = &mut self.channels[channel].log;
        let head = log.head()?;
        log.ensure_head(wall, head.tag(), &self.defaults);
        Some(head)
    }

    /// Forgets what has outlived its time.
    pub fn expire(&mut self, channel: usize, now: Time) {
        let wall = SystemMillis(self.wall(now));
        let stored = &mut self.channels[channel];
        stored.log.expire(wall);
        stored.settle(Loss::Stream, now);
    }

    fn nonce(&mut self) -> u32 {
        let nonce = self.rng.random();
        if sabotaged(Mutant::SharedGenesis) {
            7
        } else {
            nonce
        }
    }
}

impl Stored {
    pub fn trim(&mut self, count: usize, now: Time) {
        self.log.trim(count);
        self.settle(Loss::Trim, now);
    }

    pub fn delete_stream(&mut self, now: Time) {
        self.log.delete_stream();
        self.settle(Loss::Stream, now);
    }

    pub fn delete_head(&mut self, now: Time) {
        self.log.delete_head();
        self.settle(Loss::Head, now);
    }

    pub fn flush(&mut self, now: Time) {
        self.log.flush();
        self.settle(Loss::Head, now);
    }

    /// Remembers how things stand, as a replica or a dump does.
    pub fn snapshot(&mut self) {
        if self.snapshots.len() == SNAPSHOTS {
            self.snapshots.remove(0);
        }
        self.snapshots.push((self.log.clone(), self.head));
    }

    /// Goes back to an earlier state; false when there is none.
    pub fn roll_back(&mut self, which: usize, now: Time) -> bool {
        let Some((log, head)) = self.snapshots.get(which) else {
            return false;
        };
        (self.log, self.head) = (log.clone(), *head);
        self.mark = None;
        self.past.lose(Loss::Rollback, now);
        self.settle(Loss::Rollback, now);
        true
    }

    /// Brings the past in line with the log; `loss` is why anything has gone.
    fn settle(&mut self, loss: Loss, now: Time) {
        let mark = Mark::of(&self.log);
        let before = self.mark.replace(mark);
        if before == Some(mark) {
            return;
        }
        let grown = before.is_some_and(|before| before.grows_to(&mark));
        if let (true, Some(head)) = (grown, self.head) {
            self.past.keep_one_more(head);
            return;
        }
        if self.log.head().is_none() && self.head.take().is_some() {
            self.past.lose(Loss::Head, now);
        }
        let mut held: Vec<usize> = Vec::with_capacity(mark.length + 1);
        let mut provable: Vec<usize> = Vec::with_capacity(mark.length + 1);
        let mut expected = self.head;
        provable.extend(expected);
        held.extend(expected);
        for event in self.log.events().rev() {
            let Some(index) = self.past.index_of(event.position) else {
                continue;
            };
            held.push(index);
            if Some(index) == expected {
                expected = self.past.records[index].prev;
                provable.extend(expected);
            }
        }
        if self.past.keep(provable, held, now) {
            self.past.lose(loss, now);
        }
    }
}

impl Mark {
    fn of(log: &Log) -> Mark {
        Mark {
            first: log.first().map(|event| event.position),
            length: log.events().len(),
            head: log.head(),
        }
    }

    /// Whether all that has happened is one more event.
    fn grows_to(&self, next: &Mark) -> bool {
        self.length > 0
            && self.first == next.first
            && self.length + 1 == next.length
            && self.head.is_some()
    }
}

/// What one look at a log finds.
pub fn look(log: &Log, head: Position, head_is_new: bool, query: &Query) -> Reading {
    let count = query.count;
    let entries: Vec<Event> = match query.range {
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

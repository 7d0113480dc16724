//! What really happened on a channel, told by the modelled Redis alone: every
//! position there ever was, what came before it, and when it stopped being provable.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sluice_wire::event::Event;
use sluice_wire::position::Position;

/// Virtual microseconds since the run began.
pub type Time = u64;

/// How a channel can lose some of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    Trim,
    Stream,
    Head,
    Rollback,
}

/// One position: an event, or the genesis of a timeline.
#[derive(Clone, Debug)]
pub struct Record {
    pub position: Position,
    /// The record before it; none for a genesis.
    pub prev: Option<usize>,
    /// Events between the genesis and this one, itself included.
    pub depth: u32,
    pub event_type: Option<Arc<str>>,
    pub event_id: Option<Arc<str>>,
    pub data: Bytes,
    pub born: Time,
    /// When Redis could first not say what follows it.
    pub unprovable: Option<Time>,
    /// When neither head nor stream held it for the first time.
    pub unheld: Option<Time>,
}

/// Everything that ever was on one channel.
#[derive(Clone, Debug, Default)]
pub struct Past {
    pub records: Vec<Record>,
    by_position: HashMap<Position, Vec<usize>>,
    ephemerals: HashMap<Bytes, Time>,
    /// What has been lost so far, and when first.
    losses: Vec<(Loss, Time)>,
    provable: Vec<usize>,
    held: Vec<usize>,
}

impl Past {
    /// A new timeline begins.
    pub fn begin(&mut self, genesis: Position, now: Time) -> usize {
        self.add(Record {
            position: genesis,
            prev: None,
            depth: 0,
            event_type: None,
            event_id: None,
            data: Bytes::new(),
            born: now,
            unprovable: None,
            unheld: None,
        })
    }

    /// An event was appended after the record `prev`.
    pub fn append(&mut self, event: &Event, prev: usize, now: Time) -> usize {
        self.add(Record {
            position: event.position,
            prev: Some(prev),
            depth: self.records[prev].depth + 1,
            event_type: event.event_type.clone(),
            event_id: event.event_id.clone(),
            data: event.data.clone(),
            born: now,
            unprovable: None,
            unheld: None,
        })
    }

    /// A plain `PUBLISH` was made.
    pub fn shout(&mut self, data: Bytes, now: Time) {
        self.ephemerals.insert(data, now);
    }

    /// When this plain message was published.
    pub fn shouted(&self, data: &Bytes) -> Option<Time> {
        self.ephemerals.get(data).copied()
    }

    /// The newest record at this position.
    pub fn find(&self, position: Position) -> Option<&Record> {
        let index = *self.by_position.get(&position)?.last()?;
        self.records.get(index)
    }

    /// The event right after `place` that carries this data, line ends aside.
    pub fn follower(&self, place: Option<Position>, data: &str) -> Option<Position> {
        let number = data.split(['\n', '\r', ' ']).next()?;
        let follows = |record: &&Record| {
            let prev = record.prev.and_then(|prev| self.records.get(prev));
            prev.map(|prev| prev.position) == place && record.data.starts_with(number.as_bytes())
        };
        Some(self.records.iter().rev().find(follows)?.position)
    }

    pub fn index_of(&self, position: Position) -> Option<usize> {
        self.by_position.get(&position)?.last().copied()
    }

    /// Whether this kind of loss had happened by `now`.
    pub fn has_lost(&self, loss: Loss, now: Time) -> bool {
        self.losses
            .iter()
            .any(|(kind, at)| *kind == loss && *at <= now)
    }

    /// Whether `from` can have become unprovable by now, and for this reason.
    pub fn lost(&self, from: Option<Position>, reason: &str, now: Time) -> bool {
        let record = from.and_then(|from| self.find(from));
        let Some(record) = record else {
            // A place of another channel: nothing can prove it.
            return true;
        };
        if record.unprovable.is_none_or(|at| at > now) {
            return false;
        }
        let lost = |loss| self.has_lost(loss, now);
        match reason {
            "trimmed" => lost(Loss::Trim) || lost(Loss::Stream),
            "rollback" => lost(Loss::Rollback) || lost(Loss::Head),
            "state_lost" => lost(Loss::Head) || lost(Loss::Rollback),
            _ => false,
        }
    }

    pub fn lose(&mut self, loss: Loss, now: Time) {
        if !self.losses.iter().any(|(kind, _)| *kind == loss) {
            self.losses.push((loss, now));
        }
    }

    /// Notes what can be proved and what is held from now on; true when
    /// something can be proved no more.
    pub fn keep(&mut self, mut provable: Vec<usize>, mut held: Vec<usize>, now: Time) -> bool {
        provable.sort_unstable();
        held.sort_unstable();
        let mut lost = false;
        for gone in &self.provable {
            if provable.binary_search(gone).is_err() {
                self.records[*gone].unprovable.get_or_insert(now);
                lost = true;
            }
        }
        for gone in &self.held {
            if held.binary_search(gone).is_err() {
                self.records[*gone].unheld.get_or_insert(now);
            }
        }
        (self.provable, self.held) = (provable, held);
        lost
    }

    /// Notes that the newest record is there, and nothing has gone.
    pub fn keep_one_more(&mut self, head: usize) {
        self.provable.push(head);
        self.held.push(head);
    }

    fn add(&mut self, record: Record) -> usize {
        let index = self.records.len();
        self.by_position
            .entry(record.position)
            .or_default()
            .push(index);
        self.records.push(record);
        index
    }
}

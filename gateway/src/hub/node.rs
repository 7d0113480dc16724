//! All channels of this node: who listens where, which pieces of history are
//! being read for whom, and when heads are compared with Redis.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::{Event, Message};
use sluice_wire::position::Position;

use super::chain::{Chain, ChainLimits, Step};
use super::exchange::{
    Note, Placed, Query, Range, ReadId, Reading, Reset, Start, Ticket, ToNode, ToWorker, WorkerId,
    World,
};
use super::frame::EventFrame;
use super::proof::{self, Proof, prove};
use super::sabotage::{Mutant, sabotaged};
use crate::reasons::SyncCause;

/// Bounds and intervals of the node.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    pub chain: ChainLimits,
    /// Reads of history for connections that run at the same time.
    pub backfills: usize,
    /// How long a channel without listeners stays subscribed.
    pub linger: Duration,
    /// How often heads are compared with Redis.
    pub audit_interval: Duration,
}

/// The node's side of the protocol core.
#[derive(Debug)]
pub struct Node {
    limits: NodeLimits,
    channels: HashMap<Channel, Served>,
    backfills: HashMap<(Channel, Start), Backfill>,
    queued: VecDeque<(Channel, Start)>,
    /// Backfills whose read failed, and when to try again.
    failed: VecDeque<(Duration, (Channel, Start))>,
    running: HashMap<ReadId, (Channel, Start)>,
    due: BTreeSet<(Duration, Channel)>,
    unstood: BTreeSet<Channel>,
    /// Answers that a full worker queue has refused so far.
    held: Vec<VecDeque<ToWorker>>,
    audit_at: Duration,
    auditing: bool,
    reads: ReadId,
}

#[derive(Debug)]
struct Served {
    chain: Chain,
    /// Attaches that wait for the chain to be live; at most one per seat.
    waiting: Vec<Waiting>,
    /// Answers that wait until the node stands where the read stood.
    parked: Vec<(WorkerId, Ticket, Placed)>,
    idle_at: Option<Duration>,
}

#[derive(Debug)]
struct Waiting {
    worker: WorkerId,
    ticket: Ticket,
    start: Start,
}

/// One read of history, shared by everyone who wants the same piece.
#[derive(Debug, Default)]
struct Backfill {
    waiters: Vec<(WorkerId, Ticket)>,
    confirm: bool,
    /// Where the node stood when the read was issued.
    stood: Option<Position>,
}

impl Node {
    /// A node with so many workers and no channels.
    #[must_use]
    pub fn new(workers: usize, limits: NodeLimits) -> Node {
        Node {
            limits,
            channels: HashMap::new(),
            backfills: HashMap::new(),
            queued: VecDeque::new(),
            failed: VecDeque::new(),
            running: HashMap::new(),
            due: BTreeSet::new(),
            unstood: BTreeSet::new(),
            held: (0..workers).map(|_| VecDeque::new()).collect(),
            audit_at: Duration::ZERO,
            auditing: false,
            reads: 0,
        }
    }

    /// Channels that this node keeps subscribed.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Questions, reads and answers that are still open.
    #[cfg(test)]
    pub fn owed(&self) -> usize {
        let held: usize = self.held.iter().map(VecDeque::len).sum();
        let reads = self.queued.len() + self.failed.len() + self.running.len();
        self.backfills.len() + reads + held
    }

    /// Where the node stands on a channel.
    #[must_use]
    pub fn place(&self, channel: &Channel) -> Option<Position> {
        self.channels.get(channel)?.chain.last()
    }

    /// A worker asks.
    pub fn ask<W: World>(&mut self, worker: WorkerId, ask: ToNode, world: &mut W, now: Duration) {
        match ask {
            ToNode::Attach {
                channel,
                ticket,
                start,
            } => {
                self.attach(worker, channel, ticket, start, world, now);
            }
            ToNode::Leave { channel } => {
                let linger = self.limits.linger;
                if let Some(served) = self.channels.get_mut(&channel) {
                    served.chain.leave(worker);
                    // Whoever asked on this worker has gone: an open question must not hold the channel.
                    if !sabotaged(Mutant::QuestionKeepsChannel) {
                        served.waiting.retain(|waiting| waiting.worker != worker);
                        served.parked.retain(|(other, ..)| *other != worker);
                    }
                    if served.chain.is_idle() {
                        served.idle_at = Some(now + linger);
                        self.due.insert((now + linger, channel));
                    }
                }
            }
        }
    }

    /// The broker has confirmed the channel's subscription.
    pub fn confirmed<W: World>(&mut self, channel: &Channel, world: &mut W, now: Duration) {
        self.on_channel(channel, world, now, |served, step| {
            served.chain.confirmed(step);
            false
        });
    }

    /// One channel's subscription is gone.
    pub fn unconfirmed(&mut self, channel: &Channel) {
        if let Some(served) = self.channels.get_mut(channel) {
            served.chain.unconfirmed();
        }
    }

    /// Every subscription is gone.
    pub fn disconnected(&mut self) {
        for served in self.channels.values_mut() {
            served.chain.unconfirmed();
        }
    }

    /// A message came on the channel's topic.
    pub fn message<W: World>(
        &mut self,
        channel: &Channel,
        message: Message,
        world: &mut W,
        now: Duration,
    ) {
        self.on_channel(channel, world, now, |served, step| {
            served.chain.message(message, step);
            false
        });
    }

    /// Something on the channel's topic was lost or could not be read.
    pub fn doubt<W: World>(
        &mut self,
        channel: &Channel,
        cause: SyncCause,
        world: &mut W,
        now: Duration,
    ) {
        self.on_channel(channel, world, now, |served, step| {
            served.chain.doubt(cause, step);
            false
        });
    }

    /// Messages of unknown channels were lost on the way to this node.
    pub fn doubt_all<W: World>(&mut self, cause: SyncCause, world: &mut W, now: Duration) {
        let mut channels: Vec<Channel> = self.channels.keys().cloned().collect();
        // The same run must give the same steps.
        channels.sort_unstable();
        for channel in channels {
            self.doubt(&channel, cause, world, now);
        }
    }

    /// A read has come back, or failed.
    pub fn read<W: World>(
        &mut self,
        id: ReadId,
        channel: &Channel,
        reading: Option<Reading>,
        world: &mut W,
        now: Duration,
    ) {
        if let Some(key) = self.running.remove(&id) {
            self.backfilled(key, reading, world, now);
            self.next_backfills(world);
        } else {
            self.on_channel(channel, world, now, |served, step| {
                served.chain.read(id, reading, step)
            });
        }
    }

    /// The heads that [`World::heads`] asked for; `None` when they could not be read.
    pub fn audited<W: World>(
        &mut self,
        heads: Option<Vec<(Channel, Option<Position>)>>,
        world: &mut W,
        now: Duration,
    ) {
        self.auditing = false;
        for (channel, head) in heads.into_iter().flatten() {
            self.on_channel(&channel, world, now, |served, step| {
                served.chain.audited(head, step);
                false
            });
        }
    }

    /// Time has passed; call it every few dozen milliseconds.
    pub fn tick<W: World>(&mut self, world: &mut W, now: Duration) {
        if sabotaged(Mutant::AnswersBeforeStands) {
            self.deliver_held(world);
        }
        // Stands before answers: one who is answered but does not know where the
        // channel stands can only ask again, and would fill the queue with that for ever.
        for channel in std::mem::take(&mut self.unstood) {
            self.on_channel(&channel, world, now, |served, step| {
                served.chain.stand(step);
                false
            });
        }
        self.deliver_held(world);
        while self.failed.front().is_some_and(|(at, _)| *at <= now) {
            self.queued
                .extend(self.failed.pop_front().map(|(_, key)| key));
        }
        self.next_backfills(world);
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, channel)) = self.due.pop_first() {
                self.fire(&channel, world, now);
            }
        }
        self.audit(world, now);
    }

    fn attach<W: World>(
        &mut self,
        worker: WorkerId,
        channel: Channel,
        ticket: Ticket,
        start: Start,
        world: &mut W,
        now: Duration,
    ) {
        let served = self.channels.entry(channel.clone()).or_insert_with(|| {
            world.subscribe(&channel);
            Served::new(channel.clone())
        });
        served.idle_at = None;
        served.waiting.push(Waiting {
            worker,
            ticket,
            start,
        });
        self.on_channel(&channel, world, now, |served, step| {
            served.chain.join(worker, step);
            false
        });
    }

    /// Runs one step on a channel, then whatever that step has made possible.
    fn on_channel<W: World>(
        &mut self,
        channel: &Channel,
        world: &mut W,
        now: Duration,
        act: impl FnOnce(&mut Served, &mut Step<'_, W>) -> bool,
    ) {
        let Some(served) = self.channels.get_mut(channel) else {
            return;
        };
        let limits = &self.limits.chain;
        let mut step = Step {
            world,
            now,
            limits,
            reads: &mut self.reads,
        };
        if act(served, &mut step) {
            world.unsubscribe(channel);
            world.subscribe(channel);
        }
        if served.chain.owes_a_stand() {
            self.unstood.insert(channel.clone());
        }
        if let Some(at) = served.chain.due() {
            self.due.insert((at, channel.clone()));
        }
        if served.chain.is_live() && !(served.waiting.is_empty() && served.parked.is_empty()) {
            self.release(channel, world);
        }
    }

    /// The chain is live: answers what has waited for that.
    fn release<W: World>(&mut self, channel: &Channel, world: &mut W) {
        let Some(served) = self.channels.get_mut(channel) else {
            return;
        };
        let Some(last) = served.chain.last() else {
            return;
        };
        for (worker, ticket, placed) in std::mem::take(&mut served.parked) {
            answer(&mut self.held, worker, ticket, placed, world);
        }
        for Waiting {
            worker,
            ticket,
            start,
        } in std::mem::take(&mut served.waiting)
        {
            match start {
                Start::Live => answer(&mut self.held, worker, ticket, Placed::At(last), world),
                Start::After(place) if place == last => {
                    answer(&mut self.held, worker, ticket, Placed::At(last), world);
                }
                Start::After(_) | Start::Since(_) | Start::Last(_) | Start::Holds(_) => {
                    let key = (channel.clone(), start);
                    let backfill = self.backfills.entry(key.clone()).or_insert_with(|| {
                        self.queued.push_back(key);
                        Backfill::default()
                    });
                    backfill.waiters.push((worker, ticket));
                }
            }
        }
        self.next_backfills(world);
    }

    fn next_backfills<W: World>(&mut self, world: &mut W) {
        while self.running.len() < self.limits.backfills {
            let Some(key) = self.queued.pop_front() else {
                return;
            };
            self.issue_backfill(key, world);
        }
    }

    fn issue_backfill<W: World>(&mut self, key: (Channel, Start), world: &mut W) {
        let stood = self.place(&key.0);
        let Some(backfill) = self.backfills.get_mut(&key) else {
            return;
        };
        backfill.stood = stood;
        self.reads += 1;
        let query = Query {
            channel: key.0.clone(),
            range: key.1.range(),
            count: self.limits.chain.page,
            confirm: backfill.confirm,
        };
        if !backfill.confirm {
            world.note(Note::Backfill);
        }
        self.running.insert(self.reads, key);
        world.read(self.reads, query);
    }

    fn backfilled<W: World>(
        &mut self,
        key: (Channel, Start),
        reading: Option<Reading>,
        world: &mut W,
        now: Duration,
    ) {
        let Some(backfill) = self.backfills.get_mut(&key) else {
            return;
        };
        let head = reading.as_ref().map(|reading| reading.head);
        let placed = reading.and_then(|reading| judge(&key, reading, backfill.confirm));
        let (Some(head), Some(placed)) = (head, placed) else {
            if head.is_some() {
                // Broken at first sight: look once more, at the primary as it is now.
                backfill.confirm = true;
                self.queued.push_front(key);
            } else {
                self.failed.push_back((now + self.limits.chain.retry, key));
            }
            return;
        };
        let Some(backfill) = self.backfills.remove(&key) else {
            return;
        };
        let stood = backfill.stood;
        self.on_channel(&key.0, world, now, |served, step| {
            for (worker, ticket) in backfill.waiters {
                served.parked.push((worker, ticket, placed.clone()));
            }
            if !served.agrees(head, stood) {
                served.chain.doubt(SyncCause::Attach, step);
            }
            false
        });
    }

    fn fire<W: World>(&mut self, channel: &Channel, world: &mut W, now: Duration) {
        let Some(served) = self.channels.get(channel) else {
            return;
        };
        let asked = sabotaged(Mutant::QuestionKeepsChannel) && !served.waiting.is_empty();
        if served.chain.is_idle() && !asked && served.idle_at.is_some_and(|at| at <= now) {
            self.channels.remove(channel);
            world.unsubscribe(channel);
            return;
        }
        self.on_channel(channel, world, now, |served, step| {
            served.chain.fire(step);
            false
        });
    }

    fn audit<W: World>(&mut self, world: &mut W, now: Duration) {
        if self.auditing || now < self.audit_at || sabotaged(Mutant::NoAudit) {
            return;
        }
        self.audit_at = now + self.limits.audit_interval;
        let mut channels = Vec::new();
        for (channel, served) in &mut self.channels {
            if served.chain.is_live() {
                served.chain.audit_begins();
                channels.push(channel.clone());
            }
        }
        if !channels.is_empty() {
            channels.sort_unstable();
            self.auditing = true;
            world.heads(channels);
        }
    }

    fn deliver_held<W: World>(&mut self, world: &mut W) {
        for (worker, held) in self.held.iter_mut().enumerate() {
            while let Some(message) = held.front() {
                if world.send(worker, message.clone()).is_err() {
                    break;
                }
                held.pop_front();
            }
        }
    }
}

impl Served {
    fn new(channel: Channel) -> Served {
        Served {
            chain: Chain::new(channel),
            waiting: Vec::new(),
            parked: Vec::new(),
            idle_at: None,
        }
    }

    /// Whether the node stands on the timeline that a read has seen, and not behind it.
    fn agrees(&self, head: Position, stood: Option<Position>) -> bool {
        let last = self.chain.last();
        if stood == Some(head) || last == Some(head) {
            return true;
        }
        // In between: emitted meanwhile. Were it another timeline's, the worker
        // could not prove it and would ask again.
        stood.is_some_and(|stood| stood.id() < head.id())
            && last.is_some_and(|last| head.id() < last.id())
    }
}

impl Start {
    fn range(self) -> Range {
        match self {
            Start::Live => Range::Head,
            Start::After(place) => Range::After(place),
            Start::Since(ms) => Range::Since(ms),
            Start::Last(count) => Range::Last(count),
            // A genesis has no entry of its own; the first entry names it.
            Start::Holds(place) if place.is_genesis() => Range::After(place),
            Start::Holds(place) => Range::Exactly(place),
        }
    }
}

/// What a reading means for a start; `None` when it calls for a confirming read.
fn judge(key: &(Channel, Start), mut reading: Reading, confirmed: bool) -> Option<Placed> {
    let (channel, start) = key;
    match *start {
        Start::Live => Some(Placed::At(reading.head)),
        Start::Holds(place) => {
            let first = reading.entries.first();
            let holds = reading.head == place
                || first.is_some_and(|entry| {
                    entry.position == place || (place.is_genesis() && entry.prev == place)
                });
            // Held by nobody means a reset: that, too, calls for a second look.
            let sure = holds || confirmed || sabotaged(Mutant::NobodyHolds);
            sure.then_some(Placed::Holds(holds))
        }
        Start::Since(_) | Start::Last(_) => {
            let from = reading
                .entries
                .first()
                .map_or(reading.head, |first| first.prev);
            Some(match prove(from, &mut reading) {
                Proof::Follows(entries) => page(channel, from, entries),
                Proof::Current | Proof::Broken => Placed::At(reading.head),
            })
        }
        Start::After(place) => match prove(place, &mut reading) {
            Proof::Current => Some(Placed::At(place)),
            Proof::Follows(entries) => Some(page(channel, place, entries)),
            Proof::Broken if !confirmed => None,
            Proof::Broken => Some(Placed::Broken(Reset {
                from: Some(place),
                to: reading.head,
                reason: proof::reason(place, &reading),
            })),
        },
    }
}

fn page(channel: &Channel, from: Position, entries: Vec<Event>) -> Placed {
    let events = entries
        .into_iter()
        .map(|event| EventFrame::new(channel, event))
        .collect();
    Placed::Page { from, events }
}

fn answer<W: World>(
    held: &mut [VecDeque<ToWorker>],
    worker: WorkerId,
    ticket: Ticket,
    placed: Placed,
    world: &mut W,
) {
    let message = ToWorker::Placed { ticket, placed };
    let Some(held) = held.get_mut(worker) else {
        return;
    };
    if !held.is_empty() || world.send(worker, message.clone()).is_err() {
        held.push_back(message);
    }
}

//! All channels of this node: who listens where, which pieces of history are
//! being read for whom, and when heads are compared with Redis.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::Message;
use sluice_wire::position::Position;

use super::backfill::{Backfilled, Backfills};
use super::chain::{Chain, ChainLimits, Step};
use super::exchange::{Placed, ReadId, Reading, Start, Ticket, ToNode, ToWorker, WorkerId, World};
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
    backfills: Backfills,
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

impl Node {
    /// A node with so many workers and no channels.
    #[must_use]
    pub fn new(workers: usize, limits: NodeLimits) -> Node {
        Node {
            limits,
            channels: HashMap::new(),
            backfills: Backfills::new(&limits),
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

    /// History reads under way.
    #[must_use]
    pub fn backfills(&self) -> usize {
        self.backfills.running()
    }

    /// Questions, reads and answers that are still open.
    #[cfg(test)]
    pub fn owed(&self) -> usize {
        let held: usize = self.held.iter().map(VecDeque::len).sum();
        let waits = |served: &Served| served.waiting.len() + served.parked.len();
        let waiting: usize = self.channels.values().map(waits).sum();
        self.backfills.owed() + held + waiting
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
            ToNode::Withdraw {
                channel,
                ticket,
                start,
            } => self.withdraw(worker, &channel, ticket, start),
            ToNode::Leave { channel } => {
                let linger = self.limits.linger;
                if let Some(served) = self.channels.get_mut(&channel) {
                    served.chain.leave(worker);
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
        if self.backfills.runs(id) {
            if let Some(backfilled) = self.backfills.returned(id, reading, now) {
                self.backfilled(backfilled, world, now);
            }
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
        self.backfills.try_again(now);
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

    /// Forgets a question, wherever it waits for its answer.
    fn withdraw(&mut self, worker: WorkerId, channel: &Channel, ticket: Ticket, start: Start) {
        if sabotaged(Mutant::QuestionKeepsChannel) {
            return;
        }
        if let Some(served) = self.channels.get_mut(channel) {
            served
                .waiting
                .retain(|waiting| waiting.ticket != ticket || waiting.worker != worker);
            served
                .parked
                .retain(|(other, parked, _)| *parked != ticket || *other != worker);
        }
        self.backfills.withdraw(channel, start, (worker, ticket));
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
                    self.backfills.want(channel, start, (worker, ticket));
                }
            }
        }
        self.next_backfills(world);
    }

    fn next_backfills<W: World>(&mut self, world: &mut W) {
        let channels = &self.channels;
        let stood = |channel: &Channel| channels.get(channel)?.chain.last();
        self.backfills.issue(&mut self.reads, stood, world);
    }

    fn backfilled<W: World>(&mut self, backfilled: Backfilled, world: &mut W, now: Duration) {
        let Backfilled {
            channel,
            waiters,
            placed,
            head,
            stood,
        } = backfilled;
        self.on_channel(&channel, world, now, |served, step| {
            for (worker, ticket) in waiters {
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

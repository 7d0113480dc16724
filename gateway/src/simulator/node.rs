//! One gateway node in the simulation: the real [`Node`] and [`Worker`]s between
//! small bounded queues, and the node's connection to the modelled Redis.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::log::Log;

use super::counters::Counters;
use super::past::Time;
use super::plan::Settings;
use crate::connection::Transport;
use crate::connection::worker::Worker;
use crate::hub::exchange::{Full, Note, Query, ReadId, ToNode, ToWorker, WorkerId, World};
use crate::hub::node::Node;

/// A node and all that dies with it.
pub struct Gateway {
    /// How often this node was started; events of an earlier life are void.
    pub life: u32,
    pub node: Node,
    pub threads: Vec<Thread>,
    pub asks: VecDeque<(WorkerId, ToNode)>,
    pub asks_scheduled: bool,
    pub link: Link,
    pub draining: bool,
    /// What this node's unconfirmed reads see while it is bound to a deposed primary.
    pub deposed: Option<(Time, Vec<Log>)>,
    pub fail_reads: u32,
    pub slow_reads_until: Time,
}

/// One worker thread.
pub struct Thread {
    pub worker: Worker<Socket>,
    pub queue: VecDeque<ToWorker>,
    pub scheduled: bool,
    pub busy_until: Time,
    /// Client and session of whoever was notified.
    pub ready: Rc<RefCell<Vec<(usize, u32)>>>,
}

/// The node's subscriber connection.
#[derive(Default)]
pub struct Link {
    /// Redis holds the connection open.
    pub open: bool,
    /// Which connection this is; what an earlier one carried is void.
    pub epoch: u32,
    pub wanted: BTreeSet<usize>,
    /// Topics subscribed at Redis.
    pub topics: BTreeSet<usize>,
    pub commands_free: Time,
    pub pushes_free: Time,
    pub slow_until: Time,
    pub drop_next: u32,
    pub overflow_next: u32,
    pub double_next: u32,
    pub hold_next: u32,
    pub corrupt_next: u32,
}

/// The way to one client.
pub struct Socket {
    pub client: (usize, u32),
    pub aborted: Rc<Cell<bool>>,
    pub ready: Rc<RefCell<Vec<(usize, u32)>>>,
}

impl Transport for Socket {
    fn notify(&mut self) {
        self.ready.borrow_mut().push(self.client);
    }

    fn abort(&mut self) {
        self.aborted.set(true);
        self.ready.borrow_mut().push(self.client);
    }
}

/// What the node wants of the world, in order.
pub enum Command {
    Subscribe(usize),
    Unsubscribe(usize),
    Read(ReadId, Query),
    Heads(Vec<Channel>),
}

/// The node's view of the world during one step.
pub struct Port<'a> {
    pub threads: &'a mut [Thread],
    pub capacity: usize,
    pub commands: Vec<Command>,
    pub counters: &'a mut Counters,
}

impl World for Port<'_> {
    fn subscribe(&mut self, channel: &Channel) {
        self.commands.push(Command::Subscribe(number(channel)));
    }

    fn unsubscribe(&mut self, channel: &Channel) {
        self.commands.push(Command::Unsubscribe(number(channel)));
    }

    fn read(&mut self, id: ReadId, query: Query) {
        self.commands.push(Command::Read(id, query));
    }

    fn heads(&mut self, channels: Vec<Channel>) {
        self.commands.push(Command::Heads(channels));
    }

    fn send(&mut self, worker: WorkerId, message: ToWorker) -> Result<(), Full> {
        let queue = &mut self.threads[worker].queue;
        if queue.len() >= self.capacity {
            return Err(Full);
        }
        queue.push_back(message);
        Ok(())
    }

    fn note(&mut self, note: Note) {
        self.counters.note(note);
    }
}

impl Gateway {
    pub fn new(settings: &Settings, life: u32, epoch: u32, seed: u64) -> Gateway {
        let thread = |number| Thread {
            worker: Worker::new(settings.stream.clone(), seed ^ number),
            queue: VecDeque::new(),
            scheduled: false,
            busy_until: 0,
            ready: Rc::default(),
        };
        Gateway {
            life,
            node: Node::new(settings.workers, settings.node),
            threads: (0..settings.workers as u64).map(thread).collect(),
            asks: VecDeque::new(),
            asks_scheduled: false,
            link: Link {
                epoch,
                ..Link::default()
            },
            draining: false,
            deposed: None,
            fail_reads: 0,
            slow_reads_until: 0,
        }
    }
}

/// The channel's number, which is its name: `c3` and the like.
pub fn number(channel: &Channel) -> usize {
    let digits = &channel.as_str()[1..];
    digits.parse().expect("a channel of the simulation")
}

/// Virtual time as the core is told it.
pub fn clock(now: Time) -> Duration {
    Duration::from_micros(now)
}

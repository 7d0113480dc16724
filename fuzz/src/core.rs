//! The node's core between a Redis that loses, repeats and reorders, and workers that are slow. Input: orders of one byte,
//! some with one more for what they are about.

mod world;

use std::collections::HashMap;
use std::time::Duration;

use sluice_gateway::hub::chain::ChainLimits;
use sluice_gateway::hub::exchange::{Entry, Placed, Start, Ticket, ToNode, ToWorker};
use sluice_gateway::hub::node::{Node, NodeLimits};
use sluice_wire::position::Position;

use self::world::{CHANNELS, Model, WORKERS, channel};

/// Orders of one run.
const MOST_ORDERS: usize = 400;
/// Rounds in which everything must have healed once nothing more goes wrong.
const HEALING: usize = 400;
const ROUND: Duration = Duration::from_millis(40);

/// Small, so that a short input reaches every limit.
const LIMITS: NodeLimits = NodeLimits {
    chain: ChainLimits {
        buffer: 4,
        page: 3,
        backfill: 8,
        echoes: 8,
        rounds: 3,
        retry: Duration::from_millis(50),
        suspicion: Duration::from_millis(20),
    },
    backfills: 2,
    linger: Duration::from_millis(100),
    audit_interval: Duration::from_millis(200),
};

/// What a worker sees is a chain: each event links to where the worker stands, was published, and comes once; only a reset or
/// a new stand moves it otherwise. When faults end, every listener stands at its channel's head, soon.
pub fn check(bytes: &[u8]) {
    let mut run = Run {
        node: Node::new(WORKERS, LIMITS),
        model: Model::default(),
        seen: [const { Seen::new() }; WORKERS],
        now: Duration::ZERO,
        serial: 0,
    };
    let mut orders = bytes.iter().copied();
    for _ in 0..MOST_ORDERS {
        let Some(order) = orders.next() else { break };
        run.obey(order, &mut orders);
    }
    run.heal();
}

struct Run {
    node: Node,
    model: Model,
    seen: [Seen; WORKERS],
    now: Duration,
    serial: u64,
}

/// What one worker knows.
struct Seen {
    /// Where it stands in each channel it listens to; none until it is told.
    places: [Option<Position>; CHANNELS],
    listens: [bool; CHANNELS],
}

impl Seen {
    const fn new() -> Seen {
        Seen {
            places: [None; CHANNELS],
            listens: [false; CHANNELS],
        }
    }
}

impl Run {
    fn obey(&mut self, order: u8, rest: &mut impl Iterator<Item = u8>) {
        let mut which = || usize::from(rest.next().unwrap_or_default());
        let Run {
            node, model, now, ..
        } = self;
        match order % 24 {
            0..=4 => model.publish(which() % CHANNELS),
            5 => model.ephemeral(which() % CHANNELS),
            6..=8 => self.deliver(),
            9 => model.drop_message(),
            10 => model.repeat_message(),
            11 => model.swap_messages(),
            12 => self.answer(which(), true),
            13 => self.answer(which(), false),
            14 => self.confirm(),
            15 => {
                let channel = channel(which() % CHANNELS);
                node.unconfirmed(&channel);
                model.unconfirm(&channel);
            }
            16 => {
                node.disconnected();
                model.disconnect();
            }
            17 => self.attach(which(), which()),
            18 => self.leave(which()),
            19 => {
                *now += Duration::from_millis(which() as u64);
                node.tick(model, *now);
            }
            20 => self.heads(which() % 4 != 0),
            21 | 22 => self.drain(which() % WORKERS),
            _ => model.damage(which()),
        }
    }

    fn deliver(&mut self) {
        if let Some((channel, message)) = self.model.messages.pop_front() {
            self.node
                .message(&channel, message, &mut self.model, self.now);
        }
    }

    fn confirm(&mut self) {
        if let Some(channel) = self.model.confirm() {
            self.node.confirmed(&channel, &mut self.model, self.now);
        }
    }

    /// Answers one of the open reads, or lets it fail.
    fn answer(&mut self, which: usize, is_good: bool) {
        if self.model.reads.is_empty() {
            return;
        }
        let (id, query) = self.model.reads.remove(which % self.model.reads.len());
        let reading = is_good.then(|| self.model.look(&query));
        self.node
            .read(id, &query.channel, reading, &mut self.model, self.now);
    }

    fn heads(&mut self, is_good: bool) {
        if let Some(channels) = self.model.heads.pop() {
            let heads = is_good.then(|| self.model.heads_of(channels));
            self.node.audited(heads, &mut self.model, self.now);
        }
    }

    fn attach(&mut self, which: usize, start: usize) {
        let (worker, n) = (which % WORKERS, which / WORKERS % CHANNELS);
        self.serial += 1;
        let start = match start % 6 {
            0 => Start::Live,
            1 => Start::Last(start as u32),
            2 => Start::Since(self.model.wall().saturating_sub(start as u64)),
            3 => Start::Holds(self.model.known(n, start)),
            4 => Start::After(Position::from_bytes([start as u8; 12])),
            _ => Start::After(self.model.known(n, start)),
        };
        let ticket = Ticket {
            connection: n,
            seat: 0,
            serial: self.serial,
        };
        self.seen[worker].listens[n] = true;
        let attach = ToNode::Attach {
            channel: channel(n),
            ticket,
            start,
        };
        self.node.ask(worker, attach, &mut self.model, self.now);
    }

    fn leave(&mut self, which: usize) {
        let (worker, n) = (which % WORKERS, which / WORKERS % CHANNELS);
        let seen = &mut self.seen[worker];
        if std::mem::take(&mut seen.listens[n]) {
            seen.places[n] = None;
            let leave = ToNode::Leave {
                channel: channel(n),
            };
            self.node.ask(worker, leave, &mut self.model, self.now);
        }
    }

    /// A worker takes all that waits for it.
    fn drain(&mut self, worker: usize) {
        for message in std::mem::take(&mut self.model.queues[worker]) {
            match message {
                ToWorker::Stand { channel, at } => {
                    let n = world::number(&channel);
                    assert!(
                        self.model.has_known(n, at),
                        "a stand at {at}, which never was"
                    );
                    self.seen[worker].places[n] = Some(at);
                }
                ToWorker::Next { channel, entry, .. } => {
                    self.next(worker, world::number(&channel), &entry)
                }
                ToWorker::Placed { ticket, placed } => self.placed(ticket.connection, &placed),
            }
        }
    }

    fn next(&mut self, worker: usize, n: usize, entry: &Entry) {
        let place = &mut self.seen[worker].places[n];
        // Between leaving and the next stand, what was under way still comes, and is of no account.
        let Some(at) = *place else { return };
        match entry {
            Entry::Event(event) => {
                assert_eq!(event.prev, at, "{} does not link", event.position);
                assert_eq!(
                    self.model.prev(n, event.position),
                    Some(event.prev),
                    "nobody published it"
                );
                *place = Some(event.position);
            }
            Entry::Reset(reset) => {
                assert!(
                    self.model.has_known(n, reset.to),
                    "a reset to {}, which never was",
                    reset.to
                );
                *place = Some(reset.to);
            }
            Entry::Ephemeral(_) => {}
        }
    }

    fn placed(&self, n: usize, placed: &Placed) {
        match placed {
            Placed::At(at) => assert!(
                self.model.has_known(n, *at),
                "placed at {at}, which never was"
            ),
            Placed::Page { from, events } => {
                let mut at = *from;
                for event in events.iter() {
                    assert_eq!(event.prev, at, "a page with a hole");
                    assert_eq!(
                        self.model.prev(n, event.position),
                        Some(at),
                        "nobody published it"
                    );
                    at = event.position;
                }
            }
            Placed::Broken(reset) => assert!(self.model.has_known(n, reset.to)),
            Placed::Holds(_) => {}
        }
    }

    /// Nothing more goes wrong: whoever listens comes to stand at the head.
    fn heal(&mut self) {
        self.model.messages.clear();
        for _ in 0..HEALING {
            for worker in 0..WORKERS {
                self.drain(worker);
            }
            while !self.model.wanted_unconfirmed().is_empty() {
                self.confirm();
            }
            for _ in 0..self.model.reads.len() {
                self.answer(0, true);
            }
            self.heads(true);
            while !self.model.messages.is_empty() {
                self.deliver();
            }
            self.now += ROUND;
            self.node.tick(&mut self.model, self.now);
            if self.behind().is_empty() {
                return;
            }
        }
        panic!("not healed: {:?}", self.behind());
    }

    /// Who does not stand at a head: worker, channel, place and head.
    fn behind(&self) -> HashMap<(usize, usize), (Option<Position>, Option<Position>)> {
        let pairs = (0..WORKERS).flat_map(|worker| (0..CHANNELS).map(move |n| (worker, n)));
        let listening = pairs.filter(|&(worker, n)| self.seen[worker].listens[n]);
        let places = listening.map(|(worker, n)| {
            let place = self.seen[worker].places[n];
            ((worker, n), (place, self.model.head(n)))
        });
        places
            .filter(|(_, (place, head))| place != head || place.is_none())
            .collect()
    }
}

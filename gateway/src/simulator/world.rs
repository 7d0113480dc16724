//! The run of one seed: a virtual clock, one queue of what is due, and every
//! part moved by it. Nothing here waits, and nothing depends on anything but the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;

use super::checker::{Bounds, Reader, Seen};
use super::client::{Client, Fresh};
use super::counters::Counters;
use super::lines::Body;
use super::node::Gateway;
use super::past::{Past, Time};
use super::plan::Settings;
use super::redis::{Draft, Redis};
use crate::hub::exchange::{Query, ReadId, Reading};
use crate::hub::frame::Format;

/// Microseconds per millisecond.
pub const MS: Time = 1_000;

/// Something that is due. Numbers name the node, then its life or its link's epoch.
#[derive(Debug)]
pub enum Due {
    Move,
    Tick(usize, u32),
    WorkerTick(usize, u32, usize),
    /// The node takes what its workers ask.
    Asks(usize, u32),
    /// A worker takes what the node says.
    Hear(usize, u32, usize),
    Subscribe(usize, u32, usize),
    Unsubscribe(usize, u32, usize),
    Push(usize, u32, Push),
    LinkLost(usize, u32),
    LinkUp(usize, u32),
    Query(usize, u32, ReadId, Query),
    Answer(usize, u32, ReadId, Channel, Option<Reading>),
    Heads(usize, u32, Vec<Channel>),
    HeadsAnswer(usize, u32, Option<Vec<(Channel, Option<Position>)>>),
    Restart(usize, u32),
    Dial(usize, u32),
    Pull(usize, u32),
    /// The node notices that a client has gone.
    Reap(usize, u32, usize, usize),
    RedisUp,
}

/// What Redis pushes on a subscriber connection.
#[derive(Debug)]
pub enum Push {
    Confirmed(usize),
    Payload(usize, Bytes),
    Unsubscribed(usize),
    /// The node's own inbox has left something out.
    Overflowed,
}

struct Entry {
    at: Time,
    seq: u64,
    due: Due,
}

/// Something seen by a client, as it is replayed to a fresh checker.
pub type Logged = (Time, usize, Seen);

/// One run.
pub struct Simulation {
    pub settings: Settings,
    pub now: Time,
    pub rng: SmallRng,
    pub redis: Redis,
    pub gateways: Vec<Gateway>,
    pub clients: Vec<Client>,
    pub counters: Counters,
    pub violation: Option<String>,
    /// What clients saw, when it is wanted.
    pub log: Option<Vec<Logged>>,
    pub talk: bool,
    /// Moves still to make.
    pub steps: u64,
    pub serial: u64,
    pub drafts: Vec<Draft>,
    pub epochs: u32,
    pub healed: bool,
    queue: BinaryHeap<Reverse<Entry>>,
    seq: u64,
    hasher: DefaultHasher,
}

impl Simulation {
    pub fn new(seed: u64, steps: u64) -> Simulation {
        let mut rng = SmallRng::seed_from_u64(seed);
        let settings = Settings::draw(&mut rng);
        let names: Vec<Channel> = (0..settings.channels)
            .map(|n| Channel::parse(&format!("c{n}")).expect("a name"))
            .collect();
        let redis = Redis::new(&names, settings.maxlen, settings.ttl, rng.random());
        let mut simulation = Simulation {
            now: 0,
            redis,
            gateways: Vec::new(),
            clients: Vec::new(),
            counters: Counters::default(),
            violation: None,
            log: None,
            talk: false,
            steps,
            serial: 0,
            drafts: Vec::new(),
            epochs: 0,
            healed: false,
            queue: BinaryHeap::new(),
            seq: 0,
            hasher: DefaultHasher::new(),
            settings,
            rng,
        };
        for number in 0..simulation.settings.gateways {
            simulation.start_gateway(number, 0);
        }
        for _ in 0..simulation.settings.clients {
            simulation.add_client();
        }
        simulation.after(0, Due::Move);
        simulation
    }

    /// Runs until the virtual time `until`, or the first violation.
    pub fn run_until(&mut self, until: Time) {
        while self.violation.is_none() {
            if self.queue.peek().is_none_or(|entry| entry.0.at > until) {
                self.now = until;
                return;
            }
            self.run_one();
        }
    }

    /// Runs until every move of the schedule is made, or the first violation.
    pub fn run_moves(&mut self) {
        while self.violation.is_none() && self.steps > 0 {
            self.run_one();
        }
    }

    /// A digest of everything that has happened.
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    pub fn after(&mut self, delay: Time, due: Due) {
        self.at(self.now + delay, due);
    }

    pub fn at(&mut self, at: Time, due: Due) {
        self.seq += 1;
        let (at, seq) = (at.max(self.now), self.seq);
        self.queue.push(Reverse(Entry { at, seq, due }));
    }

    pub fn between(&mut self, least: Time, most: Time) -> Time {
        self.rng.random_range(least..=most)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.talk {
            eprintln!("{:>10.3} ms  {}", self.now as f64 / 1_000.0, text());
        }
    }

    pub fn digest_in(&mut self, what: &impl Hash) {
        what.hash(&mut self.hasher);
    }

    pub fn fail(&mut self, why: String) {
        self.say(|| format!("VIOLATION {why}"));
        self.violation.get_or_insert(why);
    }

    /// Lets a client's checker see something.
    pub fn see(&mut self, client: usize, seen: Seen) {
        let pasts: Vec<&Past> = self.redis.channels.iter().map(|s| &s.past).collect();
        let verdict = self.clients[client].reader.see(&seen, &pasts, self.now);
        self.say(|| format!("client {client} sees {seen:?}"));
        if let Err(why) = verdict {
            self.fail(format!("client {client}: {why}"));
        }
        if let Some(log) = &mut self.log {
            log.push((self.now, client, seen));
        }
    }

    fn run_one(&mut self) {
        let Some(Reverse(entry)) = self.queue.pop() else {
            return;
        };
        self.now = entry.at;
        (entry.at, entry.seq, std::mem::discriminant(&entry.due)).hash(&mut self.hasher);
        self.dispatch(entry.due);
    }

    fn dispatch(&mut self, due: Due) {
        match due {
            Due::Move => self.make_move(),
            Due::Tick(n, life) if self.lives(n, life) => self.tick(n),
            Due::WorkerTick(n, life, w) if self.lives(n, life) => self.tick_worker(n, w),
            Due::Asks(n, life) if self.lives(n, life) => self.take_asks(n),
            Due::Hear(n, life, w) if self.lives(n, life) => self.hear(n, w),
            Due::Subscribe(n, epoch, c) if self.linked(n, epoch) => self.subscribed(n, c),
            Due::Unsubscribe(n, epoch, c) if self.linked(n, epoch) => {
                self.gateways[n].link.topics.remove(&c);
            }
            Due::Push(n, epoch, push) if self.linked(n, epoch) => self.pushed(n, push),
            Due::LinkLost(n, epoch) if self.epoch(n) == epoch => self.link_lost(n),
            Due::LinkUp(n, epoch) if self.epoch(n) == epoch => self.link_up(n),
            Due::Query(n, life, id, query) if self.lives(n, life) => self.query(n, id, &query),
            Due::Answer(n, life, id, channel, reading) if self.lives(n, life) => {
                self.drive(n, |node, port, now| {
                    node.read(id, &channel, reading, port, now);
                });
            }
            Due::Heads(n, life, channels) if self.lives(n, life) => self.heads(n, channels),
            Due::HeadsAnswer(n, life, heads) if self.lives(n, life) => {
                self.drive(n, |node, port, now| node.audited(heads, port, now));
            }
            Due::Restart(n, life) if self.lives(n, life) => self.restart_gateway(n),
            Due::Dial(client, dials) if self.clients[client].dials == dials => self.dial(client),
            Due::Pull(client, dials) if self.clients[client].dials == dials => self.pull(client),
            Due::Reap(n, life, w, key) if self.lives(n, life) => self.reap(n, w, key),
            Due::RedisUp => self.redis.up = true,
            Due::Tick(..)
            | Due::WorkerTick(..)
            | Due::Asks(..)
            | Due::Hear(..)
            | Due::Subscribe(..)
            | Due::Unsubscribe(..)
            | Due::Push(..)
            | Due::LinkLost(..)
            | Due::LinkUp(..)
            | Due::Query(..)
            | Due::Answer(..)
            | Due::Heads(..)
            | Due::HeadsAnswer(..)
            | Due::Restart(..)
            | Due::Dial(..)
            | Due::Pull(..)
            | Due::Reap(..) => {}
        }
    }

    fn lives(&self, n: usize, life: u32) -> bool {
        self.gateways[n].life == life
    }

    fn epoch(&self, n: usize) -> u32 {
        self.gateways[n].link.epoch
    }

    fn linked(&self, n: usize, epoch: u32) -> bool {
        self.gateways[n].link.open && self.epoch(n) == epoch
    }

    fn add_client(&mut self) {
        let client = self.clients.len();
        let names = self.redis.channels.iter();
        let names = names.map(|stored| stored.name.to_string()).collect();
        let chain = self.settings.node.chain.backfill;
        let stream = self.settings.stream.backfill_events;
        let bounds = Bounds {
            backfill: stream.min(u32::try_from(chain).unwrap_or(u32::MAX)),
        };
        let channels = self.some_channels();
        let format = match (self.chance(0.4), client % 2) {
            (true, 0) => Format::Envelope,
            (true, _) => Format::Ndjson,
            (false, _) => Format::Plain,
        };
        let fresh = self.some_start();
        let lag = self.between(50, 4 * MS);
        self.clients.push(Client {
            channels,
            format,
            fresh,
            last_event_id: String::new(),
            body: Body::of(format),
            session: None,
            stalled_until: 0,
            lag,
            dials: 0,
            reader: Reader::new(names, bounds),
        });
        let delay = self.between(0, 300 * MS);
        self.after(delay, Due::Dial(client, 0));
    }

    /// One channel, or several in any order.
    pub fn some_channels(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.settings.channels).collect();
        for index in (1..all.len()).rev() {
            let other = self.rng.random_range(0..=index);
            all.swap(index, other);
        }
        let count = if self.chance(0.5) {
            1
        } else {
            self.rng.random_range(1..=all.len())
        };
        all.truncate(count);
        all
    }

    pub fn some_start(&mut self) -> Fresh {
        match self.rng.random_range(0..4) {
            0 => Fresh::Since(self.rng.random_range(0..5_000)),
            1 => Fresh::Last(self.rng.random_range(0..20)),
            _ => Fresh::Live,
        }
    }

    /// How long everything may take to be whole again once no fault is left.
    pub fn mending(&self) -> Duration {
        let stream = &self.settings.stream;
        Duration::from_secs(12)
            + self.settings.node.audit_interval * 2
            + stream.slow_consumer_age
            + stream.retry
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

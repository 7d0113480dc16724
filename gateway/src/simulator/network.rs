//! What lies between the nodes and Redis: commands, pushes and reads that take
//! time, and everything that can happen to them on the way.

use bytes::Bytes;
use sluice_wire::channel::Channel;
use sluice_wire::event::{self, Message};

use super::node::{Command, Port, clock, number};
use super::past::Time;
use super::redis::look;
use super::world::{Due, MS, Push, Simulation};
use crate::hub::exchange::{Query, ReadId};
use crate::hub::node::Node;
use crate::reasons::SyncCause;

/// Limit of a message's data, as a node is configured with.
const EVENT_BYTES: usize = 4_096;

impl Simulation {
    /// Runs one step of a node's core and carries out what it wants.
    pub fn drive(
        &mut self,
        n: usize,
        act: impl FnOnce(&mut Node, &mut Port<'_>, std::time::Duration),
    ) {
        let gateway = &mut self.gateways[n];
        let mut port = Port {
            threads: &mut gateway.threads,
            capacity: self.settings.queue,
            commands: Vec::new(),
            counters: &mut self.counters,
        };
        act(&mut gateway.node, &mut port, clock(self.now));
        for command in port.commands {
            self.command(n, command);
        }
        self.wake(n);
    }

    fn command(&mut self, n: usize, command: Command) {
        match command {
            Command::Subscribe(channel) => {
                self.gateways[n].link.wanted.insert(channel);
                self.send_subscribe(n, channel);
            }
            Command::Unsubscribe(channel) => {
                self.gateways[n].link.wanted.remove(&channel);
                let at = self.command_time(n);
                let epoch = self.gateways[n].link.epoch;
                self.at(at, Due::Unsubscribe(n, epoch, channel));
            }
            Command::Read(id, query) => {
                let delay = self.read_time(n);
                let life = self.gateways[n].life;
                self.after(delay, Due::Query(n, life, id, query));
            }
            Command::Heads(channels) => {
                let delay = self.read_time(n);
                let life = self.gateways[n].life;
                self.after(delay, Due::Heads(n, life, channels));
            }
        }
    }

    pub fn send_subscribe(&mut self, n: usize, channel: usize) {
        let at = self.command_time(n);
        let epoch = self.gateways[n].link.epoch;
        self.at(at, Due::Subscribe(n, epoch, channel));
    }

    /// When a command given now reaches Redis: in order, on one connection.
    fn command_time(&mut self, n: usize) -> Time {
        let at = self.now + self.between(100, 2 * MS);
        let link = &mut self.gateways[n].link;
        link.commands_free = link.commands_free.max(at);
        link.commands_free
    }

    fn read_time(&mut self, n: usize) -> Time {
        let slow = self.gateways[n].slow_reads_until > self.now;
        self.between(100, if slow { 400 * MS } else { 3 * MS })
    }

    pub fn subscribed(&mut self, n: usize, channel: usize) {
        self.gateways[n].link.topics.insert(channel);
        self.push(n, Push::Confirmed(channel), 0);
    }

    /// Redis sends something to a node's subscriber connection, in order unless held back.
    pub fn push(&mut self, n: usize, push: Push, hold: Time) {
        let slow = self.gateways[n].link.slow_until > self.now;
        let delay = self.between(100, if slow { 200 * MS } else { 3 * MS });
        let link = &mut self.gateways[n].link;
        let mut at = (self.now + delay).max(link.pushes_free);
        if hold > 0 {
            at += hold;
        } else {
            link.pushes_free = at;
        }
        let epoch = link.epoch;
        self.at(at, Due::Push(n, epoch, push));
    }

    /// Redis publishes a message to every node that has the topic.
    pub fn broadcast(&mut self, channel: usize, payload: &Bytes, is_event: bool) {
        for n in 0..self.gateways.len() {
            if self.gateways[n].link.open && self.gateways[n].link.topics.contains(&channel) {
                self.send_message(n, channel, payload, is_event);
            }
        }
    }

    fn send_message(&mut self, n: usize, channel: usize, payload: &Bytes, is_event: bool) {
        let link = &mut self.gateways[n].link;
        if spend(&mut link.drop_next) {
            self.counters.count("fault message lost");
            return;
        }
        if spend(&mut link.overflow_next) {
            let last = link.overflow_next == 0;
            self.counters.count("fault message overflowed");
            if last {
                self.push(n, Push::Overflowed, 0);
            }
            return;
        }
        let mut payload = payload.clone();
        if is_event && spend(&mut link.corrupt_next) {
            self.counters.count("fault message corrupted");
            payload = payload.slice(..9);
        }
        let doubled = is_event && spend(&mut self.gateways[n].link.double_next);
        let mut hold = 0;
        if spend(&mut self.gateways[n].link.hold_next) {
            self.counters.count("fault message held");
            hold = self.between(MS, 150 * MS);
        }
        if doubled {
            self.counters.count("fault message doubled");
            let again = self.between(1, 80 * MS);
            self.push(n, Push::Payload(channel, payload.clone()), again);
        }
        self.push(n, Push::Payload(channel, payload), hold);
    }

    pub fn pushed(&mut self, n: usize, push: Push) {
        match push {
            Push::Confirmed(channel) => {
                if self.gateways[n].link.wanted.contains(&channel) {
                    self.say(|| format!("node {n}: c{channel} confirmed"));
                    let name = self.redis.channels[channel].name.clone();
                    self.drive(n, |node, port, now| node.confirmed(&name, port, now));
                }
            }
            Push::Unsubscribed(channel) => {
                let name = self.redis.channels[channel].name.clone();
                self.gateways[n].node.unconfirmed(&name);
                if self.gateways[n].link.wanted.contains(&channel) {
                    self.send_subscribe(n, channel);
                }
            }
            Push::Overflowed => self.drive(n, |node, port, now| {
                node.doubt_all(SyncCause::Overflow, port, now);
            }),
            Push::Payload(channel, payload) => self.message(n, channel, payload),
        }
    }

    fn message(&mut self, n: usize, channel: usize, payload: Bytes) {
        let name = self.redis.channels[channel].name.clone();
        self.say(|| format!("node {n}: c{channel} {}", header(&payload)));
        match event::decode(payload, EVENT_BYTES) {
            Ok(message) => {
                let doubted = matches!(message, Message::Event(_));
                self.digest_in(&doubted);
                self.drive(n, |node, port, now| node.message(&name, message, port, now));
            }
            Err(_) => self.drive(n, |node, port, now| {
                node.doubt(&name, SyncCause::Suspect, port, now);
            }),
        }
    }

    /// A read is carried out at Redis, or fails on the way there or back.
    pub fn query(&mut self, n: usize, id: ReadId, query: &Query) {
        self.counters.count("read");
        let channel = number(&query.channel);
        let lost = self.read_fails(n);
        let reading = if !self.redis.up || lost == Some(false) {
            None
        } else {
            if query.confirm {
                // The primary was resolved anew; from now on the node reads there.
                self.gateways[n].deposed = None;
            }
            let deposed = self.deposed_log(n, channel);
            let stale = deposed.is_some();
            let reading = match deposed {
                Some((log, head)) => look(log, head, false, query),
                None => self.redis.read(channel, query, self.now),
            };
            if stale {
                self.counters.count("fault stale read");
            }
            Some(reading).filter(|_| lost.is_none())
        };
        self.say(|| match &reading {
            Some(r) => {
                let entries: Vec<_> = r.entries.iter().map(|e| e.position.to_string()).collect();
                format!("node {n}: read {id} {query:?}: head {} {entries:?}", r.head)
            }
            None => format!("node {n}: read {id} fails"),
        });
        let life = self.gateways[n].life;
        let delay = self.read_time(n);
        let name = query.channel.clone();
        self.after(delay, Due::Answer(n, life, id, name, reading));
    }

    pub fn heads(&mut self, n: usize, channels: Vec<Channel>) {
        let heads = if !self.redis.up || self.read_fails(n).is_some() {
            None
        } else {
            let head = |name: Channel| {
                let channel = number(&name);
                let deposed = self.deposed_log(n, channel).map(|(_, head)| head);
                let head = deposed.or_else(|| self.redis.head(channel, self.now));
                (name, head)
            };
            Some(channels.into_iter().map(head).collect())
        };
        let life = self.gateways[n].life;
        let delay = self.read_time(n);
        self.after(delay, Due::HeadsAnswer(n, life, heads));
    }

    /// Whether this read is lost: before it reached Redis (false) or after (true).
    fn read_fails(&mut self, n: usize) -> Option<bool> {
        if !spend(&mut self.gateways[n].fail_reads) {
            return None;
        }
        self.counters.count("fault read failed");
        Some(self.chance(0.5))
    }

    /// What a deposed primary still holds.
    fn deposed_log(
        &self,
        n: usize,
        channel: usize,
    ) -> Option<(&sluice_wire::log::Log, sluice_wire::position::Position)> {
        let (until, logs) = self.gateways[n].deposed.as_ref()?;
        let log = logs.get(channel).filter(|_| *until > self.now)?;
        Some((log, log.head()?))
    }
}

/// Uses up one of a number of planned faults, if there is any left.
fn spend(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

fn header(payload: &Bytes) -> String {
    let line = payload.split(|byte| *byte == b'\n').next();
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

//! The moves of the schedule: what publishers, clients, the network, the nodes
//! and Redis do to each other.

use bytes::Bytes;
use rand::Rng;

use super::client::Fresh;
use super::plan::Move;
use super::redis::Draft;
use super::world::{Due, MS, Push, Simulation};

/// Endings of payloads that are hard on an encoder or a parser.
const TAILS: [&str; 8] = [
    "",
    "",
    "",
    "",
    " a\nb",
    "\r\nid: 1-0.0000000a\r",
    "đơn 😀",
    "\n\n",
];
/// Drafts with an event id that may be tried again.
const DRAFTS: usize = 8;

impl Simulation {
    /// Makes the next move of the schedule.
    pub fn make_move(&mut self) {
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        let kind = self.settings.next_move(&mut self.rng);
        self.say(|| format!("move {kind:?}"));
        self.counters.count(name(kind));
        let n = self.rng.random_range(0..self.gateways.len());
        let client = self.rng.random_range(0..self.clients.len());
        let channel = self.rng.random_range(0..self.settings.channels);
        if kind <= Move::Retry {
            self.publisher_move(kind, channel);
        } else if kind <= Move::Garble {
            self.client_move(kind, client);
        } else if kind <= Move::SlowPushes {
            self.link_move(kind, n, channel);
        } else if kind <= Move::Drain {
            self.node_move(kind, n);
        } else {
            self.redis_move(kind, channel);
        }
        let delay = if self.chance(0.2) {
            0
        } else {
            self.between(0, 2 * self.settings.pace)
        };
        self.after(delay, Due::Move);
    }

    fn publisher_move(&mut self, kind: Move, channel: usize) {
        match kind {
            Move::Burst => {
                for _ in 0..self.between(2, 20) {
                    self.publish(channel);
                }
            }
            Move::Shout => self.shout(channel),
            Move::Retry => {
                if let Some(draft) = self.drafts.first().cloned() {
                    self.send(&draft);
                }
            }
            _ => self.publish(channel),
        }
    }

    /// Publishes something new.
    pub fn publish(&mut self, channel: usize) {
        self.serial += 1;
        let tail = TAILS[self.rng.random_range(0..TAILS.len())];
        let types = [None, Some("order.created"), Some("đơn hàng")];
        let draft = Draft {
            channel,
            event_type: types[self.rng.random_range(0..types.len())],
            event_id: self.chance(0.2).then(|| format!("e{}", self.serial)),
            data: format!("{channel}/{}{tail}", self.serial),
        };
        self.send(&draft);
        if draft.event_id.is_some() {
            self.drafts.insert(0, draft);
            self.drafts.truncate(DRAFTS);
        }
    }

    fn send(&mut self, draft: &Draft) {
        if !self.redis.up {
            return;
        }
        match self.redis.publish(draft, self.now) {
            Some(event) => {
                self.say(|| format!("c{} {} <- {}", draft.channel, event.position, event.prev));
                self.broadcast(draft.channel, &Bytes::from(event.encode()), true);
            }
            None => self.counters.count("publish repeated"),
        }
    }

    fn shout(&mut self, channel: usize) {
        if !self.redis.up {
            return;
        }
        self.serial += 1;
        let data = Bytes::from(format!("~{channel}/{}", self.serial));
        self.redis.shout(channel, data.clone(), self.now);
        self.broadcast(channel, &data, false);
    }

    fn client_move(&mut self, kind: Move, number: usize) {
        match kind {
            Move::Cut => {
                self.cut(number);
                return;
            }
            Move::Stall => {
                let most = if self.chance(0.4) { 9_000 } else { 800 };
                let until = self.now + self.between(50, most) * MS;
                self.clients[number].stalled_until = until;
                return;
            }
            Move::Renew => {
                self.renew(number);
                return;
            }
            Move::Reload => {
                let fresh = self.some_start();
                let client = &mut self.clients[number];
                client.last_event_id.clear();
                client.fresh = fresh;
            }
            Move::Rechannel => {
                let channels = self.some_channels();
                self.clients[number].channels = channels;
            }
            Move::Garble => {
                let text = ["nonsense", "1~AAAA", "0", "1~"][self.rng.random_range(0..4)];
                let client = &mut self.clients[number];
                client.last_event_id = text.to_owned();
                client.fresh = Fresh::Live;
            }
            _ => {}
        }
        if self.clients[number].session.is_some() {
            self.hang_up(number);
            self.dial_later(number);
        }
    }

    /// The stream of a client breaks in the middle of a block.
    fn cut(&mut self, number: usize) {
        let client = &self.clients[number];
        let Some(session) = client.session.clone() else {
            return;
        };
        let (n, w) = (session.gateway, session.worker);
        let now = super::node::clock(self.now);
        let worker = &mut self.gateways[n].threads[w].worker;
        if client.stalled_until <= self.now
            && let crate::connection::stream::Pull::Bytes(bytes) = worker.pull(session.key, now)
        {
            let part = self.rng.random_range(0..=bytes.len());
            self.counters.count("fault block cut");
            self.take_bytes(number, &bytes[..part]);
        }
        self.hang_up(number);
        self.dial_later(number);
    }

    fn link_move(&mut self, kind: Move, n: usize, channel: usize) {
        let some = u32::try_from(self.between(1, 4)).unwrap_or(1);
        let (short, long) = (self.between(0, 100), self.between(500, 3_000));
        let now = self.now;
        let link = &mut self.gateways[n].link;
        match kind {
            Move::Disconnect => self.break_link(n, short * MS),
            Move::HalfOpen => self.break_link(n, long * MS),
            Move::Sunsubscribe => {
                if link.open && link.topics.remove(&channel) {
                    self.push(n, Push::Unsubscribed(channel), 0);
                }
            }
            Move::Drop => link.drop_next += some,
            Move::Overflow => link.overflow_next += some,
            Move::Double => link.double_next += some,
            Move::Hold => link.hold_next += some,
            Move::Corrupt => link.corrupt_next += 1,
            _ => link.slow_until = now + long * MS,
        }
    }

    fn node_move(&mut self, kind: Move, n: usize) {
        let some = u32::try_from(self.between(1, 4)).unwrap_or(1);
        let until = self.now + self.between(100, 2_000) * MS;
        let busy = self.now + self.between(20, 900) * MS;
        let w = self.rng.random_range(0..self.settings.workers);
        let logs = self.redis.channels.iter().map(|stored| &stored.log);
        let gateway = &mut self.gateways[n];
        match kind {
            Move::FailReads => gateway.fail_reads += some,
            Move::SlowReads => gateway.slow_reads_until = until,
            Move::Depose => gateway.deposed = Some((until, logs.cloned().collect())),
            Move::Busy => gateway.threads[w].busy_until = busy,
            Move::Drain if !gateway.draining => self.drain_gateway(n),
            Move::Drain => {}
            _ => self.restart_gateway(n),
        }
    }

    fn redis_move(&mut self, kind: Move, channel: usize) {
        let now = self.now;
        let count = self.rng.random_range(0..6);
        let which = self.rng.random_range(0..4);
        let stored = &mut self.redis.channels[channel];
        match kind {
            Move::Outage => self.outage(),
            Move::Snapshot => stored.snapshot(),
            Move::ClockBack => {
                let most = if self.chance(0.5) { 50 } else { 120_000 };
                self.redis.skew -= i64::try_from(self.between(1, most)).unwrap_or(1);
            }
            Move::Trim => stored.trim(count, now),
            Move::DeleteStream => stored.delete_stream(now),
            Move::DeleteHead => stored.delete_head(now),
            Move::Flush => {
                for stored in &mut self.redis.channels {
                    stored.flush(now);
                }
            }
            Move::Rollback => {
                if stored.roll_back(which, now) {
                    self.counters.count("fault rolled back");
                }
            }
            _ => {
                let ttl = i64::try_from(self.settings.ttl.as_millis()).unwrap_or(0);
                let times = if self.chance(0.3) { 3 } else { 1 };
                self.redis.skew += ttl.min(600_000) * times + 1;
            }
        }
    }

    /// Redis is away for a while, and every connection to it with it.
    fn outage(&mut self) {
        if !self.redis.up {
            return;
        }
        self.redis.up = false;
        for n in 0..self.gateways.len() {
            let noticed_after = self.between(0, 300) * MS;
            self.break_link(n, noticed_after);
        }
        let delay = self.between(100, 2_500) * MS;
        self.after(delay, Due::RedisUp);
    }

    /// No fault is left, and nobody is slow; whatever was broken mends by itself.
    pub fn heal(&mut self) {
        self.say(|| "healed".to_owned());
        self.healed = true;
        for gateway in &mut self.gateways {
            gateway.deposed = None;
            gateway.fail_reads = 0;
            gateway.slow_reads_until = 0;
            let link = &mut gateway.link;
            link.slow_until = 0;
            link.drop_next = 0;
            link.double_next = 0;
            link.hold_next = 0;
            link.corrupt_next = 0;
            link.overflow_next = 0;
        }
        for client in &mut self.clients {
            client.stalled_until = 0;
        }
    }
}

fn name(kind: Move) -> &'static str {
    match kind {
        Move::Publish => "move publish",
        Move::Burst => "move burst",
        Move::Shout => "move shout",
        Move::Retry => "move retry",
        Move::Hop => "move hop",
        Move::Cut => "move cut",
        Move::Stall => "move stall",
        Move::Renew => "move renew",
        Move::Reload => "move reload",
        Move::Rechannel => "move rechannel",
        Move::Garble => "move garble",
        Move::Disconnect => "move disconnect",
        Move::HalfOpen => "move half_open",
        Move::Sunsubscribe => "move sunsubscribe",
        Move::Drop => "move drop",
        Move::Overflow => "move overflow",
        Move::Double => "move double",
        Move::Hold => "move hold",
        Move::Corrupt => "move corrupt",
        Move::SlowPushes => "move slow_pushes",
        Move::FailReads => "move fail_reads",
        Move::SlowReads => "move slow_reads",
        Move::Depose => "move depose",
        Move::Busy => "move busy",
        Move::Kill => "move kill",
        Move::Drain => "move drain",
        Move::Outage => "move outage",
        Move::Snapshot => "move snapshot",
        Move::ClockBack => "move clock_back",
        Move::Trim => "move trim",
        Move::DeleteStream => "move delete_stream",
        Move::DeleteHead => "move delete_head",
        Move::Flush => "move flush",
        Move::Rollback => "move rollback",
        Move::Age => "move age",
    }
}

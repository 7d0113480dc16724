//! Where clients meet the workers: dialling, pulling bytes, leaving, and the
//! worker threads' own loop.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use rand::Rng;
use sluice_wire::channel::Channel;
use sluice_wire::cursor::Cursor;

use super::checker::{Asked, Seen};
use super::client::{Fresh as Start, Session};
use super::eventsource::Block;
use super::lines::Body;
use super::node::{Socket, clock};
use super::past::Time;
use super::world::{Due, MS, Simulation};
use crate::auth::patterns::Patterns;
use crate::connection::shapes::Shape;
use crate::connection::stream::Pull;
use crate::connection::{ConnectionId, Expiry, Opening, StartAt};
use crate::holder::Holder;
use crate::hub::frame::Format;
use crate::orders::asking::Finding;
use crate::orders::renewal::Fresh;

impl Simulation {
    pub fn session(&mut self, client: usize, dials: u32) -> Option<&mut Session> {
        let client = &mut self.clients[client];
        client.session.as_mut().filter(|_| client.dials == dials)
    }

    /// A client opens a stream somewhere.
    pub fn dial(&mut self, number: usize) {
        let n = self.rng.random_range(0..self.gateways.len());
        let w = self.rng.random_range(0..self.settings.workers);
        let life = self.gateways[n].life;
        let wall = self.redis.wall(self.now);
        let expires_at = self
            .chance(self.settings.expiring)
            .then(|| self.now + self.between(500, 10_000) * MS);
        let client = &mut self.clients[number];
        client.dials += 1;
        let cursor = Some(client.last_event_id.clone()).filter(|id| !id.is_empty());
        let start = match (&cursor, client.fresh) {
            (Some(text), _) => Cursor::parse(text).map_or(StartAt::Unreadable, StartAt::Cursor),
            (None, Start::Live) => StartAt::Live,
            (None, Start::Since(ms)) => StartAt::Since(wall.saturating_sub(ms)),
            (None, Start::Last(count)) => StartAt::Last(count),
        };
        let name = |c: &usize| self.redis.channels[*c].name.clone();
        let channels: Vec<Channel> = client.channels.iter().map(name).collect();
        let asked = Asked {
            channels: client.channels.clone(),
            format: client.format,
            cursor: cursor.clone(),
            server: (n, life, w),
            expires_at,
        };
        let aborted: Rc<Cell<bool>> = Rc::default();
        let thread = &mut self.gateways[n].threads[w];
        let socket = Socket {
            client: (number, client.dials),
            aborted: aborted.clone(),
            ready: thread.ready.clone(),
        };
        let opening = Opening {
            id: name_of(number, client.dials),
            holder: Arc::new(holder()),
            channels,
            start,
            incoming: cursor,
            shape: match client.format {
                Format::Plain => Shape::EventStream { envelope: false },
                Format::Envelope => Shape::EventStream { envelope: true },
                Format::Ndjson => Shape::Ndjson,
            },
            expires_at: expires_at.map(expiry),
        };
        let before = thread.worker.outbox().len();
        let key = thread.worker.open(&opening, socket, clock(self.now));
        let asked_node = thread.worker.outbox().len() - before;
        if opening.start != StartAt::Live && asked_node < opening.channels.len() {
            self.counters.count("attach from ring");
        }
        if asked_node > 0 {
            self.counters.count("attach from node");
        }
        client.session = Some(Session {
            gateway: n,
            life,
            worker: w,
            key,
            pulling: true,
            aborted,
        });
        let dials = client.dials;
        self.see(number, Seen::Connected(asked));
        self.after(0, Due::Pull(number, dials));
        self.after_worker(n, w);
    }

    /// A client hands in a new token for its open stream.
    pub fn renew(&mut self, number: usize) {
        let client = &self.clients[number];
        let id = name_of(number, client.dials);
        let Some(session) = client.session.clone() else {
            return;
        };
        let expires_at = self.now + self.between(500, 10_000) * MS;
        let fresh = Fresh {
            holder: holder(),
            expires_at: 0,
            subscribe: Patterns::all(),
        };
        let thread = &mut self.gateways[session.gateway].threads[session.worker];
        let now = clock(self.now);
        let found = thread.worker.renew(id, &fresh, expiry(expires_at), now);
        if found == Some(Finding::Renewed) {
            self.counters.count("stream renewed");
            self.see(number, Seen::Renewed(expires_at));
        }
    }

    /// A client reads one piece of its stream.
    pub fn pull(&mut self, number: usize) {
        let client = &self.clients[number];
        let (dials, lag) = (client.dials, client.lag);
        let Some(session) = client.session.clone() else {
            return;
        };
        let (n, w) = (session.gateway, session.worker);
        let thread = &mut self.gateways[n].threads[w];
        let wait = client.stalled_until.max(thread.busy_until);
        if wait > self.now {
            self.at(wait, Due::Pull(number, dials));
            return;
        }
        let pull = thread.worker.pull(session.key, clock(self.now));
        let tally = thread.worker.tally();
        tally.published.clear();
        tally.resets.clear();
        if tally.unlinked > 0 {
            self.fail(format!("node {n} worker {w}: a frame did not link"));
        }
        match pull {
            Pull::Bytes(bytes) => {
                self.take_bytes(number, &bytes);
                self.after(lag, Due::Pull(number, dials));
            }
            Pull::Pending => {
                if let Some(session) = self.session(number, dials) {
                    session.pulling = false;
                }
            }
            Pull::End => {
                self.end_session(number);
                self.dial_later(number);
            }
        }
        self.after_worker(n, w);
    }

    /// Bytes arrive at a client.
    pub fn take_bytes(&mut self, number: usize, bytes: &[u8]) {
        self.digest_in(&bytes);
        match self.clients[number].body.feed(bytes) {
            Err(why) => self.fail(format!("client {number}: {why}")),
            Ok(blocks) => {
                for block in blocks {
                    if self.clients[number].format == Format::Ndjson {
                        self.counters.count("client lines");
                    }
                    self.count_told(&block);
                    if let Some(id) = &block.id {
                        self.clients[number].last_event_id.clone_from(id);
                    }
                    self.see(number, Seen::Block(block));
                }
            }
        }
    }

    /// Counts a block by the reason it gives.
    fn count_told(&mut self, block: &Block) {
        let names: &[(&str, &'static str)] = match block.event_type.as_str() {
            "sluice.expiring" => &[("seconds", "told expiring")],
            "sluice.close" => &[
                ("slow_consumer", "close slow_consumer"),
                ("drain", "close drain"),
                ("max_age", "close max_age"),
                ("token_expired", "close token_expired"),
            ],
            "sluice.reset" => &[
                ("trimmed", "told trimmed"),
                ("rollback", "told rollback"),
                ("state_lost", "told state_lost"),
                ("backfill_limit", "told backfill_limit"),
                ("bad_cursor", "told bad_cursor"),
            ],
            _ => &[],
        };
        for (reason, name) in names {
            if block.data.contains(reason) {
                self.counters.count(name);
            }
        }
    }

    /// Both sides know that the stream is over.
    pub fn end_session(&mut self, number: usize) {
        if let Some(session) = self.lose_session(number) {
            self.reap(session.gateway, session.worker, session.key);
        }
    }

    /// The client has gone; the node notices now or later.
    pub fn hang_up(&mut self, number: usize) {
        let Some(session) = self.lose_session(number) else {
            return;
        };
        let delay = if self.chance(0.5) {
            0
        } else {
            self.between(0, 2_000 * MS)
        };
        let (n, w, key) = (session.gateway, session.worker, session.key);
        self.after(delay, Due::Reap(n, session.life, w, key));
    }

    /// The client's side of an end. Whatever was on the way to it is lost.
    pub fn lose_session(&mut self, number: usize) -> Option<Session> {
        let client = &mut self.clients[number];
        let session = client.session.take()?;
        client.body = Body::of(client.format);
        client.dials += 1;
        self.see(number, Seen::Gone);
        Some(session)
    }

    pub fn reap(&mut self, n: usize, w: usize, key: usize) {
        let ended = self.gateways[n].threads[w]
            .worker
            .remove(key, clock(self.now));
        if ended.is_none() {
            self.fail(format!("node {n} worker {w}: stream {key} is not there"));
        }
        self.after_worker(n, w);
    }

    pub fn dial_later(&mut self, number: usize) {
        let delay = self.between(0, 600 * MS);
        let dials = self.clients[number].dials;
        self.after(delay, Due::Dial(number, dials));
    }
}

/// The name of a client's stream.
fn name_of(client: usize, dials: u32) -> ConnectionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&u32::try_from(client).unwrap_or(u32::MAX).to_be_bytes());
    bytes[4..8].copy_from_slice(&dials.to_be_bytes());
    ConnectionId::from_bytes(bytes)
}

/// Everybody is the same subject.
fn holder() -> Holder {
    Holder {
        subject: Some("reader".to_owned()),
        ..Holder::default()
    }
}

fn expiry(at: Time) -> Expiry {
    Expiry {
        at: clock(at),
        unix_ms: at / MS,
    }
}

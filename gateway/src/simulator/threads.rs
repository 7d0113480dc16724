//! The threads of the nodes: they tick, hear, ask and pass on what is owed.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::node::clock;
use super::world::{Due, MS, Simulation};
use crate::hub::exchange::{Placed, ToWorker};

impl Simulation {
    pub fn tick(&mut self, n: usize) {
        self.drive(n, |node, port, now| node.tick(port, now));
        let life = self.gateways[n].life;
        self.after(40 * MS, Due::Tick(n, life));
    }

    pub fn tick_worker(&mut self, n: usize, w: usize) {
        let life = self.gateways[n].life;
        let thread = &mut self.gateways[n].threads[w];
        let mut delay = 100 * MS;
        if thread.busy_until > self.now {
            delay = thread.busy_until - self.now;
        } else {
            thread.worker.tick(clock(self.now));
            self.after_worker(n, w);
        }
        self.after(delay, Due::WorkerTick(n, life, w));
    }

    /// Wakes every worker that has something to hear.
    pub fn wake(&mut self, n: usize) {
        let life = self.gateways[n].life;
        for w in 0..self.settings.workers {
            let thread = &self.gateways[n].threads[w];
            if thread.queue.is_empty() || thread.scheduled {
                continue;
            }
            let at = thread.busy_until.max(self.now + self.between(20, MS));
            self.gateways[n].threads[w].scheduled = true;
            self.at(at, Due::Hear(n, life, w));
        }
    }

    /// A worker takes what is in its queue, at most as much as it gets to.
    pub fn hear(&mut self, n: usize, w: usize) {
        let most = self.rng.random_range(1..=8);
        let thread = &mut self.gateways[n].threads[w];
        thread.scheduled = false;
        if thread.busy_until <= self.now {
            let count = thread.queue.len().min(most);
            for message in thread.queue.drain(..count) {
                if is_shared(&message) {
                    self.counters.count("page shared");
                }
                thread.worker.hear(message, clock(self.now));
            }
            self.after_worker(n, w);
        }
        self.wake(n);
    }

    /// Passes on what a worker asks, and looks after whoever it has notified.
    pub fn after_worker(&mut self, n: usize, w: usize) {
        let room = self.settings.queue;
        let gateway = &mut self.gateways[n];
        let thread = &mut gateway.threads[w];
        while gateway.asks.len() < room
            && let Some(ask) = thread.worker.outbox().pop_front()
        {
            gateway.asks.push_back((w, ask));
        }
        let owed = !thread.worker.outbox().is_empty();
        let ready = std::mem::take(&mut *thread.ready.borrow_mut());
        if owed {
            self.counters.count("asks overflow");
        }
        if !gateway.asks.is_empty() && !gateway.asks_scheduled {
            gateway.asks_scheduled = true;
            let life = gateway.life;
            let delay = self.between(20, MS);
            self.after(delay, Due::Asks(n, life));
        }
        for (client, dials) in ready {
            self.notified(client, dials);
        }
    }

    pub fn take_asks(&mut self, n: usize) {
        self.gateways[n].asks_scheduled = false;
        let asks = std::mem::take(&mut self.gateways[n].asks);
        for (w, ask) in asks {
            self.say(|| format!("node {n}: worker {w} asks {ask:?}"));
            self.drive(n, |node, port, now| node.ask(w, ask, port, now));
        }
        for w in 0..self.settings.workers {
            self.after_worker(n, w);
        }
    }

    fn notified(&mut self, client: usize, dials: u32) {
        let lag = self.clients[client].lag;
        let Some(session) = self.session(client, dials) else {
            return;
        };
        if session.aborted.get() {
            self.counters.count("stream aborted");
            self.end_session(client);
            self.dial_later(client);
        } else if !session.pulling {
            session.pulling = true;
            self.after(lag, Due::Pull(client, dials));
        }
    }

    /// The node ends its streams over a while and is then replaced.
    pub fn drain_gateway(&mut self, n: usize) {
        let window = Duration::from_millis(1_500);
        let gateway = &mut self.gateways[n];
        gateway.draining = true;
        for thread in &mut gateway.threads {
            thread.worker.drain(clock(self.now), window);
        }
        let life = gateway.life;
        self.after(4_000 * MS, Due::Restart(n, life));
    }
}

/// Whether a page of history answers several readers at once.
fn is_shared(message: &ToWorker) -> bool {
    let ToWorker::Placed { placed, .. } = message else {
        return false;
    };
    matches!(placed, Placed::Page { events, .. } if Arc::strong_count(events) > 1)
}

//! Subscriber connections and whole nodes that come and go.

use rand::Rng;

use super::node::Gateway;
use super::past::Time;
use super::world::{Due, MS, Simulation};

impl Simulation {
    /// Redis closes a node's subscriber connection; the node learns it later.
    pub fn break_link(&mut self, n: usize, noticed_after: Time) {
        let link = &mut self.gateways[n].link;
        if !link.open {
            return;
        }
        link.open = false;
        link.topics.clear();
        let epoch = link.epoch;
        self.after(noticed_after, Due::LinkLost(n, epoch));
    }

    pub fn link_lost(&mut self, n: usize) {
        self.say(|| format!("node {n}: the subscriber connection is lost"));
        self.gateways[n].node.disconnected();
        let delay = self.between(50 * MS, 1_000 * MS);
        let epoch = self.gateways[n].link.epoch;
        self.after(delay, Due::LinkUp(n, epoch));
    }

    pub fn link_up(&mut self, n: usize) {
        let epoch = self.gateways[n].link.epoch;
        if !self.redis.up {
            self.after(200 * MS, Due::LinkUp(n, epoch));
            return;
        }
        self.epochs += 1;
        let epoch = self.epochs;
        let link = &mut self.gateways[n].link;
        link.open = true;
        link.epoch = epoch;
        link.commands_free = self.now;
        link.pushes_free = self.now;
        let wanted: Vec<usize> = link.wanted.iter().copied().collect();
        for channel in wanted {
            self.send_subscribe(n, channel);
        }
    }

    /// A node starts with nothing and connects.
    pub fn start_gateway(&mut self, n: usize, life: u32) {
        self.epochs += 1;
        let seed = self.rng.random();
        let gateway = Gateway::new(&self.settings, life, self.epochs, seed);
        match self.gateways.get_mut(n) {
            Some(old) => *old = gateway,
            None => self.gateways.push(gateway),
        }
        let epoch = self.epochs;
        let delay = self.between(0, 50 * MS);
        self.after(delay, Due::LinkUp(n, epoch));
        let delay = self.between(0, 40 * MS);
        self.after(delay, Due::Tick(n, life));
        for worker in 0..self.settings.workers {
            let delay = self.between(0, 100 * MS);
            self.after(delay, Due::WorkerTick(n, life, worker));
        }
    }

    /// A node dies and another one takes its place.
    pub fn restart_gateway(&mut self, n: usize) {
        let life = self.gateways[n].life;
        self.start_gateway(n, life + 1);
        for client in 0..self.clients.len() {
            let session = self.clients[client].session.as_ref();
            if session.is_some_and(|session| session.gateway == n) {
                self.lose_session(client);
                self.dial_later(client);
            }
        }
    }
}

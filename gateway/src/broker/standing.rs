//! The orders that hold for a while, as this node knows them: each is obeyed once, however often and late it is heard
//! of. What is known stays known until its time is over, also when the broker has lost it; then it is given back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::broadcast;

use super::clock::Clock;
use crate::orders::{Lasting, Order, Standing, Whom};
use crate::revocations::Revocations;

/// Orders that a listener may be behind with; it is told that it has missed some.
const BEHIND: usize = 1_024;
/// Who opened a stream so soon after a disconnect may have done so before it, the clocks' difference considered.
const SPARED_AFTER: Duration = Duration::from_secs(1);

/// The standing orders of a node. One is shared by all that ask.
pub(super) struct Shelf {
    held: Mutex<Held>,
    heard: broadcast::Sender<Arc<Order>>,
    revocations: Arc<Revocations>,
    clock: Clock,
    /// Most that may stand.
    limit: usize,
    count: IntGauge,
}

#[derive(Default)]
struct Held {
    orders: HashMap<String, Entry>,
    /// Counts how often the broker was asked for all.
    reading: u64,
    /// Orders taken that were not in its last answer.
    since: u64,
}

struct Entry {
    standing: Arc<Standing>,
    /// During which reading it was heard of.
    reading: u64,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRoom;

impl Shelf {
    /// Empty; `known` where there is nothing to be read first.
    pub(super) fn new(known: bool, limit: usize, clock: Clock, count: IntGauge) -> Shelf {
        Shelf {
            held: Mutex::default(),
            heard: broadcast::Sender::new(BEHIND),
            revocations: Arc::new(Revocations::new(known)),
            clock,
            limit,
            count,
        }
    }

    pub(super) fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Most that may stand.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// All orders, from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Order>> {
        self.heard.subscribe()
    }

    /// Hands an order to everyone who listens here.
    pub(super) fn tell(&self, order: Order) {
        // Without listeners there is nobody to obey.
        drop(self.heard.send(Arc::new(order)));
    }

    /// Takes a standing order that was given just now.
    pub(super) fn take(&self, standing: Standing) {
        let mut held = self.held();
        let reading = held.reading;
        if standing.until <= self.clock.wall() || held.orders.contains_key(&standing.id) {
            return;
        }
        if let Lasting::Revoke(revocation) = &standing.order {
            self.revocations.add(revocation, standing.until);
        }
        let order = standing.order.clone();
        let standing = Arc::new(standing);
        let id = standing.id.clone();
        held.orders.insert(id, Entry { standing, reading });
        held.since += 1;
        self.count(&held);
        drop(held);
        self.tell(order.into());
    }

    /// The same where nobody else bounds their number.
    pub(super) fn take_bounded(&self, standing: Standing) -> Result<(), NoRoom> {
        self.forget_expired();
        if self.held().orders.len() >= self.limit {
            return Err(NoRoom);
        }
        self.take(standing);
        Ok(())
    }

    /// The broker is about to be asked for all.
    pub(super) fn begin_reading(&self) -> u64 {
        let mut held = self.held();
        held.reading += 1;
        held.reading
    }

    /// How many orders were given, as far as was heard, since the state that the last answer told.
    pub(super) fn since_reading(&self) -> u64 {
        self.held().since
    }

    /// The broker has told all that stand there, asked at that reading. Gives what it should have told, and has lost.
    pub(super) fn finish_reading(&self, reading: u64, told: Vec<Standing>) -> Vec<Arc<Standing>> {
        let now = self.clock.wall();
        let first = !self.revocations.is_known();
        let mut held = self.held();
        let mut lost: HashMap<String, Arc<Standing>> = HashMap::new();
        held.orders.retain(|id, entry| {
            let holds = now < entry.standing.until;
            // Heard of since: it may be younger than the answer.
            if holds && entry.reading < reading {
                lost.insert(id.clone(), Arc::clone(&entry.standing));
            }
            holds
        });
        let ids: HashSet<&str> = told.iter().map(|standing| standing.id.as_str()).collect();
        let young = held.orders.iter().filter(|(id, entry)| {
            let known = ids.contains(id.as_str());
            entry.reading >= reading && !known
        });
        held.since = young.count() as u64;
        let mut new = Vec::new();
        for standing in told {
            lost.remove(&standing.id);
            if standing.until <= now || held.orders.contains_key(&standing.id) {
                continue;
            }
            let standing = Arc::new(standing);
            new.push(Arc::clone(&standing));
            let id = standing.id.clone();
            held.orders.insert(id, Entry { standing, reading });
        }
        let entries = held.orders.values();
        let revocations = entries.filter_map(|entry| match &entry.standing.order {
            Lasting::Revoke(revocation) => Some((revocation, entry.standing.until)),
            Lasting::Disconnect(_) => None,
        });
        self.revocations.replace(revocations);
        self.count(&held);
        drop(held);
        for standing in new {
            match &standing.order {
                // Whoever is here since before the first reading came after these.
                Lasting::Disconnect(_) if first => {}
                Lasting::Disconnect(_) | Lasting::Revoke(_) => self.tell(self.late(&standing)),
            }
        }
        lost.into_values().collect()
    }

    /// The disconnects that stand, for one who has missed orders.
    pub(super) fn disconnects(&self) -> Vec<Order> {
        let held = self.held();
        let entries = held.orders.values();
        let disconnects = entries.filter(|entry| match entry.standing.order {
            Lasting::Disconnect(_) => true,
            Lasting::Revoke(_) => false,
        });
        disconnects
            .map(|entry| self.late(&entry.standing))
            .collect()
    }

    /// Lets go of those whose time is over.
    pub(super) fn forget_expired(&self) {
        let now = self.clock.wall();
        let mut held = self.held();
        let over = held
            .orders
            .extract_if(|_, entry| entry.standing.until <= now);
        for (_, entry) in over {
            if let Lasting::Revoke(revocation) = &entry.standing.order {
                self.revocations.forget(revocation, now);
            }
        }
        self.count(&held);
    }

    /// As it is to be obeyed now: a disconnect spares who has come since it was given.
    fn late(&self, standing: &Standing) -> Order {
        match &standing.order {
            Lasting::Revoke(revocation) => Order::Revoke(revocation.clone()),
            Lasting::Disconnect(whom) => {
                let age = self.clock.wall().saturating_sub(standing.at);
                let given = self.clock.now().checked_sub(Duration::from_millis(age));
                Order::Disconnect(Whom {
                    opened_before: Some(given.unwrap_or_default() + SPARED_AFTER),
                    ..whom.clone()
                })
            }
        }
    }

    fn count(&self, held: &Held) {
        let count = i64::try_from(held.orders.len()).unwrap_or(i64::MAX);
        self.count.set(count);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whole after every step, even if a holder panicked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;

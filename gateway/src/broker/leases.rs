//! How many streams a subject has on all nodes: each holds a place in Redis for a while (a lease), which its node renews
//! for as long as the stream lives, gives back at its end, and which ends by itself when the node has died. A limit is no
//! security boundary: while Redis is away streams open, and their places are written once it is back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sluice_wire::keys::Keys;
use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::rare::Rare;
use super::redis::DataLink;
use super::{Broker, Command};
use crate::metrics::LimitMetrics;
use crate::orders::ConnectionId;

/// How long a stream waits for its place; then Redis counts as away.
const TAKE_WAIT: Duration = Duration::from_secs(1);
/// Places that are renewed, or given back, by one call.
const PLACES_PER_CALL: usize = 256;
/// Places that wait to be given back; the rest are left to end by themselves.
const RELEASED_MOST: usize = 65_536;
/// How long a leaving node tries to give its places back, which end anyway.
const LEAVE_WAIT: Duration = Duration::from_millis(500);

/// How many places a subject has.
#[derive(Clone, Copy, Debug)]
pub struct LeaseSettings {
    pub most: usize,
    /// Whether the oldest make room, rather than the newest being refused.
    pub evicts: bool,
    /// How long a place is held unless it is renewed.
    pub lasting: Duration,
}

/// The subject has as many streams as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subject has as many streams as it may")]
pub struct SubjectFull;

/// A stream that wants a place.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The subject's digest: a subject is anybody's text, and of any length.
    pub subject: String,
    pub connection: ConnectionId,
    pub most: usize,
    pub evicts: bool,
    pub lasting: Duration,
}

/// What becomes of a wish; nothing when Redis is away.
pub(super) type LeaseReply = oneshot::Sender<Option<Result<Lease, SubjectFull>>>;

/// A place in Redis: whose, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub key: String,
    pub member: String,
}

/// What Redis says to a wish.
pub(super) enum Taken {
    Place {
        place: Place,
        /// Connections that have lost theirs to it.
        evicted: Vec<ConnectionId>,
    },
    Full,
}

/// The places that this node holds. A clone is the same ones.
#[derive(Clone)]
pub(super) struct Leases(Arc<Shared>);

struct Shared {
    settings: Option<LeaseSettings>,
    /// How keys are named; nothing where there is no Redis.
    keys: Option<Keys>,
    metrics: LimitMetrics,
    books: Mutex<Books>,
    /// Something is to be given back.
    released: Notify,
    unrenewed: Rare,
    skipped: Rare,
    failed: Rare,
}

#[derive(Default)]
struct Books {
    serial: u64,
    /// By serial number, and so by age.
    held: BTreeMap<u64, Held>,
    /// To be given back to Redis.
    released: Vec<Place>,
    /// Without Redis, who holds what, by subject.
    here: HashMap<String, BTreeMap<u64, ConnectionId>>,
}

enum Held {
    /// In Redis.
    There(Place),
    /// In this process only, of this subject.
    Here(String),
}

/// A subject's place; dropped, it is free again.
pub struct Lease {
    serial: u64,
    leases: Leases,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.release(self.serial);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.serial)
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leases({})", self.books().held.len())
    }
}

impl Broker {
    /// Takes a place for a subject's stream among those that it has on all nodes; nothing where there is no such limit.
    ///
    /// # Errors
    /// [`SubjectFull`]. A Redis that is away is no error: the stream opens, and is counted when Redis is back.
    pub async fn lease(
        &self,
        subject: &str,
        connection: ConnectionId,
    ) -> Result<Option<Lease>, SubjectFull> {
        let Some(settings) = self.leases.0.settings else {
            return Ok(None);
        };
        let wish = Wish {
            subject: URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.as_bytes())),
            connection,
            most: settings.most,
            evicts: settings.evicts,
            lasting: settings.lasting,
        };
        let connected = *self.connected.borrow();
        if connected && let Some(answer) = self.ask_for_lease(wish.clone()).await {
            return answer.map(Some);
        }
        // Which moment it began is this node's guess; its age only matters for who is the oldest.
        let since = self.clock.wall().saturating_mul(1_000);
        Ok(Some(self.leases.hold_unasked(wish, since)))
    }

    async fn ask_for_lease(&self, wish: Wish) -> Option<Result<Lease, SubjectFull>> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command::Lease(wish, reply)).ok()?;
        timeout(TAKE_WAIT, answer).await.ok()?.ok()?
    }
}

impl Leases {
    pub(super) fn new(
        settings: Option<LeaseSettings>,
        keys: Option<Keys>,
        metrics: LimitMetrics,
    ) -> Leases {
        Leases(Arc::new(Shared {
            settings,
            keys,
            metrics,
            books: Mutex::default(),
            released: Notify::new(),
            unrenewed: Rare::default(),
            skipped: Rare::default(),
            failed: Rare::default(),
        }))
    }

    /// Takes a place in Redis; nothing when Redis is away. Besides, who has lost a place to it.
    pub(super) async fn take(
        &self,
        data: &DataLink,
        wish: &Wish,
    ) -> (Option<Result<Lease, SubjectFull>>, Vec<ConnectionId>) {
        match data.take_lease(wish).await {
            Ok(Taken::Full) => (Some(Err(SubjectFull)), Vec::new()),
            Ok(Taken::Place { place, evicted }) => {
                let lease = self.enter(Held::There(place), wish.connection);
                (Some(Ok(lease)), evicted)
            }
            Err(error) => {
                if let Some(left_out) = self.0.failed.due() {
                    tracing::warn!(
                        error,
                        left_out,
                        "a subject's places could not be counted; told once a minute"
                    );
                }
                (None, Vec::new())
            }
        }
    }

    /// The same without Redis: only this node counts.
    pub(super) fn take_here(&self, wish: &Wish) -> (Result<Lease, SubjectFull>, Vec<ConnectionId>) {
        let mut evicted = Vec::new();
        let mut books = self.books();
        if let Some(places) = books.here.get_mut(&wish.subject) {
            while places.len() >= wish.most {
                let oldest = places.first_entry().filter(|_| wish.evicts);
                let Some(oldest) = oldest else {
                    return (Err(SubjectFull), evicted);
                };
                evicted.push(oldest.remove());
            }
        }
        drop(books);
        let lease = self.enter(Held::Here(wish.subject.clone()), wish.connection);
        (Ok(lease), evicted)
    }

    /// A place that Redis was not asked for, or has not answered about: written with the next renewal.
    fn hold_unasked(&self, wish: Wish, since: u64) -> Lease {
        let shared = &self.0;
        shared.metrics.leases_skipped.inc();
        if let Some(left_out) = shared.skipped.due() {
            tracing::warn!(
                left_out,
                "a stream opens uncounted against its subject's limit, since Redis does not answer; told once a minute"
            );
        }
        let held = match &shared.keys {
            Some(keys) => Held::There(Place {
                key: keys.lease(&wish.subject),
                member: format!("{since:017}:{}", wish.connection),
            }),
            None => Held::Here(wish.subject),
        };
        self.enter(held, wish.connection)
    }

    fn enter(&self, held: Held, connection: ConnectionId) -> Lease {
        let mut books = self.books();
        books.serial += 1;
        let serial = books.serial;
        if let Held::Here(subject) = &held {
            let places = books.here.entry(subject.clone()).or_default();
            places.insert(serial, connection);
        }
        books.held.insert(serial, held);
        self.0.metrics.leases.inc();
        Lease {
            serial,
            leases: self.clone(),
        }
    }

    fn release(&self, serial: u64) {
        let mut books = self.books();
        let Some(held) = books.held.remove(&serial) else {
            return;
        };
        self.0.metrics.leases.dec();
        match held {
            Held::There(place) => {
                if books.released.len() < RELEASED_MOST {
                    books.released.push(place);
                }
                self.0.released.notify_one();
            }
            Held::Here(subject) => {
                if let Some(places) = books.here.get_mut(&subject) {
                    places.remove(&serial);
                    if places.is_empty() {
                        books.here.remove(&subject);
                    }
                }
            }
        }
    }

    /// Renews what is held and gives back what is not, until the future is dropped.
    pub(super) async fn run(&self, data: &DataLink) {
        let Some(settings) = self.0.settings else {
            return std::future::pending().await;
        };
        let mut due = interval(settings.lasting / 3);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => self.renew(data, settings.lasting).await,
                () = self.0.released.notified() => {}
            }
            self.give_back(data).await;
        }
    }

    /// Gives back what a node that ends has held.
    pub(super) async fn leave(&self, data: &DataLink) {
        if timeout(LEAVE_WAIT, self.give_back(data)).await.is_err() {
            tracing::debug!("places of subjects were not given back in time");
        }
    }

    async fn renew(&self, data: &DataLink, lasting: Duration) {
        let mut after = 0;
        loop {
            let (places, last) = self.held_after(after);
            if places.is_empty() {
                return;
            }
            if let Err(error) = data.renew_leases(&places, lasting).await {
                if let Some(left_out) = self.0.unrenewed.due() {
                    tracing::warn!(error, left_out, "places of subjects could not be renewed");
                }
                return;
            }
            // One that was given up meanwhile has just been written anew.
            self.give_back(data).await;
            after = last;
        }
    }

    /// The next places in the order of their age, and the last one's number.
    fn held_after(&self, after: u64) -> (Vec<Place>, u64) {
        let books = self.books();
        let later = books.held.range(after + 1..);
        let there = later.filter_map(|(serial, held)| match held {
            Held::There(place) => Some((*serial, place.clone())),
            Held::Here(_) => None,
        });
        let mut last = after;
        let places = there.take(PLACES_PER_CALL).map(|(serial, place)| {
            last = serial;
            place
        });
        (places.collect(), last)
    }

    /// Gives back what has been given up. What cannot be given back ends by itself.
    async fn give_back(&self, data: &DataLink) {
        let released = std::mem::take(&mut self.books().released);
        for places in released.chunks(PLACES_PER_CALL) {
            if let Err(error) = data.release_leases(places).await {
                tracing::debug!(error, "places of subjects were not given back");
                return;
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // What a panic has left behind heals by itself: places end.
        let books = &self.0.books;
        books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

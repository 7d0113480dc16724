//! Who is let in: the limits of the node, of each client address and of each subject, asked in the order of what they
//! cost. The rate of an address comes before any token is looked at, a subject's places on all nodes last.

pub mod rates;
pub mod shares;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::Error;
use actix_web::HttpRequest;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;

use self::rates::{Pace, Rates, Row, Verdict};
use self::shares::{Share, Shares};
use super::forwarded::{AddressKey, Forwarding};
use super::problem::{Code, Problem};
use super::refusal::Refusal;
use super::routes::Public;
use crate::auth::Grant;
use crate::broker::leases::Lease;
use crate::connection::ConnectionId;
use crate::lifecycle::{Admission, Permit};
use crate::reasons::LimitName;

/// What callers may have. Nothing where there is no limit.
#[derive(Clone, Debug)]
pub struct GateSettings {
    pub forwarding: Forwarding,
    pub connections_per_address: Option<usize>,
    pub attempts: Option<Pace>,
    pub publishes: Option<Pace>,
    /// Callers whose pace is remembered, in each of the two tables.
    pub entries: usize,
}

/// The node's limits of callers, and what is taken of them.
pub struct Gate {
    node: Admission,
    forwarding: Forwarding,
    addresses: Option<Shares<AddressKey>>,
    attempts: Option<Rates<AddressKey>>,
    publishes: Option<Rates<Publisher>>,
    /// Subjects are told apart by a keyed hash, so that a table of them has a fixed size.
    hashers: [RandomState; 2],
    entries: usize,
}

/// Whose events are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Publisher {
    Subject([u64; 2]),
    Address(AddressKey),
}

/// The right to one stream or poll, under a name of its own.
pub struct Admitted {
    pub id: ConnectionId,
    pub places: Places,
}

/// What it takes of the limits; dropped, everything is free again.
pub struct Places {
    /// Nothing for the node's own canary, which takes nobody's place and which no drain waits for.
    node: Option<Permit>,
    _address: Option<Share<AddressKey>>,
    _lease: Option<Lease>,
}

impl Admitted {
    /// The node's own canary, which no limit counts.
    #[must_use]
    pub fn canary() -> Admitted {
        Admitted {
            id: ConnectionId::from_bytes(rand::random()),
            places: Places {
                node: None,
                _address: None,
                _lease: None,
            },
        }
    }
}

impl Places {
    /// Whether it is the node's own stream.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.node.is_none()
    }
}

impl Gate {
    #[must_use]
    pub fn new(settings: &GateSettings, node: Admission) -> Gate {
        let entries = settings.entries;
        Gate {
            node,
            forwarding: settings.forwarding.clone(),
            addresses: settings.connections_per_address.map(Shares::new),
            attempts: settings.attempts.map(|pace| Rates::new(pace, entries)),
            publishes: settings.publishes.map(|pace| Rates::new(pace, entries)),
            hashers: [RandomState::new(), RandomState::new()],
            entries,
        }
    }

    /// Addresses whose rate is remembered, or publishers, whichever are more.
    #[must_use]
    pub fn remembers(&self) -> usize {
        let addresses = self.attempts.as_ref().map(Rates::remembered);
        let publishers = self.publishes.as_ref().map(Rates::remembered);
        addresses.max(publishers).unwrap_or(0)
    }

    /// The most of either; 0 where no rate is limited.
    #[must_use]
    pub fn may_remember(&self) -> usize {
        let counts = self.attempts.is_some() || self.publishes.is_some();
        if counts { self.entries } else { 0 }
    }

    fn publisher(&self, request: &HttpRequest, grant: &Grant) -> Publisher {
        match &grant.holder.subject {
            Some(subject) => {
                let hash = |hasher: &RandomState| hasher.hash_one(subject);
                Publisher::Subject(self.hashers.each_ref().map(hash))
            }
            None => Publisher::Address(client(request, &self.forwarding).into()),
        }
    }
}

/// Whose address the request comes from, as far as trusted proxies tell.
#[must_use]
pub fn client(request: &HttpRequest, forwarding: &Forwarding) -> IpAddr {
    // Nothing is known of a connection that has gone: all of those are one.
    let peer = request.peer_addr();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let values = request.headers().get_all(forwarding.header());
    let lines: Vec<&[u8]> = values.map(|value| value.as_bytes()).collect();
    forwarding.client(peer, &lines)
}

/// Counts a try to begin something that costs: a stream, a poll, a session, a ticket. To be called first, before a body
/// is waited for and before any token is looked at.
///
/// # Errors
/// 429: the client's address tries too often.
pub fn attempt(request: &HttpRequest, public: &Public) -> Result<(), Problem> {
    attempt_stream(request, public).map_err(|refusal| refusal.turn_away(public))
}

/// [`attempt`] where an `EventSource` may ask, which is refused in its own way.
///
/// # Errors
/// [`Refusal::Attempts`].
pub fn attempt_stream(request: &HttpRequest, public: &Public) -> Result<(), Refusal> {
    let Some(attempts) = &public.gate.attempts else {
        return Ok(());
    };
    match attempts.take(client(request, &public.gate.forwarding).into()) {
        Verdict::Yes => Ok(()),
        Verdict::Wait(wait) => Err(Refusal::Attempts(wait)),
        Verdict::Uncounted => {
            public.limit_metrics.hits.of(LimitName::IpEntries).inc();
            Ok(())
        }
    }
}

/// Lets a recognised caller in: to be kept for as long as its stream or poll lives.
///
/// # Errors
/// The [`Refusal`] of whatever limit is reached.
pub async fn admit(
    request: &HttpRequest,
    grant: &Grant,
    public: &Public,
) -> Result<Admitted, Refusal> {
    let gate = &public.gate;
    let node = gate.node.admit().ok_or(Refusal::Overload)?;
    let address = match &gate.addresses {
        Some(addresses) => {
            let key = client(request, &gate.forwarding).into();
            Some(addresses.take(key).ok_or(Refusal::Address)?)
        }
        None => None,
    };
    let id = ConnectionId::from_bytes(rand::random());
    let lease = match &grant.holder.subject {
        Some(subject) => {
            let leased = public.broker.lease(subject, id).await;
            leased.map_err(|_| Refusal::Subject)?
        }
        None => None,
    };
    Ok(Admitted {
        id,
        places: Places {
            node: Some(node),
            _address: address,
            _lease: lease,
        },
    })
}

/// One request's events against its publisher's rate.
pub struct Publishing<'a> {
    public: &'a Public,
    /// Nothing where there is no such limit.
    row: Option<Row<'a, Publisher>>,
}

impl<'a> Publishing<'a> {
    #[must_use]
    pub fn new(request: &HttpRequest, grant: &Grant, public: &'a Public) -> Publishing<'a> {
        let rates = public.gate.publishes.as_ref();
        let row = rates.map(|rates| Row::new(rates, public.gate.publisher(request, grant)));
        Publishing { public, row }
    }

    /// Counts one event. Once one is refused, so are all that follow.
    ///
    /// # Errors
    /// 429 `too_many_publishes` with `Retry-After`.
    pub fn take(&mut self) -> Result<(), Problem> {
        let Some(row) = &mut self.row else {
            return Ok(());
        };
        match row.take() {
            Verdict::Yes => Ok(()),
            Verdict::Uncounted => {
                let hits = &self.public.limit_metrics.hits;
                hits.of(LimitName::IpEntries).inc();
                Ok(())
            }
            Verdict::Wait(wait) => {
                let detail = format!(
                    "more events than this node takes from one publisher; go on with this one in {}s",
                    whole_seconds(wait)
                );
                Err(Problem::new(Code::TooManyPublishes, detail)
                    .of_limit(LimitName::PublishesPerSubject)
                    .retry_after(wait))
            }
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Middleware for the public listener that counts the limits named in refusals.
///
/// # Errors
/// Those of the routes behind it.
pub async fn layer(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let response = next.call(request).await?;
    let problem = response.response().error();
    let problem = problem.and_then(|error| error.as_error::<Problem>());
    if let Some(limit) = problem.and_then(Problem::limit)
        && let Some(public) = response.request().app_data::<web::Data<Public>>()
    {
        public.limit_metrics.hits.of(limit).inc();
    }
    Ok(response)
}

//! Why a stream or a poll cannot begin now, though it may later: what is
//! counted, and what callers that understand statuses are told.

use std::time::Duration;

use rand::Rng;

use super::problem::{Code, Problem};
use super::routes::Public;
use crate::reasons::{CloseReason, LimitName, RejectReason};

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node is leaving.
    Drain,
    /// The connection carries as many streams as it may.
    Limit,
    /// The node carries as many streams as it may.
    Overload,
    /// The node has just started, and cannot tell yet which tokens are revoked.
    NotYet,
    /// The client's address has as many streams as it may.
    Address,
    /// The token's subject has as many streams on all nodes as it may.
    Subject,
    /// The client's address tries too often; not before so long.
    Attempts(Duration),
    /// The issuer's keys cannot be had, so the caller's token cannot be verified.
    Keys,
}

/// About when a look for the issuer's keys that failed is repeated.
const KEYS_RETRY: Duration = Duration::from_secs(10);

impl Refusal {
    /// What an `EventSource` is told.
    #[must_use]
    pub fn close_reason(self) -> CloseReason {
        match self {
            Refusal::Drain => CloseReason::Drain,
            Refusal::Overload => CloseReason::Overload,
            Refusal::NotYet | Refusal::Keys => CloseReason::Unavailable,
            Refusal::Limit | Refusal::Address | Refusal::Subject | Refusal::Attempts(_) => {
                CloseReason::Limit
            }
        }
    }

    /// The limit that is reached.
    #[must_use]
    pub fn limit(self) -> Option<LimitName> {
        match self {
            Refusal::Drain | Refusal::NotYet | Refusal::Keys => None,
            Refusal::Limit => Some(LimitName::StreamsPerConnection),
            Refusal::Overload => Some(LimitName::Connections),
            Refusal::Address => Some(LimitName::ConnectionsPerIp),
            Refusal::Subject => Some(LimitName::ConnectionsPerSubject),
            Refusal::Attempts(_) => Some(LimitName::AttemptsPerIp),
        }
    }

    /// The jittered wait until the issuer's keys may be there.
    #[must_use]
    pub fn keys_wait() -> Duration {
        KEYS_RETRY.mul_f64(rand::rng().random_range(0.5..1.5))
    }

    /// Counts a request that was turned away. The limit is counted with the answer: [`Refusal::problem`] names it.
    pub fn count(self, public: &Public) {
        let (rejection, _, _) = self.terms();
        public.connections.rejected.of(rejection).inc();
    }

    /// The jittered wait before the caller comes back.
    #[must_use]
    pub fn wait(self, public: &Public) -> Duration {
        let mut rng = rand::rng();
        let least = match self {
            Refusal::Drain | Refusal::NotYet => {
                return Duration::from_millis(rng.random_range(200..2_000));
            }
            Refusal::Keys => return Refusal::keys_wait(),
            Refusal::Attempts(wait) => wait,
            Refusal::Limit | Refusal::Overload | Refusal::Address | Refusal::Subject => {
                Duration::ZERO
            }
        };
        let long = public.limits.overload_retry;
        least.max(long.mul_f64(rng.random_range(0.5..1.5)))
    }

    /// 429 or 503 with `Retry-After`.
    #[must_use]
    pub fn problem(self, public: &Public) -> Problem {
        let (_, code, text) = self.terms();
        let wait = match self {
            // Whoever reads statuses is told what is so.
            Refusal::Attempts(wait) => wait,
            Refusal::Drain
            | Refusal::NotYet
            | Refusal::Keys
            | Refusal::Limit
            | Refusal::Overload
            | Refusal::Address
            | Refusal::Subject => self.wait(public),
        };
        let problem = Problem::new(code, text).retry_after(wait);
        match self.limit() {
            Some(limit) => problem.of_limit(limit),
            None => problem,
        }
    }

    /// [`Refusal::count`] and [`Refusal::problem`] for routes that no `EventSource` calls.
    #[must_use]
    pub fn turn_away(self, public: &Public) -> Problem {
        self.count(public);
        self.problem(public)
    }

    /// The metric's label, the problem's code and its text.
    fn terms(self) -> (RejectReason, Code, &'static str) {
        let too_many = |text| (RejectReason::Limit, Code::TooManyConnections, text);
        match self {
            Refusal::Drain => (RejectReason::Drain, Code::Draining, "this node is leaving"),
            Refusal::Limit => too_many("this connection carries as many streams as it may"),
            Refusal::Overload => (
                RejectReason::Overload,
                Code::Overloaded,
                "this node carries as many streams as it may",
            ),
            Refusal::NotYet => (
                RejectReason::Unavailable,
                Code::BrokerUnavailable,
                "this node does not know yet which tokens are revoked; try again",
            ),
            Refusal::Address => too_many("your address has as many streams here as it may"),
            Refusal::Subject => too_many("the token's subject has as many streams as it may"),
            Refusal::Attempts(_) => (
                RejectReason::Limit,
                Code::TooManyAttempts,
                "your address asks too often",
            ),
            Refusal::Keys => (
                RejectReason::KeysUnavailable,
                Code::KeysUnavailable,
                "the issuer's keys cannot be had now, so no token can be verified; try again",
            ),
        }
    }
}

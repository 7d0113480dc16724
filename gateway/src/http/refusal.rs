//! Why a stream or a poll cannot begin now, though it may later: what is
//! counted, and what callers that understand statuses are told.

use std::time::Duration;

use rand::Rng;

use super::problem::{Code, Problem};
use super::routes::Public;
use crate::reasons::{CloseReason, RejectReason};

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node is leaving.
    Drain,
    /// The connection carries as many streams as it may.
    Limit,
    /// The node carries as many streams as it may.
    Overload,
    /// The broker cannot be asked for the caller's ticket.
    Unavailable,
}

impl Refusal {
    /// What an `EventSource` is told.
    #[must_use]
    pub fn close_reason(self) -> CloseReason {
        match self {
            Refusal::Drain => CloseReason::Drain,
            Refusal::Limit => CloseReason::Limit,
            Refusal::Overload => CloseReason::Overload,
            Refusal::Unavailable => CloseReason::Unavailable,
        }
    }

    /// Counts a request that was turned away.
    pub fn count(self, public: &Public) {
        let (rejection, _, _) = self.terms();
        public.connections.rejected.of(rejection).inc();
    }

    /// The jittered wait before the caller comes back.
    #[must_use]
    pub fn wait(self, public: &Public) -> Duration {
        let mut rng = rand::rng();
        match self {
            Refusal::Drain => Duration::from_millis(rng.random_range(200..2_000)),
            Refusal::Unavailable => Duration::from_millis(rng.random_range(1_000..5_000)),
            Refusal::Limit | Refusal::Overload => public
                .limits
                .overload_retry
                .mul_f64(rng.random_range(0.5..1.5)),
        }
    }

    /// 429 or 503 with `Retry-After`.
    #[must_use]
    pub fn problem(self, public: &Public) -> Problem {
        let (_, code, text) = self.terms();
        Problem::new(code, text).retry_after(self.wait(public))
    }

    /// The metric's label, the problem's code and its text.
    fn terms(self) -> (RejectReason, Code, &'static str) {
        match self {
            Refusal::Drain => (RejectReason::Drain, Code::Draining, "this node is leaving"),
            Refusal::Limit => (
                RejectReason::Limit,
                Code::TooManyConnections,
                "this connection carries as many streams as it may",
            ),
            Refusal::Overload => (
                RejectReason::Overload,
                Code::Overloaded,
                "this node carries as many streams as it may",
            ),
            Refusal::Unavailable => (
                RejectReason::Unavailable,
                Code::BrokerUnavailable,
                "the event broker is unavailable; try again",
            ),
        }
    }
}

//! Requests other than streams.

use super::kinds::{Counters, metrics};
use crate::reasons::{AuthCode, PublishOutcome};

metrics! {
    /// Publishing, and callers.
    pub struct HttpMetrics {
        /// Publishes over HTTP, by outcome.
        pub published: Counters<PublishOutcome> = "sluice_published_total" by "outcome",
        /// Callers not recognised or not allowed, by code.
        pub auth_failures: Counters<AuthCode> = "sluice_auth_failures_total" by "code",
    }
}

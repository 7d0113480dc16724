//! The issuer's keys, where they come from a URL.

use prometheus::IntGauge;

use super::kinds::{Age, Counters, metrics};
use crate::reasons::JwksOutcome;

metrics! {
    /// Looks at `auth.jwt.jwks_url` and what they brought.
    pub struct KeyMetrics {
        /// Looks for the issuer's keys at `auth.jwt.jwks_url`, by outcome.
        pub refreshes: Counters<JwksOutcome> = "sluice_jwks_refreshes_total" by "outcome",
        /// Keys from `auth.jwt.jwks_url` that tokens are verified with.
        pub keys: IntGauge = "sluice_jwks_keys",
        /// Time since the issuer's keys were last loaded from `auth.jwt.jwks_url`, or since the start; 0 without such a URL.
        pub age: Age = "sluice_jwks_age_seconds",
    }
}

//! The issuer's keys, where they come from a URL.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge, Registry};

use super::{Counters, gauge};
use crate::reasons::JwksOutcome;

/// Looks at `auth.jwt.jwks_url` and what they brought.
#[derive(Clone)]
pub struct KeyMetrics {
    pub refreshes: Counters<JwksOutcome>,
    pub keys: IntGauge,
    pub age: Age,
}

impl KeyMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<KeyMetrics> {
        let age = Age {
            since: Arc::default(),
            gauge: Gauge::new(
                "sluice_jwks_age_seconds",
                "Time since the issuer's keys were last loaded from auth.jwt.jwks_url, or since the start; 0 without such a URL.",
            )?,
        };
        r.register(Box::new(age.clone()))?;
        Ok(KeyMetrics {
            refreshes: Counters::register(
                r,
                "sluice_jwks_refreshes_total",
                "Looks for the issuer's keys at auth.jwt.jwks_url, by outcome.",
                "outcome",
            )?,
            keys: gauge(
                r,
                "sluice_jwks_keys",
                "Keys from auth.jwt.jwks_url that tokens are verified with.",
            )?,
            age,
        })
    }
}

/// The time since something began, told at each scrape. Clones share it.
#[derive(Clone)]
pub struct Age {
    since: Arc<Mutex<Option<Instant>>>,
    gauge: Gauge,
}

impl Age {
    /// Begins to count, again from 0.
    pub fn begin(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Some(Instant::now());
    }
}

impl Collector for Age {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauge
            .set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        self.gauge.collect()
    }
}

//! The keys that the issuer publishes at a URL. One task looks there, at an interval and when a token names a key that
//! is not known; however many such tokens come, looks are one at a time and some seconds apart. Keys outlive failures
//! of the URL, and for a while their own removal.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::Rng as _;
use reqwest::Url;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use super::KeyError;
use super::claims::Checks;
use super::fetch::{Failure, Fetch};
use super::jwk::{self, Reading};
use super::keys::KeySet;
use crate::config::{JwtAlgorithm, JwtConfig};
use crate::metrics::KeyMetrics;
use crate::reasons::JwksOutcome;

/// Least time between the beginnings of two looks, unless the interval is shorter.
const SPACING: Duration = Duration::from_secs(10);

/// A source of keys at a URL.
pub(super) struct Jwks {
    url: Url,
    refresh: Duration,
    timeout: Duration,
    most_bytes: usize,
    algorithms: Vec<JwtAlgorithm>,
    checks: Checks,
    keys: ArcSwap<KeySet>,
    looks: watch::Sender<Looks>,
    wanted: Notify,
}

/// The looks so far.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    begun: u64,
    ended: u64,
    last_begun: Option<Instant>,
    /// Whether the last one that ended brought keys.
    brought: bool,
}

impl Jwks {
    pub(super) fn new(url: &str, config: &JwtConfig) -> Result<Jwks, KeyError> {
        let url = Url::parse(url)
            .map_err(|error| KeyError::new("auth.jwt.jwks_url", error.to_string()))?;
        Ok(Jwks {
            url,
            refresh: config.jwks_refresh,
            timeout: config.jwks_timeout,
            most_bytes: config.jwks_bytes.get(),
            algorithms: config.algorithms.clone(),
            checks: Checks::new(config),
            keys: ArcSwap::default(),
            looks: watch::Sender::default(),
            wanted: Notify::new(),
        })
    }

    /// The keys as last seen.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Whether the last look brought keys: what is not among them, the issuer does not offer.
    pub(super) fn is_current(&self) -> bool {
        self.looks.borrow().brought
    }

    /// Waits for the look that is under way or may begin now, at most for the timeout of one. Where the last is too
    /// recent there is none, and nothing is waited for.
    pub(super) async fn look_again(&self) {
        let mut looks = self.looks.subscribe();
        let seen = *looks.borrow_and_update();
        if seen.begun == seen.ended {
            if self.is_too_soon(seen) {
                return;
            }
            self.wanted.notify_one();
        }
        let ended = looks.wait_for(|now| now.ended > seen.ended);
        // Whether it came in time is seen by what the keys are then.
        drop(timeout(self.timeout, ended).await);
    }

    fn spacing(&self) -> Duration {
        self.refresh.min(SPACING)
    }

    fn is_too_soon(&self, looks: Looks) -> bool {
        looks
            .last_begun
            .is_some_and(|at| at.elapsed() < self.spacing())
    }

    /// Looks for the keys for as long as it is polled. Only one may run.
    pub(super) async fn follow(&self, metrics: &KeyMetrics) -> Infallible {
        let mut fetch = Fetch {
            url: self.url.clone(),
            timeout: self.timeout,
            most_bytes: self.most_bytes,
            client: None,
        };
        let mut told = Told::default();
        metrics.age.begin();
        loop {
            self.looks.send_modify(|looks| {
                looks.begun += 1;
                looks.last_begun = Some(Instant::now());
            });
            let outcome = match self.look(&mut fetch).await {
                Ok(reading) => {
                    self.take(reading, metrics, &mut told);
                    JwksOutcome::Loaded
                }
                Err(failure) => {
                    told.failure(&failure, &self.url, self.keys().len());
                    failure.outcome
                }
            };
            metrics.refreshes.of(outcome).inc();
            let brought = outcome == JwksOutcome::Loaded;
            self.looks.send_modify(|looks| {
                looks.ended = looks.begun;
                looks.brought = brought;
            });
            let pause = if brought {
                self.refresh
            } else {
                self.spacing()
            };
            self.rest(pause.mul_f64(rand::rng().random_range(0.9..1.1)))
                .await;
        }
    }

    async fn look(&self, fetch: &mut Fetch) -> Result<Reading, Failure> {
        let bytes = fetch.get().await?;
        let reading = jwk::read(&bytes, &self.algorithms, &self.checks)
            .map_err(|why| Failure::new(JwksOutcome::Malformed, format!("its answer {why}")))?;
        if reading.keys.len() == 0 {
            let mut why = "its answer holds no key to verify with".to_owned();
            for complaint in reading.left_out.iter().take(3) {
                why += &format!("; {complaint}");
            }
            return Err(Failure::new(JwksOutcome::NoKeys, why));
        }
        Ok(reading)
    }

    fn take(&self, reading: Reading, metrics: &KeyMetrics, told: &mut Told) {
        told.success(&reading, &self.url);
        let keys = reading
            .keys
            .after(&self.keys(), Instant::now(), self.refresh);
        metrics
            .keys
            .set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        metrics.age.begin();
        self.keys.store(Arc::new(keys));
    }

    /// Waits until the next look is due, or wanted and not too soon.
    async fn rest(&self, pause: Duration) {
        let due = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(due) => return,
                () = self.wanted.notified() => {
                    // Asked for while the last one was under way: that one was the answer.
                    if !self.is_too_soon(*self.looks.borrow()) {
                        return;
                    }
                }
            }
        }
    }
}

/// What has been logged, so that only news is.
#[derive(Default)]
struct Told {
    outcome: Option<JwksOutcome>,
    offered: (Vec<String>, usize),
    left_out: Vec<String>,
}

impl Told {
    fn failure(&mut self, failure: &Failure, url: &Url, keys: usize) {
        if self.outcome.replace(failure.outcome) == Some(failure.outcome) {
            return;
        }
        let (outcome, why) = (failure.outcome.as_label(), &failure.why);
        let place = place(url);
        if keys == 0 {
            tracing::warn!(
                place,
                outcome,
                "the keys of auth.jwt.jwks_url cannot be had: {why}; until they can, tokens are answered with keys_unavailable"
            );
        } else {
            tracing::warn!(
                place,
                outcome,
                keys,
                "the keys of auth.jwt.jwks_url cannot be had: {why}; those from before stay good"
            );
        }
    }

    fn success(&mut self, reading: &Reading, url: &Url) {
        let (names, nameless) = reading.keys.offered();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let offered = (names, nameless);
        let was_away = self.outcome.replace(JwksOutcome::Loaded) != Some(JwksOutcome::Loaded);
        if was_away || offered != self.offered {
            let place = place(url);
            tracing::info!(place, names = ?offered.0, nameless, "the issuer's keys");
            self.offered = offered;
        }
        if reading.left_out != self.left_out {
            for complaint in &reading.left_out {
                tracing::warn!("left out of auth.jwt.jwks_url: {complaint}");
            }
            self.left_out.clone_from(&reading.left_out);
        }
    }
}

/// The URL without its query, which may be meant for the issuer only.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

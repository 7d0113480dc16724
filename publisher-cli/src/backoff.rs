//! Waits between attempts: exponential with full jitter, so that many clients do not return at once.

use std::time::Duration;

/// Grows from `first` to `most`; each wait is a random part of the current bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub const fn new(first: Duration, most: Duration) -> Backoff {
        Backoff {
            first,
            most,
            failures: 0,
        }
    }

    /// Starts again from `first`: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Takes over the server's own wish (`retry:` of WHATWG HTML 9.2.6), kept under `most`.
    pub fn set_first(&mut self, first: Duration) {
        self.first = first.min(self.most);
    }

    /// The next wait: between half of the bound and the bound.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self
            .first
            .saturating_mul(1u32 << self.failures.min(16))
            .min(self.most);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::random_range(0.5..=1.0))
    }
}

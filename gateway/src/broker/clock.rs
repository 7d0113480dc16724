//! The node's two clocks: monotonic time since its start, and Unix time as
//! Redis tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clone shows the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// What to add to this machine's Unix time, in milliseconds, to get Redis's.
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that starts now and trusts this machine.
    #[must_use]
    pub fn start() -> Clock {
        Clock {
            started: Instant::now(),
            offset: Arc::default(),
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Unix time in milliseconds, by Redis's clock where that is known.
    #[must_use]
    pub fn wall(&self) -> u64 {
        local_wall().saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    /// Takes over the clock of Redis, which showed `theirs` within the last `round_trip`.
    pub(super) fn correct(&self, theirs: u64, round_trip: Duration) {
        let half = u64::try_from(round_trip.as_millis() / 2).unwrap_or(0);
        let ours = local_wall().saturating_sub(half);
        let offset = i128::from(theirs) - i128::from(ours);
        self.offset
            .store(i64::try_from(offset).unwrap_or(0), Ordering::Relaxed);
    }
}

fn local_wall() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

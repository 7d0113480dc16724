//! Warnings that an outage would repeat without end: one of a kind is told a minute, with how many were left out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// One kind of warning.
#[derive(Default)]
pub(super) struct Rare(Mutex<Told>);

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    left_out: u64,
}

impl Rare {
    /// Whether to warn now: then how many warnings were left out since the last.
    pub(super) fn due(&self) -> Option<u64> {
        let mut told = self.0.lock().ok()?;
        if told.at.is_some_and(|at| at.elapsed() < INTERVAL) {
            told.left_out += 1;
            return None;
        }
        told.at = Some(Instant::now());
        Some(std::mem::take(&mut told.left_out))
    }
}

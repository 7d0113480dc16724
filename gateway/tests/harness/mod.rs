//! What the gateway's tests share: nodes, Redis, and clients written apart from the gateway's own encoders.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod admin;
pub mod authority;
pub mod ground;
pub mod http;
pub mod node;
pub mod process;
pub mod redis_server;
pub mod tokens;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Tests count streams, events, keys and commands: the canary, which would be among them, is off unless a test is about it.
pub const NO_CANARY: (&str, &str) = ("SLUICE__CANARY__ENABLED", "false");
/// For those that are: quick probes, which find their event in any time that a busy machine may need.
pub const CANARY: &[(&str, &str)] = &[
    ("CANARY__ENABLED", "true"),
    ("CANARY__INTERVAL", "100ms"),
    ("CANARY__TIMEOUT", "10s"),
];

/// The longest wait for anything that has no promise of its own about time.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `look` finds something; panics with `what` when `within` is over.
pub fn find<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(LOOK);
    }
}

/// Waits until `look` gives `wanted`; panics with the last value seen when `within` is over.
pub fn wait<T: PartialEq + Debug>(
    what: &str,
    wanted: &T,
    within: Duration,
    mut look: impl FnMut() -> T,
) {
    let deadline = Instant::now() + within;
    loop {
        let seen = look();
        if seen == *wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: wanted {wanted:?} within {within:?}, still {seen:?}"
        );
        thread::sleep(LOOK);
    }
}

/// Asserts that `look` gives `wanted` during all of `window`: for what must not happen.
pub fn stays<T: PartialEq + Debug>(
    what: &str,
    wanted: &T,
    window: Duration,
    mut look: impl FnMut() -> T,
) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        assert_eq!(look(), *wanted, "{what}");
        thread::sleep(LOOK * 4);
    }
}

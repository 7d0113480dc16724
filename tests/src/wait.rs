//! Waiting for a condition with a deadline, the only synchronisation the scenarios know; never a bare sleep.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long the harness lets pass between two looks at a condition.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks until `probe` yields a value and gives it back; fails after `limit`, naming `what` was awaited.
/// An error of the probe ends the wait at once.
pub async fn until<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain until {what}");
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// As [`until`], for a condition that needs no waiting itself.
pub async fn until_true(
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> Result<()> {
    until(limit, what, async || Ok(holds().then_some(()))).await
}

//! Keeps a node's standing orders those of the broker: reads them at the start, after each reconnect, and whenever a
//! look every half second finds them changed, so that an order whose message was lost is obeyed all the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::control::understood;
use super::rare::Rare;
use super::redis::{DataLink, Mark};
use super::standing::Shelf;

/// How often the mark is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Reads orders for a shelf until it is dropped.
pub(super) struct Keeper {
    shelf: Arc<Shelf>,
    data: Arc<DataLink>,
    connected: watch::Receiver<bool>,
    /// At which the orders were read last; nothing while they have to be read in any case.
    read_at: Option<Mark>,
    unread: Rare,
    strange: Rare,
}

impl Keeper {
    pub(super) fn new(
        shelf: Arc<Shelf>,
        data: Arc<DataLink>,
        connected: watch::Receiver<bool>,
    ) -> Keeper {
        Keeper {
            shelf,
            data,
            connected,
            read_at: None,
            unread: Rare::default(),
            strange: Rare::default(),
        }
    }

    /// Looks until the future is dropped.
    pub(super) async fn run(&mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                Ok(()) = self.connected.changed() => self.read_at = None,
            }
            if let Err(error) = self.look().await
                && let Some(left_out) = self.unread.due()
            {
                let known = self.shelf.revocations().is_known();
                tracing::warn!(
                    error,
                    left_out,
                    known,
                    "the orders that stand could not be read; those known stay in force, and a node that knows none yet takes no tokens"
                );
            }
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let mark = self.data.mark().await?;
        if self.read_at.as_ref() == Some(&mark) {
            return Ok(());
        }
        let reading = self.shelf.begin_reading();
        let texts = self.data.standing().await?;
        let (orders, strange) = understood(texts.into_iter());
        if let Some((count, error)) = strange
            && let Some(left_out) = self.strange.due()
        {
            tracing::warn!(%error, count, left_out, "standing orders in Redis are none that this version knows");
        }
        let first = !self.shelf.revocations().is_known();
        let lost = self.shelf.finish_reading(reading, orders);
        if first {
            tracing::info!("the standing orders are known");
        }
        if !lost.is_empty() {
            tracing::warn!(
                orders = lost.len(),
                "Redis has lost orders that still hold; this node gives them back"
            );
            self.data.give_back(&lost).await?;
        }
        // Only now: what failed above is tried again.
        self.read_at = Some(mark);
        Ok(())
    }
}

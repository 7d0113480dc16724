//! Keeps a node's standing orders those of the broker: reads them at the start, after each reconnect, and whenever a
//! look every half second finds them changed, so that an order whose message was lost is obeyed all the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::rare::Rare;
use super::redis::{DataLink, Mark};
use super::standing::Shelf;
use crate::orders::Standing;

/// How often the mark is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often what is over is let go.
const FORGET: Duration = Duration::from_secs(5);
/// How often, and how long, a message that should have come is waited for.
const MESSAGE_LOOKS: usize = 3;
const MESSAGE_WAIT: Duration = Duration::from_millis(30);

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
        let mut forget = interval(FORGET);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = forget.tick() => {
                    self.shelf.forget_expired();
                    continue;
                }
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
        let mut mark = self.data.mark().await?;
        for _ in 0..MESSAGE_LOOKS {
            let since = self.shelf.since_reading();
            let heard = |at: &Mark| mark.is_after(at, since);
            match &self.read_at {
                Some(at) if heard(at) => return Ok(()),
                // A message may still be on its way.
                Some(_) => sleep(MESSAGE_WAIT).await,
                None => break,
            }
            mark = self.data.mark().await?;
        }
        self.read_at = None;
        let lost = self.read().await?;
        // Otherwise what was read is no one state, and the next look reads again.
        let same = self.data.mark().await? == mark;
        if !lost.is_empty() {
            let orders = lost.len();
            tracing::warn!(
                orders,
                "Redis has lost orders that still hold; this node gives them back"
            );
            self.data.give_back(&lost).await?;
        }
        self.read_at = same.then_some(mark);
        Ok(())
    }

    /// Reads all orders, and gives those that are missing there.
    async fn read(&self) -> Result<Vec<Arc<Standing>>, String> {
        let reading = self.shelf.begin_reading();
        let (mut orders, mut strange) = (Vec::new(), None);
        let understand = |text: Vec<u8>| match Standing::from_json(&text) {
            Ok(order) => orders.push(order),
            Err(error) => strange = Some(error),
        };
        self.data.standing(understand).await?;
        if let Some(error) = strange
            && let Some(left_out) = self.strange.due()
        {
            tracing::warn!(%error, left_out, "a standing order in Redis is none that this version knows");
        }
        if !self.shelf.revocations().is_known() {
            tracing::info!(orders = orders.len(), "the standing orders are known");
        }
        Ok(self.shelf.finish_reading(reading, orders))
    }
}

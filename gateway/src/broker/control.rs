//! Orders between nodes, over one topic of their own and, where they have to hold for a while, in one place of their
//! own. Who writes there may end anybody's stream: the ACL files give it to nodes and operators only.

use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};

use super::rare::Rare;
use super::standing::Shelf;
use super::{Broker, Command};
use crate::orders::{Order, Standing};
use crate::revocations::Revocations;

/// The order could not be sent: the broker is away, or does not allow it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the order could not be sent to the other nodes: {0}")]
pub struct TellError(pub(super) String);

/// Why an order does not stand.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StandError {
    #[error(
        "{0} orders stand already, as many as may (`limits.standing_orders`); nothing was ordered"
    )]
    NoRoom(usize),
    #[error("nothing was ordered: {0}")]
    Unavailable(String),
    /// It was sent and the answer is lost.
    #[error(
        "it is not known whether the order was taken: {0}; give it again, twice does no more than once"
    )]
    Unknown(String),
}

/// Where orders of all nodes arrive.
pub(super) struct Orders {
    /// The topic; nothing where there is no other node.
    topic: Option<Vec<u8>>,
    shelf: Arc<Shelf>,
    unreadable: Rare,
}

impl Orders {
    pub(super) fn new(topic: Option<String>, shelf: Arc<Shelf>) -> Orders {
        Orders {
            topic: topic.map(String::into_bytes),
            shelf,
            unreadable: Rare::default(),
        }
    }

    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Whether a message came on the topic of orders.
    pub(super) fn is_topic(&self, topic: &[u8]) -> bool {
        self.topic.as_deref() == Some(topic)
    }

    /// Hands an order to everyone who listens here.
    pub(super) fn hear(&self, text: &[u8]) {
        if let Ok(standing) = Standing::from_json(text) {
            return self.shelf.take(standing);
        }
        match Order::from_json(text) {
            Ok(Order::Revoke(_)) => self.warn(&"a revocation without `id` and `until`"),
            Ok(order) => self.shelf.tell(order),
            Err(error) => self.warn(&error),
        }
    }

    fn warn(&self, error: &dyn std::fmt::Display) {
        if let Some(left_out) = self.unreadable.due() {
            tracing::warn!(%error, left_out, "an order of another node was not understood; told once a minute");
        }
    }
}

impl Broker {
    /// Tells all nodes, this one included, once. A node that is cut off from the broker just then does not hear it.
    ///
    /// # Errors
    /// [`TellError`]; nobody has heard it then, as far as is known.
    pub async fn tell(&self, order: &Order) -> Result<(), TellError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Tell(order.to_json(), reply))
            .map_err(|_| TellError("too much is waiting for the broker".to_owned()))?;
        let lost = || Err(TellError("the broker did not answer".to_owned()));
        answer.await.unwrap_or_else(|_| lost())
    }

    /// Tells all nodes, and those that hear of it late as soon as they do. This one has obeyed by the time it answers.
    ///
    /// # Errors
    /// [`StandError`]; only [`StandError::Unknown`] leaves it open whether the order stands.
    pub async fn stand(&self, standing: Standing) -> Result<(), StandError> {
        let (reply, answer) = oneshot::channel();
        let busy = || StandError::Unavailable("too much is waiting for the broker".to_owned());
        self.commands
            .try_send(Command::Stand(standing, reply))
            .map_err(|_| busy())?;
        let lost = || Err(StandError::Unknown("the broker did not answer".to_owned()));
        answer.await.unwrap_or_else(|_| lost())
    }

    /// Tells all nodes without waiting for it, for who must not wait. It is lost where there is no room for it, and
    /// while the broker is away.
    pub fn tell_in_passing(&self, order: &Order) {
        let (reply, _) = oneshot::channel();
        let command = Command::Tell(order.to_json(), reply);
        self.commands.try_send(command).ok();
    }

    /// Tells this node alone, for what can be done without the others.
    pub fn tell_here(&self, order: Order) {
        self.shelf.tell(order);
    }

    /// The orders of all nodes, from now on.
    #[must_use]
    pub fn orders(&self) -> broadcast::Receiver<Arc<Order>> {
        self.shelf.listen()
    }

    /// The disconnects that stand, for a listener that has missed orders.
    #[must_use]
    pub fn disconnects(&self) -> Vec<Order> {
        self.shelf.disconnects()
    }

    /// Which tokens are revoked.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        self.shelf.revocations()
    }
}

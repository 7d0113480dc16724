//! Orders between nodes, over one topic of their own. Who publishes on that topic may end anybody's stream: the ACL
//! files give it to nodes and operators only.

use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};

use super::rare::Rare;
use super::{Broker, Command};
use crate::orders::Order;

/// Orders that a listener may be behind with; it is told that it has missed some.
const BEHIND: usize = 1_024;

/// The order could not be sent: the broker is away, or does not allow it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the order could not be sent to the other nodes: {0}")]
pub struct TellError(pub(super) String);

/// Where orders of all nodes arrive.
pub(super) struct Orders {
    /// The topic; nothing where there is no other node.
    topic: Option<Vec<u8>>,
    heard: broadcast::Sender<Arc<Order>>,
    unreadable: Rare,
}

impl Orders {
    pub(super) fn new(topic: Option<String>) -> Orders {
        Orders {
            topic: topic.map(String::into_bytes),
            heard: broadcast::Sender::new(BEHIND),
            unreadable: Rare::default(),
        }
    }

    pub(super) fn sender(&self) -> broadcast::Sender<Arc<Order>> {
        self.heard.clone()
    }

    /// Whether a message came on the topic of orders.
    pub(super) fn is_topic(&self, topic: &[u8]) -> bool {
        self.topic.as_deref() == Some(topic)
    }

    /// Hands an order to everyone who listens here.
    pub(super) fn hear(&self, text: &[u8]) {
        match Order::from_json(text) {
            // Without listeners there is nobody to obey.
            Ok(order) => drop(self.heard.send(Arc::new(order))),
            Err(error) => {
                if let Some(left_out) = self.unreadable.due() {
                    tracing::warn!(%error, left_out, "an order of another node was not understood; told once a minute");
                }
            }
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

    /// Tells all nodes without waiting for it, for who must not wait. It is lost where there is no room for it, and
    /// while the broker is away.
    pub fn tell_in_passing(&self, order: &Order) {
        let (reply, _) = oneshot::channel();
        let command = Command::Tell(order.to_json(), reply);
        self.commands.try_send(command).ok();
    }

    /// Tells this node alone, for what can be done without the others.
    pub fn tell_here(&self, order: Order) {
        // Without listeners there is nobody to obey.
        drop(self.orders.send(Arc::new(order)));
    }

    /// The orders of all nodes, from now on.
    #[must_use]
    pub fn orders(&self) -> broadcast::Receiver<Arc<Order>> {
        self.orders.subscribe()
    }
}

//! What the gateway asks of Redis, and the thread that runs the node core
//! against it. Nothing else in the gateway speaks to Redis.

pub mod batch;
pub mod canary;
pub mod clock;
pub mod control;
pub mod embedded;
pub mod history;
mod keeper;
pub mod leases;
pub mod outside;
mod rare;
pub mod redis;
pub mod reports;
pub mod run;
mod standing;
pub mod tickets;
mod used;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_wire::channel::Channel;
use sluice_wire::event::Message;
use sluice_wire::position::Position;
use sluice_wire::publish::{Defaults, Publish, Refusal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::hub::exchange::{ToNode, ToWorker, WorkerId};
use crate::hub::node::NodeLimits;
use crate::orders::Standing;
use clock::Clock;
use history::{Glance, LookError, LookReply};
use standing::Shelf;

/// What the broker needs to know; its own section of the configuration, proved.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    pub node: NodeLimits,
    /// Defaults of every event that this gateway publishes or reads.
    pub events: Defaults,
    /// The same for the canary's channels.
    pub canary: Defaults,
    /// Messages waiting for one worker.
    pub worker_queue: usize,
    /// Questions and publishes waiting for the node, and pushes waiting for it.
    pub queue: usize,
    /// Heads that reading may create, per second.
    pub new_heads_per_second: u32,
    /// Orders that may stand at a time, in all nodes together.
    pub standing_orders: usize,
    /// Streams of one subject on all nodes; nothing where they are not counted.
    pub leases: Option<leases::LeaseSettings>,
    pub backend: BackendSettings,
}

/// Where the events live.
#[derive(Clone, Debug)]
pub enum BackendSettings {
    Redis(redis::RedisSettings),
    Embedded(embedded::EmbeddedSettings),
}

/// A way to the broker thread. A clone is cheap and speaks to the same node.
#[derive(Clone)]
pub struct Broker {
    commands: mpsc::Sender<Command>,
    connected: watch::Receiver<bool>,
    clock: Clock,
    shelf: Arc<Shelf>,
    leases: leases::Leases,
    /// Events that one look at a history may bring.
    look_events: usize,
}

#[derive(Debug)]
enum Command {
    Ask(WorkerId, ToNode),
    Publish(Publication, oneshot::Sender<Result<Position, PublishError>>),
    /// All of one channel, few enough for one call.
    PublishAll(Vec<Publication>, oneshot::Sender<Vec<batch::Outcome>>),
    Look(Glance, LookReply),
    Time(oneshot::Sender<Result<u64, LookError>>),
    /// An order, as text, for all nodes.
    Tell(String, oneshot::Sender<Result<(), control::TellError>>),
    /// An order that holds for a while.
    Stand(Standing, oneshot::Sender<Result<(), control::StandError>>),
    Lease(leases::Wish, leases::LeaseReply),
    Ticket(tickets::Errand),
}

/// An event that somebody wants published.
#[derive(Clone, Debug)]
pub struct Publication {
    pub channel: Channel,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub traceparent: Option<String>,
    pub data: Bytes,
}

/// Why a publish has no position to give.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was sent to the broker; try again.
    #[error("the event broker is unavailable")]
    Unavailable,
    /// It was sent and the reply is lost: it may have been published.
    #[error("the event broker did not answer; the event may have been published")]
    Unknown,
    /// It was not sent, so that it cannot overtake an earlier one.
    #[error("not tried, since an earlier event of this channel has failed")]
    NotTried,
}

/// What a backend tells the node, in order.
#[derive(Debug)]
enum Push {
    Confirmed(Channel),
    Unconfirmed(Channel),
    Disconnected,
    /// A message on a topic, not read yet.
    Raw {
        topic: Vec<u8>,
        payload: Bytes,
    },
    /// A message of the embedded broker.
    Ready(Channel, Message),
}

/// A worker's end of the queues: what it hears, and its number.
#[derive(Debug)]
pub struct WorkerPort {
    pub worker: WorkerId,
    pub messages: mpsc::Receiver<ToWorker>,
    pub counter: reports::Counter,
}

impl Broker {
    /// Hands a worker's question to the node.
    ///
    /// # Errors
    /// Gives the question back when the queue is full.
    pub fn ask(&self, worker: WorkerId, question: ToNode) -> Result<(), ToNode> {
        match self.commands.try_reserve() {
            Ok(permit) => {
                permit.send(Command::Ask(worker, question));
                Ok(())
            }
            Err(_) => Err(question),
        }
    }

    /// Publishes an event and gives its position.
    ///
    /// # Errors
    /// [`PublishError`]; only [`PublishError::Unknown`] leaves it open whether
    /// the event was published.
    pub async fn publish(&self, publication: Publication) -> Result<Position, PublishError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Publish(publication, reply);
        self.commands
            .try_send(command)
            .map_err(|_| PublishError::Unavailable)?;
        answer.await.unwrap_or(Err(PublishError::Unknown))
    }

    /// Whether the subscriber connection stands; the embedded broker's always does.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl Publication {
    /// The same, as the wire crate takes it.
    #[must_use]
    pub fn as_publish(&self) -> Publish<'_> {
        Publish {
            event_type: self.event_type.as_deref(),
            event_id: self.event_id.as_deref(),
            traceparent: self.traceparent.as_deref(),
            ..Publish::new(&self.channel, &self.data)
        }
    }
}

/// How long the node sleeps at most before it looks at its timers.
const TICK: Duration = Duration::from_millis(25);

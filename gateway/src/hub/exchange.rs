//! What crosses the bounded queues between the node and its workers, and what
//! the node asks of the broker. Plain values: no queue and no I/O lives here.

use std::sync::Arc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::position::Position;

use super::frame::{EphemeralFrame, EventFrame};
use crate::reasons::{ResetReason, SyncCause};

/// One worker thread of this node.
pub type WorkerId = usize;

/// Names one question of one seat, so that a late answer cannot hit another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub connection: usize,
    pub seat: u16,
    pub serial: u64,
}

/// Where a seat wants to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// At the head: nothing from before.
    Live,
    /// Right after this position, proved.
    After(Position),
    /// With the first kept event at or after this Unix time in milliseconds.
    Since(u64),
    /// With the last so many kept events.
    Last(u32),
    /// Nowhere yet: does this channel hold exactly this position?
    Holds(Position),
}

/// What a worker asks of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNode {
    Attach {
        channel: Channel,
        ticket: Ticket,
        start: Start,
    },
    /// Nobody waits for the answer to this attach any more.
    Withdraw {
        channel: Channel,
        ticket: Ticket,
        start: Start,
    },
    /// The worker's last connection on this channel has gone.
    Leave { channel: Channel },
}

/// What the node tells a worker; the order in the queue is the order that counts.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// The worker's view of the channel starts here, whatever it held before.
    Stand { channel: Channel, at: Position },
    /// The next thing that happened on the channel; emitted then, by the node's clock.
    Next {
        channel: Channel,
        entry: Entry,
        at: Duration,
    },
    /// The answer to an attach.
    Placed { ticket: Ticket, placed: Placed },
}

impl ToWorker {
    /// When the event that this hands over was emitted; nothing where it is no event.
    #[must_use]
    pub fn emitted(&self) -> Option<Duration> {
        match self {
            ToWorker::Next {
                entry: Entry::Event(_) | Entry::Ephemeral(_),
                at,
                ..
            } => Some(*at),
            ToWorker::Next { .. } | ToWorker::Stand { .. } | ToWorker::Placed { .. } => None,
        }
    }
}

/// One thing that happens on a channel, in order.
#[derive(Clone, Debug)]
pub enum Entry {
    Event(Arc<EventFrame>),
    Ephemeral(Arc<EphemeralFrame>),
    Reset(Reset),
}

/// History cannot prove continuity: from here, go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The place that could not be continued; `None` when the reader's was unreadable.
    pub from: Option<Position>,
    pub to: Position,
    pub reason: ResetReason,
}

/// The node's answer to [`ToNode::Attach`].
#[derive(Clone, Debug)]
pub enum Placed {
    /// Nothing to replay: the seat stands here.
    At(Position),
    /// A proved piece of history that starts right after `from`.
    Page {
        from: Position,
        events: Arc<[Arc<EventFrame>]>,
    },
    /// The place could not be proved.
    Broken(Reset),
    /// Answer to [`Start::Holds`].
    Holds(bool),
}

/// Names one read of the stream.
pub type ReadId = u64;

/// What to read, in one atomic look at the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub channel: Channel,
    pub range: Range,
    /// The most entries to bring.
    pub count: usize,
    /// Resolve the primary anew and bring what tells one reason from another.
    pub confirm: bool,
}

/// Which entries of the stream a [`Query`] wants, besides the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// None.
    Head,
    /// Those with an id greater than the position's.
    After(Position),
    /// Those with an id of this Unix time in milliseconds or later.
    Since(u64),
    /// The last so many, in stream order.
    Last(u32),
    /// The one with exactly this position's id.
    Exactly(Position),
}

/// What one look at the primary found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub head: Position,
    /// The head was missing; the read made it.
    pub head_is_new: bool,
    pub entries: Vec<Event>,
    /// Filled when [`Query::confirm`] was set.
    pub context: Option<Context>,
}

/// What tells a trim from a rollback from a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The oldest entry that the stream still has.
    pub oldest: Option<Oldest>,
}

/// The oldest entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    pub position: Position,
    pub prev: Position,
}

/// What the core has noticed, for metrics and for the simulator's assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    FromPubSub,
    FromSync,
    FromEphemeral,
    Gap,
    Sync(SyncCause),
    Reset(ResetReason),
    AuditFinding,
    Straggler,
    Duplicate,
    WorkerOverflow,
    BufferOverflow,
    Resubscribe,
    /// A backfill read began; shared ones count once.
    Backfill,
}

/// The node's worker was not able to take one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The world around the node core: real code and the simulator each have one.
/// No call may wait.
pub trait World {
    /// Wants the channel's topic; confirmation comes back as an input.
    fn subscribe(&mut self, channel: &Channel);
    /// Wants the topic no longer.
    fn unsubscribe(&mut self, channel: &Channel);
    /// Starts a read; its outcome comes back as an input under the same id.
    fn read(&mut self, id: ReadId, query: Query);
    /// Starts reading the heads of these channels.
    fn heads(&mut self, channels: Vec<Channel>);
    /// Puts a message into a worker's bounded queue.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room; the message is then lost.
    fn send(&mut self, worker: WorkerId, message: ToWorker) -> Result<(), Full>;
    /// Counts something.
    fn note(&mut self, note: Note);
    /// An event that belongs to a trace has been handed to so many streams by now, and no worker has it still before it.
    fn handed_out(&mut self, _frame: &EventFrame, _streams: usize) {}
}

//! The streams of one worker thread: each a cursor over the worker's rings.
//! No task, timer, lock or queue per connection; no I/O and no clock.

pub mod blocks;
pub mod chunk;
pub mod id;
pub mod seat;
pub mod shapes;
pub mod stream;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::cursor::Cursor;

use crate::holder::Holder;
use crate::hub::ring::RingLimits;
use crate::reasons::CloseReason;
pub use id::ConnectionId;
use shapes::Shape;

/// The way out of a connection: plain bodies, and whatever else carries bytes.
pub trait Transport {
    /// Something is due: pull it soon.
    fn notify(&mut self);
    /// The peer takes nothing any more: cut it off.
    fn abort(&mut self);
}

/// Where a stream starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the head of each channel.
    Live,
    /// Where the reader stopped.
    Cursor(Cursor),
    /// Where the reader stopped, but nobody can read that.
    Unreadable,
    /// With the first kept event at or after this Unix time in milliseconds.
    Since(u64),
    /// With the last so many kept events of each channel.
    Last(u32),
}

impl StartAt {
    /// Whether the reader came without a place.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        match self {
            StartAt::Live | StartAt::Since(_) | StartAt::Last(_) => true,
            StartAt::Cursor(_) | StartAt::Unreadable => false,
        }
    }
}

/// What a reader asked for, checked and allowed.
#[derive(Clone, Debug)]
pub struct Opening {
    pub id: ConnectionId,
    /// Whose token it is.
    pub holder: Arc<Holder>,
    pub channels: Vec<Channel>,
    pub start: StartAt,
    /// The cursor as it came, if it can be given back.
    pub incoming: Option<String>,
    pub shape: Shape,
    /// When the right to read ends.
    pub expires_at: Option<Expiry>,
}

impl Opening {
    /// Whether it is the node's own canary: reserved channels are given to nobody else. It is left out of whatever counts,
    /// lists or ends streams of users.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.channels.iter().any(Channel::is_reserved)
    }
}

/// When the right to read ends. The same moment twice, since the clocks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// On the node's monotonic clock.
    pub at: Duration,
    /// In Unix milliseconds, by the clock that tokens are checked with: what readers are told.
    pub unix_ms: u64,
}

/// Bounds and intervals of the streams of a node.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    pub node: String,
    pub ring: RingLimits,
    /// How long a ring keeps an entry that nobody needs.
    pub ring_age: Duration,
    pub heartbeat: Duration,
    pub retry: Duration,
    /// The wait that a reader is told whom a limit ends, half of it to one and a half.
    pub limit_retry: Duration,
    pub max_age: Duration,
    /// The longest wait for channels whose place is unknown before `sluice.open`.
    pub open_wait: Duration,
    /// How long a reader may leave due bytes unread.
    pub slow_consumer_age: Duration,
    /// Replayed events of one channel before the stream gives up with `backfill_limit`.
    pub backfill_events: u32,
    /// Bytes that one pull gives at most, unless a single block is larger.
    pub chunk_bytes: usize,
    /// How long before the right to read ends its reader is told; zero is never.
    pub expiring_lead: Duration,
    /// Streams that have ended, and resets that were told, which each worker remembers to explain them.
    pub ended_streams: usize,
}

/// What a stream was, told once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: ConnectionId,
    pub shape: Shape,
    /// How many it read.
    pub channels: usize,
    pub reason: CloseReason,
    pub duration: Duration,
    pub events: u64,
    pub bytes: u64,
}

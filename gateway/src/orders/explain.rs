//! Why a stream did or did not get an event: the question, and what its node says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::asking::Nonce;
use crate::connection::ConnectionId;

/// Asks the node that has the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub nonce: Nonce,
    pub connection: ConnectionId,
    pub channel: String,
    /// The event's position.
    pub id: String,
}

/// What became of the event, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The stream does not read the channel.
    NotSubscribed,
    /// The stream began live, after the event.
    OpenedAfter,
    /// It was handed to the stream's socket.
    Delivered,
    /// It lies before the place that the stream's reader came with.
    BeforeStart,
    /// A reset skipped it, and that was told.
    Reset,
    /// The stream sends history and has not come to it.
    Replaying,
    /// The stream does not know its place in the channel yet.
    WaitingForPlace,
    /// It is in memory here and waits for the client to take what is due.
    Waiting,
    /// It has not reached this stream's node, or is not on the channel's chain.
    NotSeen,
    /// The stream ended before it.
    Ended,
}

/// The answer for one stream, channel and event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub node: String,
    pub verdict: Verdict,
    /// In words.
    pub detail: String,
    /// Where the stream stands in the channel, or stood at its end.
    pub place: Option<String>,
    /// When it was opened and, if it has, ended: Unix milliseconds.
    pub opened_at: u64,
    pub ended_at: Option<u64>,
    /// Why it has ended.
    pub close_reason: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

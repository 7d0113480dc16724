//! Sluice's own blocks, before they have a shape: `sluice.open`, `sluice.expiring`, `sluice.reset`
//! and `sluice.close`, with the JSON text that is their data everywhere.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::ConnectionId;
use crate::hub::exchange::Reset;
use crate::reasons::CloseReason;

/// How a channel of the stream starts, as `sluice.open` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its place is not known yet.
    Waiting,
    /// At the head.
    Live,
    /// Right after the reader's place.
    Resumed,
    /// The reader's place could not be continued; a `sluice.reset` follows.
    Reset,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Live => "live",
            Status::Resumed => "resumed",
            Status::Reset => "reset",
        }
    }
}

/// One of Sluice's own blocks.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    pub event_type: &'static str,
    /// The channel it is about, if it is about one.
    pub channel: Option<&'a str>,
    /// JSON text.
    pub data: String,
    /// The wait before a reconnect, where that matters.
    pub retry: Option<Duration>,
}

/// Where the stream continues from, with the wait before a reconnect.
pub fn open<'a>(
    node: &str,
    connection: ConnectionId,
    channels: impl Iterator<Item = (&'a str, Status)>,
    retry: Duration,
) -> Notice<'static> {
    let channels: Map<String, Value> = channels
        .map(|(name, status)| (name.to_owned(), status.as_str().into()))
        .collect();
    Notice {
        event_type: "sluice.open",
        channel: None,
        data: json!({ "node": node, "connection": connection, "channels": channels }).to_string(),
        retry: Some(retry),
    }
}

/// The right to read ends at this Unix time in milliseconds, which is so far away.
#[must_use]
pub fn expiring(unix_ms: u64, left: Duration) -> Notice<'static> {
    let data = json!({ "expires_at": rfc3339(unix_ms), "seconds": left.as_secs() });
    Notice {
        event_type: "sluice.expiring",
        channel: None,
        data: data.to_string(),
        retry: None,
    }
}

/// A Unix time in milliseconds as RFC 3339, in whole seconds.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    // The year 9999 is the last that can be written so.
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH + Duration::from_secs((unix_ms / 1_000).min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// History cannot prove continuity of this channel.
#[must_use]
pub fn reset<'a>(channel: &'a str, reset: &Reset) -> Notice<'a> {
    let data = json!({
        "channel": channel,
        "reason": reset.reason.as_label(),
        "from": reset.from.map(|place| place.to_string()),
        "to": reset.to.to_string(),
    });
    Notice {
        event_type: "sluice.reset",
        channel: Some(channel),
        data: data.to_string(),
        retry: None,
    }
}

/// Why the stream ends.
#[must_use]
pub fn close(reason: CloseReason, retry: Option<Duration>) -> Notice<'static> {
    Notice {
        event_type: "sluice.close",
        channel: None,
        data: json!({ "reason": reason.as_label() }).to_string(),
        retry,
    }
}

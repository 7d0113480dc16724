//! Sluice's own blocks on the stream: `sluice.open`, `sluice.reset` and
//! `sluice.close`. Each has data and, once anything is known, an id.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::{Map, Value, json};
use sluice_wire::sse;

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

/// Where the stream continues from, with the wait before a reconnect.
pub fn write_open<'a>(
    node: &str,
    channels: impl Iterator<Item = (&'a str, Status)>,
    id: &[u8],
    retry: Duration,
    out: &mut BytesMut,
) {
    let channels: Map<String, Value> = channels
        .map(|(name, status)| (name.to_owned(), status.as_str().into()))
        .collect();
    sse::write_retry_line(retry, out);
    write_block(
        "sluice.open",
        id,
        &json!({ "node": node, "channels": channels }),
        out,
    );
}

/// History cannot prove continuity of this channel.
pub fn write_reset(channel: &str, reset: &Reset, id: &[u8], out: &mut BytesMut) {
    let data = json!({
        "channel": channel,
        "reason": reset.reason.as_label(),
        "from": reset.from.map(|place| place.to_string()),
        "to": reset.to.to_string(),
    });
    write_block("sluice.reset", id, &data, out);
}

/// Why the stream ends, with the wait before a reconnect where that matters.
pub fn write_close(reason: CloseReason, id: &[u8], retry: Option<Duration>, out: &mut BytesMut) {
    if let Some(retry) = retry {
        sse::write_retry_line(retry, out);
    }
    write_block(
        "sluice.close",
        id,
        &json!({ "reason": reason.as_label() }),
        out,
    );
}

fn write_block(event_type: &str, id: &[u8], data: &Value, out: &mut BytesMut) {
    if !id.is_empty() {
        sse::write_id_line(id, out);
    }
    sse::write_event_tail(Some(event_type), data.to_string().as_bytes(), out);
}

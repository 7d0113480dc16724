//! Server-Sent Events: blocks with an `id:` line, and comment lines as heartbeat.

use bytes::BytesMut;
use sluice_wire::sse;

use crate::connection::blocks::Notice;

pub use sluice_wire::sse::HEARTBEAT;

/// Writes the `id:` line. Without a cursor there is none: an empty one would erase what the reader has.
pub fn write_id(cursor: &[u8], out: &mut BytesMut) {
    if !cursor.is_empty() {
        sse::write_id_line(cursor, out);
    }
}

/// Writes one of Sluice's own blocks.
pub fn write_notice(notice: &Notice<'_>, cursor: &[u8], out: &mut BytesMut) {
    if let Some(retry) = notice.retry {
        sse::write_retry_line(retry, out);
    }
    write_id(cursor, out);
    sse::write_event_tail(Some(notice.event_type), notice.data.as_bytes(), out);
}

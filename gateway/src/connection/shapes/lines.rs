//! NDJSON: an object a line that begins with the cursor, and empty lines as heartbeat.

use bytes::BytesMut;
use sluice_wire::ndjson;

use crate::connection::blocks::Notice;

pub use sluice_wire::ndjson::{HEARTBEAT, write_cursor};

/// Writes one of Sluice's own lines.
pub fn write_notice(notice: &Notice<'_>, cursor: &[u8], out: &mut BytesMut) {
    write_cursor(cursor, out);
    let notice = ndjson::Notice {
        event_type: notice.event_type,
        channel: notice.channel,
        data: &notice.data,
        retry: notice.retry,
    };
    ndjson::write_notice_tail(&notice, out);
}

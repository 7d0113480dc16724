//! Lines of NDJSON: one JSON object each, its members always the same and in the same order. No line break can get out
//! through a value, since JSON escapes them.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::channel::Channel;
use crate::sse::{EventView, envelope_json};

/// An empty line, which readers of NDJSON skip.
pub const HEARTBEAT: &[u8] = b"\n";

/// Appends the beginning of a line: `{"cursor":"<cursor>",`. An empty cursor is null: none is known yet.
pub fn write_cursor(cursor: &[u8], out: &mut BytesMut) {
    out.put_slice(b"{\"cursor\":");
    if cursor.is_empty() {
        out.put_slice(b"null");
    } else {
        write_string(&String::from_utf8_lossy(cursor), out);
    }
    out.put_u8(b',');
}

/// Appends what follows [`write_cursor`] on an event's line: the members of the envelope, see [`envelope_json`].
pub fn write_event_tail(channel: &Channel, id: &str, event: &EventView<'_>, out: &mut BytesMut) {
    let envelope = envelope_json(channel, id, event);
    out.reserve(envelope.len() + 1);
    out.put_slice(envelope.strip_prefix(b"{").unwrap_or(&envelope));
    out.put_u8(b'\n');
}

/// A line of Sluice's own: no publisher's event, so without a place and an id of its own.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Such as `sluice.reset`.
    pub event_type: &'a str,
    /// The channel it is about, if it is about one.
    pub channel: Option<&'a str>,
    /// JSON text, as on an event stream.
    pub data: &'a str,
    /// What an event stream says with `retry:`.
    pub retry: Option<Duration>,
}

/// Appends what follows [`write_cursor`] on a line of Sluice's own.
pub fn write_notice_tail(notice: &Notice<'_>, out: &mut BytesMut) {
    write_notice_members(notice.channel, None, notice.event_type, notice.data, out);
    if let Some(retry) = notice.retry {
        out.put_slice(b",\"retry\":");
        out.put_slice(itoa::Buffer::new().format(retry.as_millis()).as_bytes());
    }
    out.put_slice(b"}\n");
}

/// Appends a reset as an element of a poll's events: there it has an id, the place that it leads to.
pub fn write_reset_element(channel: &str, to: &str, data: &str, out: &mut BytesMut) {
    out.put_u8(b'{');
    write_notice_members(Some(channel), Some(to), "sluice.reset", data, out);
    out.put_u8(b'}');
}

fn write_notice_members(
    channel: Option<&str>,
    id: Option<&str>,
    event_type: &str,
    data: &str,
    out: &mut BytesMut,
) {
    out.put_slice(b"\"channel\":");
    write_optional(channel, out);
    out.put_slice(b",\"id\":");
    write_optional(id, out);
    out.put_slice(b",\"type\":");
    write_string(event_type, out);
    out.put_slice(b",\"event_id\":null,\"data\":");
    write_string(data, out);
}

fn write_optional(text: Option<&str>, out: &mut BytesMut) {
    match text {
        Some(text) => write_string(text, out),
        None => out.put_slice(b"null"),
    }
}

fn write_string(text: &str, out: &mut BytesMut) {
    // A string into memory always serializes, so the default is never taken.
    out.put_slice(&serde_json::to_vec(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &BytesMut) -> &str {
        std::str::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_events_line_has_its_six_members_in_order() {
        let view = EventView {
            event_type: Some("order.created"),
            event_id: None,
            data: b"a\r\n\"b\"",
            traceparent: None,
        };
        let mut line = BytesMut::new();
        write_cursor(b"1-0.0000000a", &mut line);
        let channel = Channel::parse("orders").expect("valid");
        write_event_tail(&channel, "1-0.0000000a", &view, &mut line);
        let expected = r#"{"cursor":"1-0.0000000a","channel":"orders","id":"1-0.0000000a","type":"order.created","event_id":null,"data":"a\r\n\"b\""}"#;
        assert_eq!(text(&line), format!("{expected}\n"));
    }

    #[test]
    fn an_ephemeral_event_has_no_id_and_an_unknown_cursor_is_null() {
        let view = EventView {
            event_type: None,
            event_id: None,
            data: b"",
            traceparent: None,
        };
        let mut line = BytesMut::new();
        write_cursor(b"", &mut line);
        write_event_tail(&Channel::parse("a").expect("valid"), "", &view, &mut line);
        let expected =
            r#"{"cursor":null,"channel":"a","id":null,"type":null,"event_id":null,"data":""}"#;
        assert_eq!(text(&line), format!("{expected}\n"));
    }

    /// What the reader sent as its cursor comes back as it was, whatever it holds, and stays one line.
    #[test]
    fn a_readers_own_cursor_cannot_break_a_line() {
        let mut line = BytesMut::new();
        write_cursor("a\"\\\n,đ".as_bytes(), &mut line);
        assert_eq!(text(&line), r#"{"cursor":"a\"\\\n,đ","#);
    }

    #[test]
    fn a_notice_has_the_members_of_an_event_and_the_wait_last() {
        let mut line = BytesMut::new();
        let mut notice = Notice {
            event_type: "sluice.close",
            channel: None,
            data: r#"{"reason":"drain"}"#,
            retry: Some(Duration::from_micros(2_713_999)),
        };
        write_notice_tail(&notice, &mut line);
        let expected = r#""channel":null,"id":null,"type":"sluice.close","event_id":null,"data":"{\"reason\":\"drain\"}","retry":2713}"#;
        assert_eq!(text(&line), format!("{expected}\n"));
        line.clear();
        notice.channel = Some("a");
        notice.retry = None;
        write_notice_tail(&notice, &mut line);
        assert!(text(&line).starts_with(r#""channel":"a","#), "{line:?}");
        assert!(text(&line).ends_with("\"drain\\\"}\"}\n"), "{line:?}");
    }

    #[test]
    fn a_polls_reset_names_the_place_it_leads_to() {
        let mut out = BytesMut::new();
        write_reset_element("a", "1-0.0000000a", "{}", &mut out);
        let expected = r#"{"channel":"a","id":"1-0.0000000a","type":"sluice.reset","event_id":null,"data":"{}"}"#;
        assert_eq!(text(&out), expected);
    }
}

//! Blocks to bytes: the event-stream format of WHATWG HTML, section 9.2.5, as its parser in 9.2.6 reads it. No line break
//! or NUL can get out through an id or a type.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use crate::channel::Channel;
use crate::trace::TraceContext;

/// A comment line. Never followed by a blank line: that raises phantom events in several clients.
pub const HEARTBEAT: &[u8] = b":\n";

/// Appends `id: <id>`. CR, LF and NUL are left out: the first two would end the line, a NUL makes browsers ignore the id.
pub fn write_id_line(id: &[u8], out: &mut BytesMut) {
    write_field(b"id: ", id, out);
}

/// Appends `retry: <milliseconds>`.
pub fn write_retry_line(delay: Duration, out: &mut BytesMut) {
    write_field(
        b"retry: ",
        itoa::Buffer::new().format(delay.as_millis()).as_bytes(),
        out,
    );
}

/// Appends everything of a block that follows its id line: `event: <type>` if there is a type, one `data: ` line per line
/// of `data` (split on CR, LF and CRLF; empty data is one empty line), and the blank line that dispatches it.
pub fn write_event_tail(event_type: Option<&str>, data: &[u8], out: &mut BytesMut) {
    if let Some(event_type) = event_type {
        write_field(b"event: ", event_type.as_bytes(), out);
    }
    out.reserve(data.len() + 16);
    let mut rest = data;
    loop {
        out.put_slice(b"data: ");
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
            break;
        };
        out.put_slice(&rest[..end]);
        out.put_u8(b'\n');
        let is_crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_crlf)..];
    }
    out.put_slice(rest);
    out.put_slice(b"\n\n");
}

fn write_field(name: &[u8], value: &[u8], out: &mut BytesMut) {
    out.reserve(name.len() + value.len() + 1);
    out.put_slice(name);
    for part in value.split(|b| matches!(b, b'\r' | b'\n' | 0)) {
        out.put_slice(part);
    }
    out.put_u8(b'\n');
}

/// What an envelope shows of an event.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    pub event_type: Option<&'a str>,
    pub event_id: Option<&'a str>,
    /// UTF-8; anything else is shown with replacement characters.
    pub data: &'a [u8],
    /// Of the publisher.
    pub traceparent: Option<TraceContext>,
}

/// The object `{"channel","id","type","event_id","data"}` on one line: SSE data with `?envelope=json`, an NDJSON line, a
/// history item and an element of poll's events. An empty `id` is null, which an ephemeral event has; `type` and `event_id`
/// are null when the publisher gave none; `data` is a string. Last comes `traceparent`, where there is one.
pub fn envelope_json(channel: &Channel, id: &str, event: &EventView<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        channel: &'a str,
        id: Option<&'a str>,
        r#type: Option<&'a str>,
        event_id: Option<&'a str>,
        data: std::borrow::Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<TraceContext>,
    }
    let envelope = Envelope {
        channel: channel.as_str(),
        id: (!id.is_empty()).then_some(id),
        r#type: event.event_type,
        event_id: event.event_id,
        data: String::from_utf8_lossy(event.data),
        traceparent: event.traceparent,
    };
    // Strings alone always serialize, so the default is never taken.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(event_type: Option<&str>, data: &str) -> String {
        let mut out = BytesMut::new();
        write_event_tail(event_type, data.as_bytes(), &mut out);
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    #[test]
    fn data_is_split_on_every_kind_of_line_end() {
        assert_eq!(tail(None, "a"), "data: a\n\n");
        assert_eq!(tail(Some("t"), ""), "event: t\ndata: \n\n");
        assert_eq!(
            tail(None, "a\nb\rc\r\nd\n\re"),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n"
        );
        assert_eq!(tail(None, "\r\n"), "data: \ndata: \n\n");
        assert_eq!(tail(None, " a"), "data:  a\n\n");
    }

    #[test]
    fn line_breaks_and_nul_cannot_get_out_through_id_or_type() {
        let mut out = BytesMut::new();
        write_id_line(b"1\r\ndata: x\0", &mut out);
        assert_eq!(&out[..], b"id: 1data: x\n");
        assert_eq!(tail(Some("a\nb\r\0c"), ""), "event: abc\ndata: \n\n");
    }

    #[test]
    fn retry_is_in_whole_milliseconds() {
        let mut out = BytesMut::new();
        write_retry_line(Duration::from_micros(2_713_999), &mut out);
        assert_eq!(&out[..], b"retry: 2713\n");
    }

    #[test]
    fn the_envelope_has_its_five_members_in_order() {
        let view = EventView {
            event_type: None,
            event_id: Some("e\"1"),
            data: "a\nđ\0".as_bytes(),
            traceparent: None,
        };
        let json = envelope_json(
            &Channel::parse("orders").expect("valid"),
            "1-0.0000000a",
            &view,
        );
        let expected = r#"{"channel":"orders","id":"1-0.0000000a","type":null,"event_id":"e\"1","data":"a\nđ\u0000"}"#;
        assert_eq!(String::from_utf8(json).expect("UTF-8"), expected);
    }

    #[test]
    fn a_traceparent_comes_last_where_there_is_one() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let view = EventView {
            event_type: None,
            event_id: None,
            data: b"x",
            traceparent: TraceContext::parse(traceparent),
        };
        let json = envelope_json(&Channel::parse("a").expect("valid"), "", &view);
        let expected = format!(r#""data":"x","traceparent":"{traceparent}"}}"#);
        let json = String::from_utf8(json).expect("UTF-8");
        assert!(json.ends_with(&expected), "{json}");
    }
}

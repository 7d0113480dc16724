//! What is written as an event stream or as NDJSON reads as what was meant. Input: type, id, data.

#[path = "../../wire/tests/support/event_stream.rs"]
mod event_stream;

use std::time::Duration;

use bytes::BytesMut;
use sluice_wire::channel::Channel;
use sluice_wire::{ndjson, sse};

use self::event_stream::EventStream;
use crate::{parts, text};

/// A parser written from the standard reads back what was encoded, with CR and CRLF as LF; a line of NDJSON and an envelope
/// are one line of JSON that holds the data exactly.
pub fn check(bytes: &[u8]) {
    let [event_type, id, data] = parts::<3>(bytes).map(text);
    let named = (!event_type.is_empty()).then_some(event_type.as_str());
    let mut stream = BytesMut::from(sse::HEARTBEAT);
    sse::write_retry_line(Duration::from_millis(1_500), &mut stream);
    sse::write_id_line(id.as_bytes(), &mut stream);
    sse::write_event_tail(named, data.as_bytes(), &mut stream);
    let read = EventStream::parse(&stream);
    let [event] = &read.events[..] else {
        panic!("{} events instead of one", read.events.len());
    };
    let kept = |text: &str| text.replace(['\r', '\n', '\0'], "");
    let event_type = match kept(&event_type) {
        empty if empty.is_empty() => "message".to_owned(),
        named => named,
    };
    assert_eq!(event.event_type, event_type);
    assert_eq!(event.data, data.replace("\r\n", "\n").replace('\r', "\n"));
    assert_eq!(event.last_event_id, kept(&id));
    assert_eq!((read.last_event_id, read.retry), (kept(&id), Some(1_500)));
    lines(named, &data);
}

fn lines(event_type: Option<&str>, data: &str) {
    let channel = Channel::parse("orders").expect("a channel");
    let view = sse::EventView {
        event_type,
        event_id: event_type,
        data: data.as_bytes(),
        traceparent: None,
    };
    let id = "1-2.0000000a";
    let envelope = sse::envelope_json(&channel, id, &view);
    let mut line = BytesMut::new();
    ndjson::write_cursor(id.as_bytes(), &mut line);
    ndjson::write_event_tail(&channel, id, &view, &mut line);
    let line = line.strip_suffix(b"\n").expect("a line's end");
    for json in [&envelope[..], line] {
        assert!(
            !json.contains(&b'\n') && !json.contains(&b'\r'),
            "more than a line"
        );
        let value: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        assert_eq!(value["data"], data);
        assert_eq!(value["type"].as_str(), event_type);
        assert_eq!(value["event_id"].as_str(), event_type);
        assert_eq!(
            (&value["channel"], &value["id"]),
            (&"orders".into(), &id.into())
        );
    }
}

//! What is to be published: the body of a batch, and one event for the chain. Input: a body of lines; for the chain its
//! parts are type, event id and data.

use bytes::Bytes;
use sluice_gateway::http::batch::line;
use sluice_wire::channel::Channel;
use sluice_wire::event::{Message, decode};
use sluice_wire::log::{Log, Published, SystemMillis};
use sluice_wire::publish::{Defaults, Publish};
use sluice_wire::sse::{EventView, envelope_json};
use sluice_wire::trace::TraceContext;

use crate::{parts, text};

/// Lines of a batch here.
const MOST: usize = 100;

pub fn check(bytes: &[u8]) {
    batch(&Bytes::copy_from_slice(bytes));
    append(bytes);
}

/// Each line that is not blank is one answer, in order; an accepted event is what JSON says it is, and is accepted again as
/// the line of a history.
fn batch(body: &Bytes) {
    let wanted = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let wanted = wanted.count();
    let Some(lines) = line::read(body, MOST) else {
        assert!(wanted > MOST);
        return;
    };
    assert_eq!(lines.len(), wanted);
    assert!(lines.is_sorted_by(|a, b| a.number < b.number));
    let texts: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    for line in lines {
        let Ok(event) = line.event else { continue };
        assert_eq!(line.channel.as_ref(), Some(&event.channel));
        assert!(!event.channel.is_reserved());
        let given = texts[line.number - 1];
        // Numbers of any size stand as they are written, so values of numbers are not compared.
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(given) {
            assert_eq!(value["channel"], event.channel.as_str());
            assert_eq!(value["type"].as_str(), event.event_type.as_deref());
            assert_eq!(value["event_id"].as_str(), event.event_id.as_deref());
            if let Some(data) = value["data"].as_str() {
                assert_eq!(data.as_bytes(), event.data);
            }
        }
        assert!(std::str::from_utf8(&event.data).is_ok());
        let view = EventView {
            event_type: event.event_type.as_deref(),
            event_id: event.event_id.as_deref(),
            data: &event.data,
            traceparent: event.traceparent.as_deref().and_then(TraceContext::parse),
        };
        let history = envelope_json(&event.channel, "1-2.0000000a", &view);
        let again = line::read(&history.into(), MOST).and_then(|mut lines| lines.pop()?.event.ok());
        let again = again.expect("a line of history is a line of a batch");
        assert_eq!(
            (
                again.channel,
                again.event_type,
                again.event_id,
                again.data,
                again.traceparent
            ),
            (
                event.channel,
                event.event_type,
                event.event_id,
                event.data,
                event.traceparent
            )
        );
    }
}

/// What the rules accept is appended as it is, links to what stands, and travels as a frame; what they refuse leaves no trace.
fn append(bytes: &[u8]) {
    let [event_type, event_id, data] = parts::<3>(bytes);
    let (event_type, event_id) = (text(event_type), text(event_id));
    let channel = Channel::parse("orders").expect("a channel");
    let publish = Publish {
        event_type: (!event_type.is_empty()).then_some(event_type.as_str()),
        event_id: (!event_id.is_empty()).then_some(event_id.as_str()),
        ..Publish::new(&channel, data)
    };
    let defaults = Defaults {
        event_bytes: 256,
        ..Defaults::default()
    };
    let mut log = Log::default();
    let before = log.ensure_head(SystemMillis(1_000), 7, &defaults);
    let outcome = log.publish(SystemMillis(1_000), &publish, 8, &defaults);
    assert_eq!(outcome.is_ok(), publish.check(defaults.event_bytes).is_ok());
    let Ok(outcome) = outcome else {
        assert_eq!((log.head(), log.events().len()), (Some(before), 0));
        return;
    };
    let Published::Appended(event) = outcome else {
        panic!("nothing was there to be repeated");
    };
    assert_eq!((event.prev, log.head()), (before, Some(event.position)));
    assert_eq!(&event.data[..], data);
    assert_eq!(
        decode(event.encode().into(), 256),
        Ok(Message::Event(event))
    );
    if publish.event_id.is_some() {
        let again = log.publish(SystemMillis(1_001), &publish, 9, &defaults);
        assert!(matches!(again, Ok(Published::Repeated(_))), "{again:?}");
    }
}

//! What comes from Redis: frames, stream entries, heads, replies and topics. Input: the bytes as they come.

use bytes::Bytes;
use sluice_wire::event::{Event, Message, check_event_id, decode};
use sluice_wire::keys::{Head, Keys};
use sluice_wire::position::StreamId;
use sluice_wire::publish::{Refusal, parse_reply};

use crate::{parts, text};

/// `limits.event_bytes` here.
const LIMIT: usize = 1_024;

/// What one form reads, it writes back; what begins as a frame is never plain data; no event without a proper name gets by.
pub fn check(bytes: &[u8]) {
    let payload = Bytes::copy_from_slice(bytes);
    match decode(payload, LIMIT) {
        Ok(Message::Event(event)) => {
            sound(&event);
            let again = decode(event.encode().into(), LIMIT);
            assert_eq!(again, Ok(Message::Event(event.clone())));
            assert_eq!(stored(&event), Ok(event));
        }
        Ok(Message::Ephemeral(data)) => {
            assert!(!data.starts_with(b"sluice/") && data.len() <= LIMIT);
            assert!(std::str::from_utf8(&data).is_ok());
        }
        Err(error) => assert!(!error.as_label().is_empty()),
    }
    let fields = parts::<6>(bytes).map(Bytes::copy_from_slice);
    let names: [&[u8]; 6] = [b"p", b"t", b"d", b"e", b"i", b"tp"];
    let entry = names
        .into_iter()
        .zip(fields)
        .filter(|(_, value)| !value.is_empty());
    if let Ok(event) = Event::from_stream(StreamId { ms: 1, seq: 1 }, entry) {
        sound(&event);
        assert_eq!(
            decode(event.encode().into(), usize::MAX),
            Ok(Message::Event(event))
        );
    }
    if let Ok(head) = Head::parse(bytes) {
        assert!(head.genesis.is_genesis());
    }
    if let Ok(position) = parse_reply(bytes) {
        assert_eq!(position.to_string().as_bytes(), bytes, "one form");
    }
    let keys = Keys::default();
    if let Some(channel) = keys.channel_of_topic(bytes) {
        assert_eq!(keys.topic(&channel).as_bytes(), bytes);
    }
    drop(Refusal::from_redis_error(&text(bytes)));
}

fn sound(event: &Event) {
    assert!(std::str::from_utf8(&event.data).is_ok());
    for name in [&event.event_type, &event.event_id].into_iter().flatten() {
        // The rule for names without the one for reserved types.
        assert!(check_event_id(name).is_ok(), "{name:?}");
    }
}

/// The event as the script would have stored it, read back.
fn stored(event: &Event) -> Result<Event, sluice_wire::FrameError> {
    let tag = format!("{:08x}", event.position.tag());
    let mut fields: Vec<(&str, Bytes)> = vec![
        ("p", event.prev.to_string().into()),
        ("t", tag.into()),
        ("d", event.data.clone()),
    ];
    let optional = [("e", &event.event_type), ("i", &event.event_id)];
    for (name, value) in optional {
        fields.extend(
            value
                .as_ref()
                .map(|value| (name, Bytes::copy_from_slice(value.as_bytes()))),
        );
    }
    let traceparent = event.traceparent;
    fields.extend(traceparent.map(|context| ("tp", context.to_string().into())));
    Event::from_stream(event.position.id(), fields)
}

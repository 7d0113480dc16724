//! What crosses process boundaries round-trips, and what does not belong there is refused without a panic.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Bytes, BytesMut};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::Index,
    string::string_regex,
};
use sluice_wire::{
    Channel, Cursor, Defaults, Event, Head, Keys, Log, Message, Position, Publish, Refusal,
    StreamId, SystemMillis, TraceContext,
    cursor::{write_bare, write_many},
    event::{check_event_id, check_event_type, decode},
    publish::parse_reply,
};

fn id() -> impl Strategy<Value = StreamId> {
    (0..=StreamId::MAX_MS, any::<u16>()).prop_map(|(ms, seq)| StreamId { ms, seq })
}

fn position() -> impl Strategy<Value = Position> {
    (id(), any::<u32>()).prop_map(|(id, tag)| Position::new(id, tag))
}

fn channel() -> impl Strategy<Value = Channel> {
    string_regex("[A-Za-z0-9_:-]{1,8}(\\.[A-Za-z0-9_:-]{1,8}){0,3}")
        .expect("a regex")
        .prop_map(|name| Channel::parse(&name).expect("of the grammar"))
}

fn name(check: fn(&str) -> Result<(), Refusal>) -> impl Strategy<Value = String> {
    string_regex("[ -~đơnà🦀%=\u{2028}]{1,128}")
        .expect("a regex")
        .prop_filter("allowed at publish", move |name| check(name).is_ok())
}

fn event() -> impl Strategy<Value = Event> {
    let traceparent = string_regex("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]").expect("a regex");
    let names = (
        option::of(name(check_event_type)),
        option::of(name(check_event_id)),
        option::of(traceparent),
    );
    let position = position().prop_filter("no event has it", |position| {
        position.id() != StreamId::ZERO
    });
    (position, self::position(), names, any::<String>()).prop_map(
        |(position, prev, (event_type, event_id, traceparent), data)| Event {
            position,
            prev,
            event_type: event_type.map(Into::into),
            event_id: event_id.map(Into::into),
            traceparent: traceparent.as_deref().and_then(TraceContext::parse),
            data: data.into(),
        },
    )
}

/// The fields of the event's stream entry, as `publish.lua` adds them.
fn fields(event: &Event) -> Vec<(&'static str, Bytes)> {
    let text = |value: &Option<std::sync::Arc<str>>| {
        value
            .as_ref()
            .map(|text| Bytes::copy_from_slice(text.as_bytes()))
    };
    let always = [
        ("p", Bytes::from(event.prev.to_string())),
        ("t", format!("{:08x}", event.position.tag()).into()),
        ("d", event.data.clone()),
    ];
    let given = [
        ("e", text(&event.event_type)),
        ("i", text(&event.event_id)),
        ("tp", event.traceparent.map(|tp| tp.to_string().into())),
    ];
    always
        .into_iter()
        .chain(
            given
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .collect()
}

/// A valid text with a few bytes changed, removed or doubled.
fn mutate(mut bytes: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind % 4 {
            0 => bytes[at] = *byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, *byte),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn places() -> impl Strategy<Value = BTreeMap<Channel, Position>> {
    btree_map(channel(), position(), 0..=Cursor::MAX_CHANNELS).prop_filter(
        "hashes differ",
        |places| {
            let hashes: std::collections::HashSet<u32> =
                places.keys().map(Channel::short_hash).collect();
            hashes.len() == places.len()
        },
    )
}

fn written<'a>(places: impl Iterator<Item = (&'a Channel, &'a Position)>) -> String {
    let mut out = BytesMut::new();
    write_many(
        places.map(|(channel, position)| (channel.short_hash(), *position)),
        &mut out,
    );
    String::from_utf8(out.to_vec()).expect("a cursor is ASCII")
}

/// Gives hostile bytes to everything that reads from outside; whatever one form reads, it must write back.
fn read_everything(bytes: &[u8]) {
    let payload = Bytes::copy_from_slice(bytes);
    match decode(payload.clone(), 1024) {
        Ok(Message::Event(event)) => {
            let again = decode(event.encode().into(), 1024);
            assert_eq!(again, Ok(Message::Event(event)));
        }
        Ok(Message::Ephemeral(data)) => {
            assert!(!data.starts_with(b"sluice/") && data.len() <= 1024)
        }
        Err(error) => assert!(!error.as_label().is_empty()),
    }
    if let Ok(head) = Head::parse(bytes) {
        assert!(head.genesis.is_genesis());
    }
    if let Ok(position) = parse_reply(bytes) {
        assert_eq!(position.to_string().as_bytes(), bytes, "one canonical form");
    }
    drop(Keys::default().channel_of_topic(bytes));
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Cursor::Bare(position)) = Cursor::parse(&text) {
        assert_eq!(position.to_string(), text, "one canonical form");
    }
    drop(Channel::parse(&text));
    drop(Refusal::from_redis_error(&text));
    let names: [&[u8]; 8] = [b"p", b"t", b"d", b"e", b"i", b"tp", b"", b"\xff"];
    for (n, name) in names.iter().enumerate() {
        let others = names[..6]
            .iter()
            .filter(|other| *other != name)
            .map(|other| (*other, Bytes::from_static(b"0-0.00000001")));
        drop(Event::from_stream(
            StreamId {
                ms: 1,
                seq: n as u16,
            },
            others.chain([(*name, payload.clone())]),
        ));
    }
}

proptest! {
    #[test]
    fn positions_round_trip_as_text_and_bytes(position in position()) {
        let mut bare = BytesMut::new();
        write_bare(position, &mut bare);
        prop_assert_eq!(String::from_utf8_lossy(&bare), position.to_string());
        prop_assert_eq!(position.to_string().parse(), Ok(position));
        prop_assert_eq!(parse_reply(&bare), Ok(position));
        prop_assert_eq!(Cursor::parse(&position.to_string()), Ok(Cursor::Bare(position)));
        prop_assert_eq!(Position::from_bytes(position.to_bytes()), position);
        prop_assert!(bare.len() <= Position::MAX_TEXT_BYTES);
    }

    #[test]
    fn cursors_survive_channels_added_removed_and_reordered(
        places in places(), order in vec(any::<u64>(), Cursor::MAX_CHANNELS), kept in vec(any::<bool>(), Cursor::MAX_CHANNELS), added in channel(),
    ) {
        let mut shuffled: Vec<_> = places.iter().zip(&order).collect();
        shuffled.sort_by_key(|(_, key)| **key);
        let text = written(shuffled.iter().map(|(place, _)| *place));
        prop_assert!(text.len() <= Cursor::MAX_TEXT_BYTES);
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"~_-".contains(&b)), "safe in a header and a URL: {}", text);
        let Ok(Cursor::Many(read)) = Cursor::parse(&text) else { panic!("unreadable: {text}") };
        prop_assert_eq!(read.len(), places.len());
        for ((channel, position), _) in places.iter().zip(&kept).filter(|(_, kept)| **kept) {
            prop_assert_eq!(read.get(channel), Some(*position));
        }
        if places.keys().all(|channel| channel.short_hash() != added.short_hash()) {
            prop_assert_eq!(read.get(&added), None);
        }
    }

    #[test]
    fn events_round_trip_as_frames_and_stream_entries(event in event(), order in any::<bool>()) {
        let frame = Bytes::from(event.encode());
        prop_assert_eq!(decode(frame, event.data.len()), Ok(Message::Event(event.clone())));
        let mut fields = fields(&event);
        if order {
            fields.reverse();
        }
        prop_assert_eq!(Event::from_stream(event.position.id(), fields), Ok(event));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        read_everything(&bytes);
        read_everything(text.as_bytes());
        read_everything(&[b"sluice/1 ", &bytes[..]].concat());
        read_everything(&[b"1~", text.as_bytes()].concat());
    }

    #[test]
    fn mutated_cursors_and_frames_never_panic(
        places in places(), event in event(), changes in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..5),
    ) {
        read_everything(&mutate(written(places.iter()).into_bytes(), &changes));
        read_everything(&mutate(event.position.to_string().into_bytes(), &changes));
        let frame = event.encode();
        let header = frame.iter().position(|byte| *byte == b'\n').expect("a header line");
        read_everything(&mutate(frame[..header].to_vec(), &changes));
        read_everything(&mutate(frame, &changes));
    }

    #[test]
    fn a_hostile_publish_is_refused_without_a_panic_and_without_a_trace(
        event_type in any::<String>(), data in vec(any::<u8>(), 0..64), event_id in any::<String>(), ttl in any::<u64>(), maxlen in any::<u32>(), now in any::<u64>(),
    ) {
        let channel = Channel::parse("c").expect("valid");
        let publish = Publish {
            event_type: Some(&event_type),
            event_id: Some(&event_id),
            ttl: Some(Duration::from_millis(ttl)),
            maxlen: Some(maxlen),
            ..Publish::new(&channel, &data)
        };
        let mut log = Log::default();
        let defaults = Defaults { event_bytes: 32, ..Defaults::default() };
        let outcome = log.publish(SystemMillis(now), &publish, 1, &defaults);
        prop_assert_eq!(outcome.is_ok(), log.head().is_some());
        prop_assert!(publish.check(32).is_ok() || outcome.is_err());
    }
}

//! What the encoder writes is what a conforming browser reads: `sse` against a parser of the WHATWG standard, and that
//! parser against the standard's own examples.

mod support;

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use proptest::{collection::vec, option, prelude::*, string::string_regex};
use sluice_wire::{
    event::check_event_type,
    sse::{HEARTBEAT, write_event_tail, write_id_line, write_retry_line},
};
use support::event_stream::{Dispatched, EventStream};

fn event(event_type: &str, data: &str, last_event_id: &str) -> Dispatched {
    Dispatched {
        event_type: event_type.into(),
        data: data.into(),
        last_event_id: last_event_id.into(),
    }
}

fn check_parser(stream: impl AsRef<[u8]>, events: &[Dispatched], last_event_id: &str) {
    let parsed = EventStream::parse(stream.as_ref());
    let shown = String::from_utf8_lossy(stream.as_ref()).into_owned();
    assert_eq!(parsed.events, events, "{shown:?}");
    assert_eq!(parsed.last_event_id, last_event_id, "{shown:?}");
}

#[test]
fn the_parser_reads_the_examples_of_the_standard() {
    check_parser(
        "data: YHOO\ndata: +2\ndata: 10\n\n",
        &[event("message", "YHOO\n+2\n10", "")],
        "",
    );
    let stream = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    let events = [
        event("message", "first event", "1"),
        event("message", "second event", ""),
        event("message", " third event", ""),
    ];
    check_parser(stream, &events, "");
    check_parser(
        "data\n\ndata\ndata\n\ndata:",
        &[event("message", "", ""), event("message", "\n", "")],
        "",
    );
    check_parser(
        "data:test\n\ndata: test\n\n",
        &[event("message", "test", ""), event("message", "test", "")],
        "",
    );
    check_parser(
        "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
        &[event("add", "73857293", ""), event("remove", "2153", "")],
        "",
    );
}

#[test]
fn the_parser_keeps_to_the_rules_that_are_easy_to_miss() {
    check_parser(
        "\u{feff}data: a\r\rdata: b\r\n\r\ndata: c\n\n",
        &[
            event("message", "a", ""),
            event("message", "b", ""),
            event("message", "c", ""),
        ],
        "",
    );
    check_parser("\u{feff}\u{feff}data: a\n\n", &[], "");
    check_parser("id: 7\n\n", &[], "7");
    check_parser("id: 7\ndata: a\n", &[], "");
    check_parser("id: 7\n\nid: 8\ndata: a", &[], "7");
    check_parser(
        "id: 7\n\nid: 8\0\ndata: a\n\n",
        &[event("message", "a", "7")],
        "7",
    );
    check_parser("event: x\n\ndata: a\n\n", &[event("message", "a", "")], "");
    check_parser("Data: a\n data: b\nother: c\n\n", &[], "");
    check_parser(b"data: \xff\n\n", &[event("message", "\u{fffd}", "")], "");
    check_parser("data:a:b\n\n", &[event("message", "a:b", "")], "");
    let retry = |stream: &str| EventStream::parse(stream.as_bytes()).retry;
    assert_eq!(
        [
            retry("retry: 12\n"),
            retry("retry: 1a\n"),
            retry("retry: -1\n"),
            retry("retry\n"),
            retry("retry: 12")
        ],
        [Some(12), None, None, None, None]
    );
}

/// CR and CRLF are read back as LF: the format has no way to say them.
fn read_back(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

fn encode(id: &[u8], event_type: Option<&str>, data: &str) -> BytesMut {
    let mut out = BytesMut::new();
    write_id_line(id, &mut out);
    write_event_tail(event_type, data.as_bytes(), &mut out);
    out
}

fn check_round_trip(event_type: Option<&str>, data: &str) {
    let parsed = EventStream::parse(&encode(b"1-0.0000000a", event_type, data));
    assert_eq!(
        parsed.events,
        [event(
            event_type.unwrap_or("message"),
            &read_back(data),
            "1-0.0000000a"
        )]
    );
}

#[test]
fn the_data_that_breaks_encoders_reads_back() {
    for data in [
        "",
        " ",
        "  a",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "\r\r\n\n",
        "a\n",
        "\na",
        "a\n\nb",
        "a\0b",
        "\0",
        "\u{feff}",
        "\u{feff}data: a",
        ":",
        ": a",
        "data: a\n\nevent: sluice.close",
        "id: 1\nretry: 5",
        "🦀👩‍👩‍👧",
        "Đơn hàng đã được tạo, cảm ơn quý khách",
        "\u{2028}\u{2029}\u{85}\u{b}\u{c}",
    ] {
        check_round_trip(None, data);
        check_round_trip(Some("đơn.hàng tạo"), data);
    }
}

#[test]
fn a_mebibyte_reads_back() {
    for piece in ["x", "\n", "\r\n", "\r", "🦀", "đơn hàng\n", "\0\u{feff}\r"] {
        check_round_trip(Some("big"), &piece.repeat((1 << 20) / piece.len()));
    }
}

/// Text in which what matters to the format is frequent.
fn awkward_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r"),
        Just("\n"),
        Just("\r\n"),
        Just("\0"),
        Just("\u{feff}"),
        Just(":"),
        Just(" "),
        Just("data"),
        Just("id: 1"),
        Just("event:"),
        Just("retry: 5"),
        Just("🦀"),
        Just("đơn hàng"),
        Just("x"),
        Just("\u{2028}"),
    ];
    prop_oneof![
        vec(piece, 0..24).prop_map(|pieces| pieces.concat()),
        any::<String>()
    ]
}

fn event_type() -> impl Strategy<Value = String> {
    string_regex("\\PC{1,128}")
        .expect("a regex")
        .prop_filter("allowed at publish", |name| check_event_type(name).is_ok())
}

#[derive(Clone, Debug)]
enum Block {
    Heartbeat,
    Retry(u32),
    Event {
        id: String,
        event_type: Option<String>,
        data: String,
    },
}

fn block() -> impl Strategy<Value = Block> {
    let id = string_regex("[0-9]{1,13}-[0-9]{1,5}\\.[0-9a-f]{8}|1~[A-Za-z0-9_-]{0,64}")
        .expect("a regex");
    prop_oneof![
        Just(Block::Heartbeat),
        any::<u32>().prop_map(Block::Retry),
        (id, option::of(event_type()), awkward_text()).prop_map(|(id, event_type, data)| {
            Block::Event {
                id,
                event_type,
                data,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_stream_of_blocks_reads_back_exactly(blocks in vec(block(), 0..12)) {
        let mut out = BytesMut::new();
        let mut expected = Vec::new();
        let mut retry = None;
        for block in &blocks {
            match block {
                Block::Heartbeat => out.put_slice(HEARTBEAT),
                Block::Retry(ms) => {
                    write_retry_line(Duration::from_millis(u64::from(*ms)), &mut out);
                    retry = Some(u64::from(*ms));
                }
                Block::Event { id, event_type, data } => {
                    out.put_slice(&encode(id.as_bytes(), event_type.as_deref(), data));
                    expected.push(event(event_type.as_deref().unwrap_or("message"), &read_back(data), id));
                }
            }
        }
        let parsed = EventStream::parse(&out);
        prop_assert_eq!(&parsed.events, &expected);
        prop_assert_eq!(&parsed.last_event_id, expected.last().map_or("", |event| &event.last_event_id));
        prop_assert_eq!(parsed.retry, retry);
    }

    #[test]
    fn a_stream_cut_anywhere_reads_back_as_a_prefix(blocks in vec((event_type(), awkward_text()), 1..6), cut in any::<prop::sample::Index>()) {
        let whole: BytesMut = blocks.iter().enumerate().flat_map(|(n, (event_type, data))| encode(n.to_string().as_bytes(), Some(event_type), data)).collect();
        let parsed = EventStream::parse(&whole[..cut.index(whole.len() + 1)]);
        let all = EventStream::parse(&whole);
        prop_assert_eq!(&parsed.events[..], &all.events[..parsed.events.len()]);
        prop_assert_eq!(&parsed.last_event_id, parsed.events.last().map_or("", |event| &event.last_event_id), "data and id move together");
    }

    #[test]
    fn hostile_ids_and_types_cannot_leave_their_line(id in awkward_text(), event_type in awkward_text(), data in awkward_text()) {
        let block = encode(id.as_bytes(), Some(&event_type), &data);
        let safe = |text: &str| text.replace(['\r', '\n', '\0'], "");
        let shown = Some(safe(&event_type)).filter(|name| !name.is_empty()).unwrap_or_else(|| "message".into());
        prop_assert_eq!(EventStream::parse(&block).events, [event(&shown, &read_back(&data), &safe(&id))]);
        let fields = block.windows(2).filter(|pair| pair == b"\n\n").count();
        prop_assert_eq!(fields, 1, "one blank line, at the end");
        prop_assert!(!block[..safe(&id).len() + 4].contains(&0));
    }
}

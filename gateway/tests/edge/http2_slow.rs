//! How long an HTTP/2 client may take to begin, and to send a header block (RFC 9113, sections 3.4 and 4.3).

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::harness::http::connect;
use crate::harness::node::Node;
use crate::harness::{PATIENCE, wait};
use crate::raw_http2::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, Raw, SETTINGS, WINDOW_UPDATE, block,
    frame,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TOO_LATE: &str = "sluice_transport_ended_total{cause=\"head_timeout\"}";
/// Far below `http.keep_alive`, which would end the connection too.
const SOON: Duration = Duration::from_secs(5);

/// A client that has begun as it must, and sends this.
fn begun(frames: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat()
}

/// A client that sends this before its SETTINGS, or without any.
fn unbegun(frames: &[u8]) -> Vec<u8> {
    [PREFACE, frames].concat()
}

/// A frame with 8,000 of its 16,000 bytes.
fn half(kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut bytes = frame(kind, flags, stream, &[0; 16_000]);
    bytes.truncate(8_000);
    bytes
}

/// Bytes that are sent one at a time, and never are enough.
const DRIPS: &[u8] = &[0; 1_000];

/// A head that falls silent in its middle, or never begins, or trickles: ended in the time for a head.
#[rstest]
#[case::half_a_preface(PREFACE[..18].to_vec(), &[])]
#[case::no_settings(PREFACE.to_vec(), &[])]
#[case::half_a_header_of_settings(unbegun(&frame(SETTINGS, 0, 0, &[])[..4]), &[])]
#[case::no_payload_of_settings(unbegun(&frame(SETTINGS, 0, 0, &[0; 12])[..9]), &[])]
#[case::half_a_settings(unbegun(&frame(SETTINGS, 0, 0, &[0; 12])[..15]), &[])]
#[case::a_trickle_of_settings(unbegun(&half(SETTINGS, 0, 0)), DRIPS)]
#[case::a_ping_for_settings(unbegun(&frame(PING, 0, 0, &[0; 8])), &[])]
#[case::a_window_for_settings(unbegun(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])), &[])]
#[case::a_ping_before_settings(unbegun(&[frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat()), &[])]
#[case::no_end_of_headers(begun(&frame(HEADERS, 0, 1, &block("/"))), &[])]
#[case::no_payload_of_headers(begun(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("/"))[..9]), &[])]
#[case::half_a_headers(begun(&half(HEADERS, END_HEADERS, 1)), &[])]
#[case::a_trickle_of_headers(begun(&half(HEADERS, END_HEADERS, 1)), DRIPS)]
#[case::a_trickle_of_headers_to_go_on(begun(&half(HEADERS, 0, 1)), DRIPS)]
#[case::half_a_continuation(begun(&[frame(HEADERS, 0, 1, &block("/")), half(CONTINUATION, END_HEADERS, 1)].concat()), &[])]
#[case::a_trickle_of_continuation(begun(&[frame(HEADERS, 0, 1, &block("/")), half(CONTINUATION, END_HEADERS, 1)].concat()), DRIPS)]
fn a_slow_head_ends_the_connection(#[case] at_once: Vec<u8>, #[case] drips: &[u8]) {
    let node = Node::embedded(&[("HTTP__HEAD_TIMEOUT", "500ms")]).ready();
    let mut socket = connect(node.public).expect("connected");
    let pause = Some(Duration::from_millis(20));
    socket.set_read_timeout(pause).expect("a pause");
    let since = Instant::now();
    socket.write_all(&at_once).expect("sent");
    let mut drips = drips.chunks(1);
    loop {
        let is_sent = drips
            .next()
            .is_none_or(|drip| socket.write_all(drip).is_ok());
        let read = socket.read(&mut [0; 1_024]).map_err(|error| error.kind());
        if !is_sent || !matches!(read, Ok(1..) | Err(ErrorKind::WouldBlock)) {
            break;
        }
        assert!(since.elapsed() < SOON, "it is still open");
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    wait("counted", &1.0, PATIENCE, || node.metric(TOO_LATE));
}

/// The time is a head's own: heads that follow each other without a gap, so that one is always half there, are each in time.
#[test]
fn heads_that_overlap_have_a_time_each() {
    let node = Node::embedded(&[("HTTP__HEAD_TIMEOUT", "1s")]).ready();
    let mut raw = Raw::open(node.public);
    let ask = |stream: u32| {
        let whole = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block("/nothing"),
        );
        let (begin, end) = whole.split_at(20);
        (begin.to_vec(), end.to_vec())
    };
    // Room for the bodies of all answers.
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
    let (begin, mut end) = ask(1);
    raw.send(&begin);
    let (since, mut stream) = (Instant::now(), 1);
    while since.elapsed() < Duration::from_millis(2_500) {
        let (begin, next_end) = ask(stream + 2);
        raw.send(&[end, begin].concat());
        raw.answered(stream);
        (stream, end) = (stream + 2, next_end);
    }
    raw.send(&end);
    raw.answered(stream);
    assert_eq!(node.metric(TOO_LATE), 0.0);
}

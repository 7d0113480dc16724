//! What a hostile HTTP/2 client may do on one connection, frame by frame (RFC 9113, section 10.5).

use std::io::Write as _;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::clients::{Connection, block_on};
use crate::harness::http::Events;
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::{PATIENCE, find, wait};
use crate::raw_http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    RST_STREAM, Raw, SETTINGS, ask, block, frame, pong, reset,
};

const MEMORY: &str = "process_resident_memory_bytes";
const MIB: f64 = 1_048_576.0;

fn ended(cause: &str) -> String {
    format!("sluice_transport_ended_total{{cause=\"{cause}\"}}")
}

/// The limits are told (RFC 9113, 6.5.2): streams at once, and the size of a head.
#[test]
fn the_limits_are_told() {
    let node = Node::embedded(&[]).ready();
    let raw = Raw::open(node.public);
    assert!(raw.settings.contains(&(3, 128)), "{:?}", raw.settings);
    assert!(
        raw.settings.contains(&(6, 16 * 1_024)),
        "{:?}",
        raw.settings
    );
}

/// As many streams as are allowed are open at once; one more ends the connection, and only that one.
#[test]
fn one_stream_too_many_ends_the_connection() {
    let limits = [
        ("LIMITS__STREAMS_PER_CONNECTION", "3"),
        ("LIMITS__HTTP2_STREAMS", "3"),
    ];
    let node = Node::embedded(&limits).ready();
    let mut other = Raw::open(node.public);
    other.send(&ask(1));
    other.answered(1);
    let mut raw = Raw::open(node.public);
    for stream in [1, 3, 5] {
        raw.send(&ask(stream));
        raw.answered(stream);
    }
    assert!(raw.answers());
    wait("four streams", &4.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    raw.send(&ask(7));
    assert_eq!(raw.end(), Some(ENHANCE_YOUR_CALM));
    wait("counted", &1.0, PATIENCE, || node.metric(&ended("streams")));
    wait("its streams are freed", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    assert!(other.answers());
}

/// A stream that has ended makes room, however it has ended.
#[test]
fn streams_that_have_ended_make_room() {
    let limits = [
        ("LIMITS__STREAMS_PER_CONNECTION", "1"),
        ("LIMITS__HTTP2_STREAMS", "1"),
    ];
    let node = Node::embedded(&limits).ready();
    let mut raw = Raw::open(node.public);
    // Answered whole.
    for number in 0..50 {
        let stream = number * 2 + 1;
        raw.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &block("/nothing"),
        ));
        raw.answered(stream);
        let end = std::iter::from_fn(|| raw.next())
            .find(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
        assert!(end.is_some());
    }
    // Answered before the request was whole: the gateway resets what it will not read.
    raw.send(&frame(HEADERS, END_HEADERS, 101, &block("/nothing")));
    let end = std::iter::from_fn(|| raw.next()).find(|frame| frame.kind == RST_STREAM);
    assert_eq!(end.map(|frame| frame.stream), Some(101));
    raw.send(&ask(103));
    raw.answered(103);
    assert!(raw.answers());
}

/// As many resets in a second as are allowed, each of a stream that was answered; one more ends the connection.
#[test]
fn one_reset_too_many_ends_the_connection() {
    const RESETS: u32 = 5;
    let node = Node::embedded(&[("LIMITS__HTTP2_RESETS_PER_SECOND", "5")]).ready();
    let mut raw = Raw::open(node.public);
    let answered = |raw: &mut Raw, stream: u32| {
        raw.send(&frame(
            HEADERS,
            END_HEADERS,
            stream,
            &block("/v1/events?channel=a"),
        ));
        raw.answered(stream);
        reset(stream)
    };
    let within = (0..RESETS)
        .flat_map(|number| answered(&mut raw, number * 2 + 1))
        .collect::<Vec<u8>>();
    raw.send(&within);
    assert!(raw.answers());
    // What has been taken since comes back in a second: then all of them at once and one more.
    let mut raw = Raw::open(node.public);
    let over = (0..=RESETS)
        .flat_map(|number| answered(&mut raw, number * 2 + 1))
        .collect::<Vec<u8>>();
    raw.send(&over);
    assert_eq!(raw.end(), Some(ENHANCE_YOUR_CALM));
    wait("counted", &1.0, PATIENCE, || node.metric(&ended("resets")));
}

/// Rapid reset (CVE-2023-44487): ten thousand requests, each reset at once, on connection after connection. Each connection
/// is ended; memory stays, and a healthy client on the same worker gets its events.
#[test]
fn rapid_resets_end_the_connection_and_disturb_nobody() {
    let node = Process::start(&[("STREAM__HEARTBEAT", "200ms")]);
    let mut healthy = Events::open(node.public, "/v1/events?channel=healthy", &[]);
    assert_eq!(healthy.next().event, "sluice.open");
    let before = node.metric(MEMORY);
    let flood: Vec<u8> = (0..10_000)
        .flat_map(|number| [ask(number * 2 + 1), reset(number * 2 + 1)].concat())
        .collect();
    for _ in 0..10 {
        let mut raw = Raw::open(node.public);
        // The connection may be gone before all is sent.
        raw.socket.write_all(&flood).unwrap_or_default();
        raw.end();
        let publish = crate::harness::http::call(
            node.public,
            "POST",
            "/v1/channels/healthy/events",
            &[],
            b"alive",
        );
        assert_eq!(publish.status, 201);
        assert_eq!(healthy.next().data, "alive");
    }
    // What was let through before the end is freed by its heartbeat.
    wait("only the healthy stream is left", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    let opened = node.metric("sluice_connections_opened_total");
    assert!(
        opened < 10_000.0,
        "{opened} of 100,000 requests became streams"
    );
    let grown = node.metric(MEMORY) - before;
    assert!(grown < 32.0 * MIB, "{} MiB more", grown / MIB);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// Frames that only cost the gateway time.
#[rstest]
#[case::ping(PING, &[0; 8])]
#[case::settings(SETTINGS, &[])]
#[case::empty_data(DATA, &[])]
#[case::unknown(0x42, &[])]
fn a_flood_of_control_frames_ends_the_connection(#[case] kind: u8, #[case] payload: &[u8]) {
    let node = Node::embedded(&[]).ready();
    let mut raw = Raw::open(node.public);
    raw.send(&frame(
        HEADERS,
        END_HEADERS,
        1,
        &block("/v1/events?channel=a"),
    ));
    raw.answered(1);
    let stream = u32::from(kind == DATA);
    // A second's worth and half of it again, sent in far less.
    let flood = frame(kind, 0, stream, payload).repeat(1_500);
    raw.socket.write_all(&flood).unwrap_or_default();
    raw.end();
    wait("counted", &1.0, PATIENCE, || {
        node.metric(&ended("control_frames"))
    });
}

/// A header block without an end (CVE-2024-27316): ended once it is far over a head's size, having cost no more memory.
#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let node = Process::start(&[]);
    let before = node.metric(MEMORY);
    // Literals that enter no table, each name once: valid, so that only the size can end it.
    let piece = frame(CONTINUATION, 0, 1, &b"\x00\x01a\x01b".repeat(3_000));
    for _ in 0..20 {
        let mut raw = Raw::open(node.public);
        raw.send(&frame(
            HEADERS,
            END_STREAM,
            1,
            &block("/v1/events?channel=a"),
        ));
        for _ in 0..1_000 {
            if raw.socket.write_all(&piece).is_err() {
                break;
            }
        }
        raw.end();
    }
    assert_eq!(node.metric(&ended("header_block")), 20.0);
    let grown = node.metric(MEMORY) - before;
    assert!(grown < 16.0 * MIB, "{} MiB more", grown / MIB);
}

/// A small block that unfolds to megabytes: one entry of the table, named again and again. It is answered with 431, on as
/// many streams as fit, and memory stays.
#[test]
fn a_header_bomb_is_answered_with_431_and_costs_little() {
    let node = Process::start(&[]);
    let before = node.metric(MEMORY);
    let mut raw = Raw::open(node.public);
    // Puts `x: <4,000 bytes>` into the table (RFC 7541, 6.2.1); from then on 0xbe is that field.
    let mut first = block("/v1/events?channel=a");
    first.extend_from_slice(b"\x40\x01x\x7f\xa1\x1e");
    first.extend_from_slice(&[b'y'; 4_000]);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    raw.answered(1);
    // 16 KiB on the wire, 64 MB unfolded.
    let mut bomb = block("/v1/events?channel=a");
    bomb.resize(16_000, 0xbe);
    let bomb = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb);
    for number in 1..=100 {
        let stream = number * 2 + 1;
        raw.send(&bomb(stream));
        let head = std::iter::from_fn(|| raw.next())
            .find(|frame| frame.kind == HEADERS && frame.stream == stream);
        // Index 8 is `:status: 200`; what is over the library's own bound it answers itself, the rest is ours.
        assert_ne!(head.expect("an answer").payload[0], 0x88, "it is refused");
    }
    assert!(raw.answers());
    assert_eq!(node.metric("sluice_connections_opened_total"), 1.0);
    let grown = node.metric(MEMORY) - before;
    assert!(grown < 32.0 * MIB, "{} MiB more", grown / MIB);
}

/// More header names than a map of them can hold: without the limit of a block the library's map panics.
#[test]
fn more_names_than_a_map_can_hold_do_not_panic() {
    let node = Process::start(&[]);
    let mut raw = Raw::open(node.public);
    let mut names = Vec::new();
    for number in 0..40_000_u32 {
        let name = format!("{number:06}");
        names.extend_from_slice(b"\x00\x06");
        names.extend_from_slice(name.as_bytes());
        names.extend_from_slice(b"\x00");
    }
    raw.send(&frame(
        HEADERS,
        END_STREAM,
        1,
        &block("/v1/events?channel=a"),
    ));
    let pieces: Vec<&[u8]> = names.chunks(16_000).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let flags = if number + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        if raw
            .socket
            .write_all(&frame(CONTINUATION, flags, 1, piece))
            .is_err()
        {
            break;
        }
    }
    raw.end();
    wait("counted", &1.0, PATIENCE, || {
        node.metric(&ended("header_block"))
    });
    assert!(!node.log().contains("panicked"), "{}", node.log());
    assert!(Raw::open(node.public).answers());
}

/// A connection without a stream is closed though its client answers every PING; one with a stream is not.
#[test]
fn an_idle_connection_is_closed_and_a_quiet_stream_is_not() {
    let settings = [("HTTP__KEEP_ALIVE", "1s"), ("STREAM__HEARTBEAT", "1m")];
    let node = Node::embedded(&settings).ready();
    let streaming = std::thread::spawn({
        let address = node.public;
        move || {
            let mut raw = Raw::open(address);
            raw.send(&ask(1));
            raw.answered(1);
            // Answers PINGs for four times as long as an idle connection may stay.
            let since = Instant::now();
            while since.elapsed() < Duration::from_secs(4) {
                let frame = raw.next().expect("it stays open");
                if frame.kind == PING && frame.flags == 0 {
                    raw.send(&pong(&frame));
                }
            }
            assert!(raw.answers());
        }
    });
    let mut idle = Raw::open(node.public);
    let since = Instant::now();
    let mut code = None;
    while let Some(frame) = idle.next() {
        assert!(since.elapsed() < Duration::from_secs(8), "it is still open");
        if frame.kind == PING {
            idle.socket.write_all(&pong(&frame)).unwrap_or_default();
        } else if frame.kind == GOAWAY {
            code = Some(frame.payload[4..8].to_vec());
        }
    }
    assert_eq!(code, Some(vec![0; 4]), "NO_ERROR");
    wait("counted", &1.0, PATIENCE, || node.metric(&ended("idle")));
    streaming.join().expect("the stream stayed");
}

/// A peer that no longer answers a PING is let go, streams and all.
#[test]
fn a_peer_that_answers_no_ping_is_let_go() {
    let settings = [("HTTP__KEEP_ALIVE", "1s"), ("STREAM__HEARTBEAT", "1m")];
    let node = Node::embedded(&settings).ready();
    let mut raw = Raw::open(node.public);
    raw.send(&ask(1));
    raw.answered(1);
    find("it is gone", PATIENCE, || {
        (node.metric("sluice_connections") == 0.0).then_some(())
    });
    raw.end();
}

/// A head at its limit is taken, one byte more is 431, and the connection goes on.
#[test]
fn a_head_has_a_limit() {
    let node = Node::embedded(&[("HTTP__HEAD_BYTES", "4KiB")]).ready();
    block_on(async {
        let mut connection = Connection::open(&node).await;
        // `x-filler: …\r\n`, after the target.
        let around = "/nothing".len() + "x-filler".len() + 4;
        let most = "y".repeat(4_096 - around);
        let answer = connection
            .get("/nothing", &[("x-filler", &most)])
            .await
            .await;
        assert_eq!(answer.expect("an answer").status(), 404);
        let over = "y".repeat(4_096 - around + 1);
        let answer = connection
            .get("/nothing", &[("x-filler", &over)])
            .await
            .await;
        assert_eq!(answer.expect("an answer").status(), 431);
        drop(connection.stream().await);
    });
}

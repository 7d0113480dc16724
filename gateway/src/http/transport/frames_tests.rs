use super::*;

const LIMITS: Http2Limits = Http2Limits {
    streams: 3,
    resets_per_second: 4,
    head_bytes: 1_000,
    idle: Duration::from_secs(10),
};
const SECOND: Duration = Duration::from_secs(1);

fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    let size = u32::try_from(length).expect("small").to_be_bytes();
    let mut bytes = vec![size[1], size[2], size[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.resize(HEAD_BYTES + length, 0xff);
    bytes
}

/// A guard whose client has sent its preface and knows the settings.
fn guard(now: Instant) -> Guard {
    let mut guard = Guard::new(LIMITS, now);
    guard.received(&begun(&[]), now).expect("a beginning");
    let told = frame(SETTINGS, END_STREAM_OR_ACK, 0, 0);
    guard.received(&told, now).expect("an acknowledgement");
    guard
}

/// What a client begins with, and these frames.
fn begun(frames: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, 12)[..], frames].concat()
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM_OR_ACK, stream, 20)
}

#[test]
fn streams_are_counted_until_both_sides_have_ended_or_one_resets() {
    let now = Instant::now();
    let mut guard = guard(now);
    for stream in [1, 3, 5] {
        assert_eq!(guard.received(&request(stream), now), Ok(()));
    }
    // One answered, one reset by either side: three more have room.
    guard.sent(&frame(HEADERS, END_HEADERS, 1, 9), now);
    guard.sent(&frame(DATA, END_STREAM_OR_ACK, 1, 0), now);
    guard.sent(&frame(RST_STREAM, 0, 3, 4), now);
    assert_eq!(guard.received(&frame(RST_STREAM, 0, 5, 4), now), Ok(()));
    for stream in [7, 9, 11] {
        assert_eq!(guard.received(&request(stream), now), Ok(()));
    }
    assert_eq!(
        guard.received(&request(13), now),
        Err(TransportEnd::Streams)
    );
}

/// An answer that ends before its request does not end the stream.
#[test]
fn a_half_open_stream_counts() {
    let now = Instant::now();
    let mut guard = guard(now);
    for stream in [1, 3, 5] {
        let open = frame(HEADERS, END_HEADERS, stream, 20);
        assert_eq!(guard.received(&open, now), Ok(()));
        guard.sent(
            &frame(HEADERS, END_HEADERS | END_STREAM_OR_ACK, stream, 9),
            now,
        );
    }
    assert_eq!(guard.received(&request(7), now), Err(TransportEnd::Streams));
}

/// A client cannot keep to a limit that it has not been told.
#[test]
fn the_limit_of_streams_holds_once_it_is_acknowledged() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, now);
    guard.received(PREFACE, now).expect("a preface");
    for stream in 0..STREAMS_UNTOLD as u32 {
        assert_eq!(guard.received(&request(stream * 2 + 1), now), Ok(()));
    }
    let one_more = request(STREAMS_UNTOLD as u32 * 2 + 1);
    assert_eq!(guard.received(&one_more, now), Err(TransportEnd::Streams));
}

#[test]
fn resets_have_a_rate() {
    let now = Instant::now();
    let mut guard = guard(now);
    let mut reset = |stream: u32, at: Instant| {
        guard.received(&request(stream), at).expect("room");
        guard.received(&frame(RST_STREAM, 0, stream, 4), at)
    };
    for number in 0..LIMITS.resets_per_second {
        assert_eq!(reset(number * 2 + 1, now), Ok(()));
    }
    assert_eq!(
        reset(101, now + SECOND / 4),
        Ok(()),
        "one more after its time"
    );
    assert_eq!(reset(103, now + SECOND / 4), Err(TransportEnd::Resets));
}

#[test]
fn control_frames_have_a_rate_and_window_updates_a_larger_one() {
    let now = Instant::now();
    for kind in [PING, SETTINGS, PRIORITY, DATA, 0x42] {
        let mut guard = guard(now + SECOND);
        let control = frame(kind, 0, 0, 0);
        let sent =
            (0..=CONTROL_FRAMES_PER_SECOND).position(|_| guard.received(&control, now).is_err());
        // The settings and their acknowledgement were two, a second ago.
        assert_eq!(
            sent,
            Some(CONTROL_FRAMES_PER_SECOND as usize - 2),
            "kind {kind}"
        );
    }
    let mut guard = guard(now);
    let update = frame(WINDOW_UPDATE, 0, 1, 4);
    for _ in 0..WINDOW_UPDATES_PER_SECOND {
        assert_eq!(guard.received(&update, now), Ok(()));
    }
    assert_eq!(
        guard.received(&update, now),
        Err(TransportEnd::ControlFrames)
    );
}

/// The block's bytes count with all its pieces, and the pieces even when they are empty.
#[test]
fn a_header_block_has_a_limit() {
    let now = Instant::now();
    let most = LIMITS.block_bytes();
    let whole = |length: usize| frame(HEADERS, END_HEADERS, 1, length);
    assert_eq!(guard(now).received(&whole(most - HEAD_BYTES), now), Ok(()));
    let over = guard(now).received(&whole(most - HEAD_BYTES + 1), now);
    assert_eq!(over, Err(TransportEnd::HeaderBlock));

    let mut guard = guard(now);
    guard
        .received(&frame(HEADERS, 0, 1, 20), now)
        .expect("a beginning");
    assert!(guard.head_since().is_some());
    let piece = frame(CONTINUATION, 0, 1, 0);
    let pieces = (0..most).position(|_| guard.received(&piece, now).is_err());
    assert_eq!(pieces, Some((most - 20) / HEAD_BYTES - 1));

    let mut guard = self::guard(now);
    guard
        .received(&frame(HEADERS, 0, 1, 20), now)
        .expect("a beginning");
    guard
        .received(&frame(CONTINUATION, END_HEADERS, 1, 20), now)
        .expect("an end");
    assert_eq!(guard.head_since(), None);
}

/// A beginning is over with the last byte of SETTINGS, a block with the last byte of the frame that ends it, however the
/// bytes are cut.
#[test]
fn a_head_is_over_with_its_last_byte() {
    let now = Instant::now();
    let beginning = begun(&[]);
    let whole = request(1);
    let pieces = [
        frame(HEADERS, 0, 3, 20),
        frame(CONTINUATION, 0, 3, 0),
        frame(CONTINUATION, END_HEADERS, 3, 20),
    ]
    .concat();
    let empty_end = [
        frame(HEADERS, 0, 5, 20),
        frame(CONTINUATION, END_HEADERS, 5, 0),
    ]
    .concat();
    for block in [whole, pieces, empty_end] {
        let ping = frame(PING, 0, 0, 8);
        let bytes = [&beginning[..], &ping, &block, &ping].concat();
        let begins = beginning.len() + ping.len();
        for cut in 0..bytes.len() {
            let is_head =
                cut < beginning.len() || (begins + HEAD_BYTES..begins + block.len()).contains(&cut);
            for step in [1, 7, bytes.len()] {
                let mut guard = Guard::new(LIMITS, now);
                for piece in bytes[..cut].chunks(step) {
                    guard.received(piece, now).expect("within the limits");
                }
                assert_eq!(
                    guard.head_since(),
                    is_head.then_some(now),
                    "{cut} in steps of {step}"
                );
            }
        }
    }
}

/// SETTINGS without a payload are a beginning; another frame, or an acknowledgement, is none, whatever follows.
#[test]
fn only_settings_are_a_beginning() {
    let now = Instant::now();
    let with = |first: Vec<u8>| {
        let mut guard = Guard::new(LIMITS, now);
        let bytes = [PREFACE, &first[..], &frame(SETTINGS, 0, 0, 0), &request(1)].concat();
        guard
            .received(&bytes, now + SECOND)
            .expect("within the limits");
        guard.head_since()
    };
    assert_eq!(with(frame(SETTINGS, 0, 0, 0)), None);
    for kind in [DATA, HEADERS, PRIORITY, PING, WINDOW_UPDATE, 0x42] {
        assert_eq!(
            with(frame(kind, END_HEADERS, 0, 8)),
            Some(now),
            "kind {kind}"
        );
    }
    assert_eq!(with(frame(SETTINGS, END_STREAM_OR_ACK, 0, 0)), Some(now));
}

/// A block's time is counted from its own first frame, though the block before ended in the same read.
#[test]
fn each_block_has_a_time_of_its_own() {
    let now = Instant::now();
    let mut guard = guard(now);
    let (first, second) = (request(1), request(3));
    guard.received(&first[..20], now + SECOND).expect("room");
    assert_eq!(guard.head_since(), Some(now + SECOND));
    let both = [&first[20..], &second[..20]].concat();
    guard.received(&both, now + SECOND * 2).expect("room");
    assert_eq!(guard.head_since(), Some(now + SECOND * 2));
    guard
        .received(&second[20..28], now + SECOND * 3)
        .expect("room");
    assert_eq!(guard.head_since(), Some(now + SECOND * 2), "a trickle");
    guard
        .received(&second[28..], now + SECOND * 3)
        .expect("room");
    assert_eq!(guard.head_since(), None);
}

/// Only a connection without a stream is idle, and it is looked at when it answers a PING.
#[test]
fn an_idle_connection_ends_with_the_answer_to_a_ping() {
    let now = Instant::now();
    let mut guard = guard(now);
    let pong = frame(PING, END_STREAM_OR_ACK, 0, 8);
    assert_eq!(guard.received(&pong, now + LIMITS.idle / 2), Ok(()));
    guard
        .received(&request(1), now + LIMITS.idle)
        .expect("room");
    assert_eq!(guard.received(&pong, now + LIMITS.idle * 3), Ok(()));
    guard.sent(&frame(DATA, END_STREAM_OR_ACK, 1, 0), now + LIMITS.idle * 3);
    assert_eq!(guard.received(&pong, now + LIMITS.idle * 3), Ok(()));
    let end = guard.received(&pong, now + LIMITS.idle * 4);
    assert_eq!(end, Err(TransportEnd::Idle));
    let goaway = guard.goaway(TransportEnd::Idle).expect("between frames");
    assert_eq!(goaway[..9], frame(GOAWAY, 0, 0, 8)[..9]);
    assert_eq!(
        goaway[9..],
        [0, 0, 0, 1, 0, 0, 0, 0],
        "the last stream, NO_ERROR"
    );
    guard.sent(&frame(DATA, 0, 1, 100)[..50], now);
    assert_eq!(guard.goaway(TransportEnd::Idle), None, "inside a frame");
}

/// The count does not depend on how the bytes are cut.
#[test]
fn frames_are_found_however_their_bytes_are_cut() {
    let now = Instant::now();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, 6));
    bytes.extend(frame(SETTINGS, END_STREAM_OR_ACK, 0, 0));
    for stream in [1, 3, 5] {
        bytes.extend(request(stream));
        bytes.extend(frame(DATA, 0, stream, 300));
    }
    for size in 1..64 {
        let mut guard = Guard::new(LIMITS, now);
        for piece in bytes.chunks(size) {
            assert_eq!(guard.received(piece, now), Ok(()), "pieces of {size}");
        }
        assert_eq!(guard.open.len(), 3, "pieces of {size}");
        assert_eq!(guard.received(&request(7), now), Err(TransportEnd::Streams));
    }
}

#[test]
fn the_first_settings_tell_the_limits() {
    let mut first = frame(SETTINGS, 0, 0, 6);
    let rest = frame(WINDOW_UPDATE, 0, 0, 4);
    for end in 0..first.len() {
        assert_eq!(announce(&first[..end], &LIMITS), None);
    }
    let settings = first[HEAD_BYTES..].to_vec();
    first.extend_from_slice(&rest);
    let told = announce(&first, &LIMITS).expect("complete");
    let mut wanted = frame(SETTINGS, 0, 0, 18)[..HEAD_BYTES].to_vec();
    wanted.extend_from_slice(&settings);
    wanted.extend_from_slice(&[0, 3, 0, 0, 0, 3, 0, 6, 0, 0, 0x03, 0xe8]);
    wanted.extend_from_slice(&rest);
    assert_eq!(told, wanted);
}

//! HTTP/2 frames that are wrong (RFC 9113, RFC 7541), behind a preface that is right, and wrong prefaces.

use super::{Case, Expect, http2_requests};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

pub(super) const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
/// A head that is whole and has no body.
pub(super) const WHOLE: u8 = END_HEADERS | END_STREAM;
/// One frame's payload, as both sides begin (RFC 9113, 6.5.2).
const FRAME_BYTES: usize = 16_384;

pub fn cases() -> Vec<Case> {
    let mut cases = prefaces();
    cases.extend(connection_errors());
    cases.extend(header_blocks());
    cases.extend(http2_requests::cases());
    cases.extend(floods());
    cases
}

/// A frame, or several, by what is wrong with it.
type Named = (&'static str, Vec<u8>);

/// A connection that begins in order.
pub(super) fn opened(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b""), &frames.concat()].concat()
}

/// The same, with a PING behind.
pub(super) fn pinged(frames: &[Vec<u8>]) -> Vec<u8> {
    [opened(frames), frame(PING, 0, 0, b"sluice!!")].concat()
}

fn prefaces() -> Vec<Case> {
    let one =
        |name: &str, bytes: Vec<u8>, expect| Case::new(format!("preface {name}"), bytes, expect);
    vec![
        one(
            "in lower case",
            b"pri * http/2.0\r\n\r\nsm\r\n\r\n".to_vec(),
            Expect::Refused,
        ),
        one(
            "with another target",
            b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            Expect::Refused,
        ),
        one(
            "with bare LF",
            b"PRI * HTTP/2.0\n\nSM\n\n".to_vec(),
            Expect::Ended,
        ),
        one(
            "of HTTP/2.1",
            b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n".to_vec(),
            Expect::Ended,
        ),
        one(
            "with another word",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
            Expect::Ended,
        ),
        one("cut short", PREFACE[..20].to_vec(), Expect::Ended),
        one(
            "and a request line",
            [&b"PRI * HTTP/2.0\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"].concat(),
            Expect::Ended,
        ),
        one(
            "and TLS",
            [PREFACE, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"].concat(),
            Expect::Ended,
        ),
        one(
            "and HTTP/1",
            [PREFACE, b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
            Expect::Ended,
        ),
        one(
            "and HEADERS before SETTINGS",
            [
                PREFACE,
                &frame(HEADERS, WHOLE, 1, &head("GET", "/v1/events", &[])),
            ]
            .concat(),
            Expect::Ended,
        ),
        one("and 0xff", [PREFACE, &[0xff; 64]].concat(), Expect::Ended),
        one("and nothing", PREFACE.to_vec(), Expect::Ended),
    ]
}

/// Frames that are an error of the connection, each behind a sound beginning.
fn connection_errors() -> Vec<Case> {
    let ended = [settings(), controls(), streams()].concat().into_iter();
    let ended = ended.map(|(name, frame)| Case::new(name, opened(&[frame]), Expect::Ended));
    let survived = survived().into_iter();
    let survived =
        survived.map(|(name, frame)| Case::new(name, pinged(&[frame]), Expect::Survived));
    ended.chain(survived).collect()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A request that a sound connection answers with 400.
fn good() -> Vec<u8> {
    head("GET", "/v1/events?channel=a%20b", &[])
}

/// Wrong settings, and frames over the size that both sides begin with.
fn settings() -> Vec<Named> {
    vec![
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, b"")),
        (
            "SETTINGS of five bytes",
            frame(SETTINGS, 0, 0, b"\0\x01\0\0\0"),
        ),
        (
            "SETTINGS ACK with a payload",
            frame(SETTINGS, ACK, 0, &setting(1, 0)),
        ),
        ("ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, &setting(2, 2))),
        (
            "INITIAL_WINDOW_SIZE of 2^31",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
        ),
        ("MAX_FRAME_SIZE of 1", frame(SETTINGS, 0, 0, &setting(5, 1))),
        (
            "MAX_FRAME_SIZE of 2^24",
            frame(SETTINGS, 0, 0, &setting(5, 1 << 24)),
        ),
        (
            "oversize SETTINGS",
            frame(
                SETTINGS,
                0,
                0,
                &setting(0xee, 1).repeat(FRAME_BYTES / 6 + 1),
            ),
        ),
        ("oversize DATA", frame(DATA, 0, 1, &[0; FRAME_BYTES + 1])),
        (
            "oversize HEADERS",
            frame(HEADERS, END_HEADERS, 1, &[0x82; FRAME_BYTES + 1]),
        ),
        (
            "oversize of an unknown type",
            frame(0xee, 0, 0, &[0; FRAME_BYTES + 1]),
        ),
    ]
}

/// Wrong frames about the connection, and of the wrong length.
fn controls() -> Vec<Named> {
    vec![
        ("PING of seven bytes", frame(PING, 0, 0, b"1234567")),
        ("PING of nine bytes", frame(PING, 0, 0, b"123456789")),
        ("PING of a stream", frame(PING, 0, 1, b"12345678")),
        ("GOAWAY of four bytes", frame(GOAWAY, 0, 0, b"1234")),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 1, b"12345678")),
        (
            "RST_STREAM of no stream",
            frame(RST_STREAM, 0, 0, b"\0\0\0\0"),
        ),
        (
            "RST_STREAM of three bytes",
            frame(RST_STREAM, 0, 1, b"\0\0\0"),
        ),
        (
            "RST_STREAM of an idle stream",
            frame(RST_STREAM, 0, 9, b"\0\0\0\0"),
        ),
        (
            "PRIORITY of no stream",
            frame(PRIORITY, 0, 0, b"\0\0\0\0\0"),
        ),
        (
            "WINDOW_UPDATE of three bytes",
            frame(WINDOW_UPDATE, 0, 0, b"\0\0\0"),
        ),
        (
            "WINDOW_UPDATE of nothing",
            frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
        ),
        (
            "WINDOW_UPDATE of an idle stream",
            frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\x01"),
        ),
        (
            "WINDOW_UPDATE past 2^31",
            frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        ),
    ]
}

/// Frames of streams that cannot be theirs.
fn streams() -> Vec<Named> {
    let good = good();
    let padded = [&[255_u8][..], &good].concat();
    vec![
        ("DATA of no stream", frame(DATA, 0, 0, b"x")),
        ("DATA of an idle stream", frame(DATA, 0, 1, b"x")),
        ("HEADERS of no stream", frame(HEADERS, WHOLE, 0, &good)),
        (
            "HEADERS of a server's stream",
            frame(HEADERS, WHOLE, 2, &good),
        ),
        (
            "HEADERS of nothing but padding",
            frame(HEADERS, WHOLE | PADDED, 1, &padded),
        ),
        (
            "CONTINUATION without HEADERS",
            frame(CONTINUATION, END_HEADERS, 1, b""),
        ),
        (
            "PING inside a head",
            [frame(HEADERS, 0, 1, &good), frame(PING, 0, 0, b"12345678")].concat(),
        ),
        (
            "CONTINUATION of another stream",
            [
                frame(HEADERS, 0, 1, &good),
                frame(CONTINUATION, END_HEADERS, 3, b""),
            ]
            .concat(),
        ),
        (
            "PUSH_PROMISE of a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"),
        ),
    ]
}

/// What is strange and allowed.
fn survived() -> Vec<Named> {
    vec![
        ("an unknown type", frame(0xee, 0xff, 7, b"anything")),
        (
            "unknown settings",
            frame(SETTINGS, 0, 0, &setting(0xeeee, 0xffff_ffff).repeat(500)),
        ),
        ("unknown flags", frame(PING, 0xfe, 0, b"12345678")),
        (
            "a reserved bit",
            frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\x01"),
        ),
        (
            "PRIORITY of an idle stream",
            frame(PRIORITY, 0, 99, b"\0\0\0\0\x10"),
        ),
        (
            "WINDOW_UPDATE of the connection",
            frame(WINDOW_UPDATE, 0, 0, b"\0\x01\0\0"),
        ),
    ]
}

/// Header blocks that no decoder may take (RFC 7541).
fn header_blocks() -> Vec<Case> {
    let blocks: [(&str, Vec<u8>); 12] = [
        ("index 0", vec![0x80]),
        ("an index of nothing", vec![0xff, 0xff, 0x03]),
        ("an endless integer", [&[0x7f][..], &[0xff; 12]].concat()),
        ("an integer cut short", vec![0x7f, 0xff]),
        ("a name longer than the block", vec![0x00, 0x7e, b'a']),
        (
            "a name of 2^31 bytes",
            vec![0x00, 0x7f, 0x80, 0xff, 0xff, 0xff, 0x07],
        ),
        (
            "Huffman of nothing but ones",
            vec![0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'a'],
        ),
        (
            "Huffman padded too long",
            vec![0x00, 0x82, 0x1f, 0xff, 0x01, b'a'],
        ),
        ("a table larger than allowed", vec![0x3f, 0xff, 0xff, 0x03]),
        ("a table's size behind a field", vec![0x82, 0x20]),
        ("a value cut short", vec![0x04, 0x05, b'/']),
        ("a name's index of nothing", vec![0x7e, 0x01, b'a']),
    ];
    blocks
        .map(|(name, block)| {
            Case::new(
                format!("HPACK {name}"),
                opened(&[frame(HEADERS, WHOLE, 1, &block)]),
                Expect::Ended,
            )
        })
        .to_vec()
}

/// More than there is any use for.
fn floods() -> Vec<Case> {
    let good = good();
    let begun = frame(HEADERS, END_STREAM, 1, &good);
    let reset = |stream: u32| {
        [
            frame(HEADERS, END_HEADERS, stream, &good),
            frame(RST_STREAM, 0, stream, b"\0\0\0\x08"),
        ]
        .concat()
    };
    // One field of 4,000 bytes in the table, named by one byte each time: 64 MB of head in two frames.
    let entry = [&[0x40, 0x01, b'x', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4_000]].concat();
    let bomb = [&good[..], &entry, &[0xbe; 12_000]].concat();
    let field = literal(b"x-filler", &[b'v'; 1_000]);
    let many = |count: usize, one: Vec<u8>| vec![one.repeat(count)];
    vec![
        Case::new(
            "10,000 SETTINGS",
            pinged(&many(10_000, frame(SETTINGS, 0, 0, b""))),
            Expect::Survived,
        ),
        Case::new(
            "10,000 PINGs",
            pinged(&many(10_000, frame(PING, 0, 0, b"12345678"))),
            Expect::Survived,
        ),
        Case::new(
            "10,000 PRIORITYs",
            pinged(&many(10_000, frame(PRIORITY, 0, 99, b"\0\0\0\0\x10"))),
            Expect::Survived,
        ),
        Case::new(
            "10,000 frames of an unknown type",
            pinged(&many(10_000, frame(0xee, 0, 0, b""))),
            Expect::Survived,
        ),
        Case::new(
            "10,000 empty CONTINUATIONs",
            opened(&[begun.clone(), frame(CONTINUATION, 0, 1, b"").repeat(10_000)]),
            Expect::Ended,
        ),
        Case::new(
            "2,000 CONTINUATIONs of 16 KB",
            opened(&[
                begun,
                frame(CONTINUATION, 0, 1, &field.repeat(16)).repeat(2_000),
            ]),
            Expect::Ended,
        ),
        Case::new(
            "1,000 streams reset at once",
            pinged(&(0..1_000).map(|n| reset(2 * n + 1)).collect::<Vec<_>>()),
            Expect::Survived,
        ),
        Case::new(
            "a head of 48 MB in 16 KB",
            opened(&[frame(HEADERS, WHOLE, 1, &bomb)]),
            Expect::StreamRefused,
        ),
    ]
}

/// A request's head without Huffman codes and without the table.
pub(super) fn head(method: &str, path: &str, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = literal(b":method", method.as_bytes());
    block.extend(literal(b":scheme", b"http"));
    block.extend(literal(b":authority", b"sluice.test"));
    block.extend(literal(b":path", path.as_bytes()));
    for (name, value) in fields {
        block.extend(literal(name, value));
    }
    block
}

/// A literal field without indexing (RFC 7541, 6.2.2).
pub(super) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0x00];
    for text in [name, value] {
        // An integer with a prefix of seven bits (RFC 7541, 5.1).
        let mut length = text.len();
        if length < 127 {
            field.push(length as u8);
        } else {
            field.push(127);
            length -= 127;
            while length >= 128 {
                field.push((length % 128) as u8 | 0x80);
                length /= 128;
            }
            field.push(length as u8);
        }
        field.extend_from_slice(text);
    }
    field
}

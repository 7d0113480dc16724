//! Lengths and chunks that two readers could understand differently (RFC 9112, 6.3 and 11.2): behind each stands a
//! whole second request, which must never be taken for one.

use super::{Case, Expect, REFUSED, SMUGGLED, TAKEN, request, shown};

/// Values of `Content-Length` that are no length, or an impossible one.
const LENGTHS: [&[u8]; 17] = [
    b"-1",
    b"+1",
    b"1 1",
    b"1,1",
    b"1, 2",
    b"0x1",
    b"1e0",
    b"1.0",
    b"",
    b"one",
    b"1;1",
    b"\"1\"",
    b"99999999999999999999",
    b"18446744073709551616",
    b"1\x00",
    b"\xb2",
    b"\xd9\xa1",
];

/// Pairs and forms of framing fields that must be refused with the connection.
const FIELDS: [&[&[u8]]; 26] = [
    &[b"Content-Length: 1", b"Content-Length: 2"],
    &[b"Content-Length: 2", b"Content-Length: 1"],
    &[b"Content-Length: 1", b"content-length: 0"],
    &[b"Content-Length: 1", b"Transfer-Encoding: chunked"],
    &[b"Transfer-Encoding: chunked", b"Content-Length: 1"],
    &[b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    &[b"Content-Length: 1", b"Transfer-Encoding: identity"],
    &[b"Content-Length: 1", b"Transfer-Encoding: xchunked"],
    &[b"Content-Length: 1", b"Transfer-Encoding : chunked"],
    &[b"Content-Length: 1", b"Transfer-Encoding\t: chunked"],
    &[b"Content-Length: 1", b" Transfer-Encoding: chunked"],
    &[b"Content-Length: 1", b"X: y\rTransfer-Encoding: chunked"],
    &[b"Content-Length: 1", b"Transfer-Encoding:\x0bchunked"],
    &[b"Content-Length: 1", b"Transfer-Encoding: chunked\x00"],
    &[b"Content-Length: 1", b"Transfer-\x00Encoding: chunked"],
    &[b"Transfer-Encoding: xchunked"],
    &[b"Transfer-Encoding: identity"],
    &[b"Transfer-Encoding: chunked, identity"],
    &[b"Transfer-Encoding: chunked, gzip"],
    &[b"Transfer-Encoding: identity, chunked"],
    &[b"Transfer-Encoding: chunked, chunked"],
    &[b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    &[
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
    ],
    &[b"Transfer-Encoding: \"chunked\""],
    &[b"Transfer-Encoding: chunked;q=1"],
    &[b"Transfer-Encoding: "],
];

/// Chunked bodies that are none.
const CHUNKS: [&[u8]; 23] = [
    b"g\r\nx\r\n0\r\n\r\n",
    b"-1\r\nx\r\n0\r\n\r\n",
    b"+1\r\nx\r\n0\r\n\r\n",
    b"0x1\r\nx\r\n0\r\n\r\n",
    b"1_0\r\nx\r\n0\r\n\r\n",
    b"\r\nx\r\n0\r\n\r\n",
    b" \r\nx\r\n0\r\n\r\n",
    b";ext\r\nx\r\n0\r\n\r\n",
    b"1\rx\r\n0\r\n\r\n",
    b"1\nx\n0\n\n",
    b"1\r\nx0\r\n\r\n",
    b"1\r\nxy\r\n0\r\n\r\n",
    b"1\r\nx\n0\n\n",
    b"1\r\nx\r0\r\n\r\n",
    b"2\r\nx\r\n0\r\n\r\n",
    b"1\x00\r\nx\r\n0\r\n\r\n",
    b"1 1\r\nx\r\n0\r\n\r\n",
    b"1;a\rb\r\nx\r\n0\r\n\r\n",
    b"1;a\nb\r\nx\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nx\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nx\r\n0\r\n\r\n",
    b"10000000000000000\r\nx\r\n0\r\n\r\n",
    b"8000000000000001\r\nx\r\n0\r\n\r\n",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let host = &b"Host: sluice.test"[..];
    let publish = format!("POST /v1/channels/{REFUSED}/events HTTP/1.1");
    for value in LENGTHS {
        let field = [b"Content-Length: ", value].concat();
        let body = [b"x", &hidden()[..]].concat();
        let bytes = request(publish.as_bytes(), &[host, &field], &body);
        let name = format!("length {}", shown(value));
        cases.push(Case::new(name, bytes, Expect::RefusedAndClosed));
    }
    for fields in FIELDS {
        for (how, body) in [
            ("chunked", &b"1\r\nx\r\n0\r\n\r\n"[..]),
            ("ended", b"0\r\n\r\n"),
        ] {
            let all: Vec<&[u8]> = [host].into_iter().chain(fields.iter().copied()).collect();
            let body = [body, &hidden()[..]].concat();
            let bytes = request(publish.as_bytes(), &all, &body);
            let name = format!("framing {}, {how}", shown(&fields.join(&b" | "[..])));
            cases.push(Case::new(name, bytes, Expect::RefusedAndClosed));
        }
    }
    for body in CHUNKS {
        let body = [body, &hidden()[..]].concat();
        let bytes = request(
            publish.as_bytes(),
            &[host, b"Transfer-Encoding: chunked"],
            &body,
        );
        let name = format!("chunks {}", shown(&body[..24]));
        cases.push(Case::new(name, bytes, Expect::RefusedAndClosed));
    }
    cases.extend(old_and_open());
    cases.extend(sound());
    cases
}

/// A whole request that publishes to the channel that must stay without a head.
fn hidden() -> Vec<u8> {
    let line = format!("POST /v1/channels/{SMUGGLED}/events HTTP/1.1");
    request(
        line.as_bytes(),
        &[b"Host: sluice.test", b"Content-Length: 1"],
        b"y",
    )
}

/// Chunks in HTTP/1.0, and bodies that never come to their end.
fn old_and_open() -> Vec<Case> {
    let host = &b"Host: sluice.test"[..];
    let chunked = &b"Transfer-Encoding: chunked"[..];
    let of = |version: &str, fields: &[&[u8]], body: &[u8]| {
        let line = format!("POST /v1/channels/{REFUSED}/events HTTP/{version}");
        request(line.as_bytes(), fields, body)
    };
    let long = "e".repeat(256 * 1_024);
    let trailers = "T: x\r\n".repeat(40_000);
    let zeros = "0".repeat(100_000);
    [
        (
            "chunks in HTTP/1.0",
            of(
                "1.0",
                &[host, chunked],
                &[b"1\r\nx\r\n0\r\n\r\n", &hidden()[..]].concat(),
            ),
        ),
        (
            "a body cut short",
            of("1.1", &[host, b"Content-Length: 10"], b"x"),
        ),
        (
            "no body at all",
            of("1.1", &[host, b"Content-Length: 10"], b""),
        ),
        ("a chunk cut short", of("1.1", &[host, chunked], b"5\r\nx")),
        ("no last chunk", of("1.1", &[host, chunked], b"1\r\nx\r\n")),
        ("a size without an end", of("1.1", &[host, chunked], b"1")),
        (
            "zeros without an end",
            of("1.1", &[host, chunked], zeros.as_bytes()),
        ),
        (
            "an extension of 256 KiB",
            of("1.1", &[host, chunked], format!("1;{long}\r\n").as_bytes()),
        ),
        (
            "40,000 trailers",
            of(
                "1.1",
                &[host, chunked],
                format!("1\r\nx\r\n0\r\n{trailers}").as_bytes(),
            ),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| Case::new(name, bytes, Expect::Refused))
    .collect()
}

/// What is strange and allowed: were these refused too, the ones above would prove nothing.
fn sound() -> Vec<Case> {
    let of = |fields: &[&[u8]], body: &[u8]| {
        let line = format!("POST /v1/channels/{TAKEN}/events HTTP/1.1");
        request(line.as_bytes(), fields, body)
    };
    let host = &b"Host: sluice.test"[..];
    [
        (
            "capitals",
            of(
                &[host, b"TRANSFER-ENCODING: ChunKed"],
                b"1\r\nx\r\n0\r\n\r\n",
            ),
        ),
        (
            "an extension",
            of(
                &[host, b"Transfer-Encoding: chunked"],
                b"1;a=b\r\nx\r\n0\r\n\r\n",
            ),
        ),
        (
            "leading zeros",
            of(
                &[host, b"Transfer-Encoding: chunked"],
                b"0001\r\nx\r\n0\r\n\r\n",
            ),
        ),
        ("no body", of(&[host, b"Content-Length: 0"], b"")),
        // Nobody reads trailers: these end where the second request's head does, and so does the request.
        (
            "trailers that are none",
            of(
                &[host, b"Transfer-Encoding: chunked"],
                &[b"0\r\nx", &hidden()[..]].concat(),
            ),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| Case::new(name, bytes, Expect::Holds("\"id\":")))
    .collect()
}

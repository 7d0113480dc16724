//! Requests over HTTP/2 whose frames are sound and whose fields are not.

use super::http2::{END_STREAM, WHOLE, head, literal, opened, pinged};
use super::{Case, Expect, REFUSED, TAKEN};
use crate::frames::{DATA, END_HEADERS, HEADERS, frame};

/// A header field.
type Field<'a> = (&'a [u8], &'a [u8]);

/// Requests that are malformed (RFC 9113, 8.1.1 and 8.3), and those that are only wrong.
pub fn cases() -> Vec<Case> {
    let target = "/v1/events?channel=room.0";
    let fields: [(&str, &[Field]); 13] = [
        ("a capital in a name", &[(b"Accept", b"*/*")]),
        ("Connection", &[(b"connection", b"close")]),
        ("Transfer-Encoding", &[(b"transfer-encoding", b"chunked")]),
        ("Upgrade", &[(b"upgrade", b"websocket")]),
        ("TE", &[(b"te", b"gzip")]),
        (
            "a pseudo-field behind",
            &[(b"accept", b"*/*"), (b":path", b"/")],
        ),
        ("an unknown pseudo-field", &[(b":sluice", b"x")]),
        (":status", &[(b":status", b"200")]),
        ("a blank in a name", &[(b"a b", b"x")]),
        ("a line end in a name", &[(b"a\r\nb", b"x")]),
        ("NUL in a value", &[(b"last-event-id", b"a\0b")]),
        ("a line end in a value", &[(b"last-event-id", b"a\r\nx: y")]),
        ("LF in a value", &[(b"sluice-event", b"a\nb")]),
    ];
    let mut cases: Vec<Case> = fields
        .iter()
        .map(|(name, fields)| (*name, head("GET", target, fields)))
        .chain(heads())
        .map(|(name, block)| {
            let bytes = opened(&[frame(HEADERS, WHOLE, 1, &block)]);
            Case::new(format!("HTTP/2 with {name}"), bytes, Expect::StreamRefused)
        })
        .collect();
    for (method, path) in [
        ("BREW", "/v1/events"),
        ("", "/v1/events"),
        ("G ET", "/v1/events"),
        ("GET", ""),
        ("GET", "*"),
        ("GET", "v1/events"),
        ("GET", "/v1/events?channel=a%20b"),
        ("GET", "/v1/events?channel=\0"),
        ("GET", "/v1/events\r\nX: y"),
        ("GET", "/v1/\u{e9}"),
        ("GET", "/v1/poll?channel=a&timeout=-1"),
        ("GET", "/v1/channels/%00/events"),
        ("CONNECT", "/v1/events"),
        ("PRI", "*"),
    ] {
        let bytes = opened(&[frame(HEADERS, WHOLE, 1, &head(method, path, &[]))]);
        cases.push(Case::new(
            format!("HTTP/2 {method:?} {path:?}"),
            bytes,
            Expect::StreamRefused,
        ));
    }
    cases.extend(bodies());
    cases
}

/// Bodies of another length than their heads say, and trailers.
fn bodies() -> Vec<Case> {
    let mut cases = Vec::new();
    let publish = format!("/v1/channels/{REFUSED}/events");
    for (length, data) in [
        ("2", "x"),
        ("0", "x"),
        ("-1", "x"),
        ("1, 1", "x"),
        ("99999999999999999999", "x"),
        ("5", ""),
    ] {
        let block = head("POST", &publish, &[(b"content-length", length.as_bytes())]);
        let frames = [
            frame(HEADERS, END_HEADERS, 1, &block),
            frame(DATA, END_STREAM, 1, data.as_bytes()),
        ];
        let name = format!("HTTP/2 length {length} of {} bytes", data.len());
        cases.push(Case::new(name, opened(&frames), Expect::StreamRefused));
    }
    // Nobody reads trailers, so these are not refused.
    let block = head("POST", &format!("/v1/channels/{TAKEN}/events"), &[]);
    let trailers = [
        frame(HEADERS, END_HEADERS, 1, &block),
        frame(DATA, 0, 1, b"x"),
        frame(HEADERS, WHOLE, 1, &head("GET", "/", &[])),
    ];
    cases.push(Case::new(
        "HTTP/2 pseudo-fields in trailers",
        pinged(&trailers),
        Expect::Survived,
    ));
    cases
}

/// Heads whose pseudo-fields are not the ones that a request has.
fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let field = |name: &[u8], value: &[u8]| literal(name, value);
    let all = [
        field(b":method", b"GET"),
        field(b":scheme", b"http"),
        field(b":path", b"/v1/events?channel=room.0"),
    ];
    let without = |skipped: usize| {
        let kept = all.iter().enumerate().filter(|(n, _)| *n != skipped);
        kept.flat_map(|(_, field)| field.clone())
            .collect::<Vec<u8>>()
    };
    vec![
        ("no :method", without(0)),
        ("no :path", without(2)),
        ("two :path", [all.concat(), all[2].clone()].concat()),
        ("two :method", [all.concat(), all[0].clone()].concat()),
        ("no field at all", Vec::new()),
    ]
}

//! Bodies: subscriptions and batches in JSON, events with headers.

use super::{Case, Expect, REFUSED, TAKEN, shown, sized};

/// What is no subscription. `%` stands for a channel's name.
const SUBSCRIPTIONS: [(&[u8], &str); 36] = [
    (b"", "bad_body"),
    (b"null", "bad_body"),
    (b"[]", "bad_body"),
    (b"1", "bad_body"),
    (b"NaN", "bad_body"),
    (b"{", "bad_body"),
    (b"{}{}", "bad_body"),
    (b"{\"channels\":[\"a\"]}x", "bad_body"),
    (b"{'channels':['a']}", "bad_body"),
    (b"{\"channels\":[\"a\"],}", "bad_body"),
    (b"{\"channels\":[\"a\",]}", "bad_body"),
    (b"{channels:[\"a\"]}", "bad_body"),
    (b"\xef\xbb\xbf{\"channels\":[\"a\"]}", "bad_body"),
    (b"{\"channels\":[\"\xff\"]}", "bad_body"),
    (b"{\"channels\":[\"\\ud800\"]}", "bad_body"),
    (b"{\"channels\":[\"\\x41\"]}", "bad_body"),
    (b"{\"channels\":[\"a\nb\"]}", "bad_body"),
    (b"{\"channels\":\"a\"}", "bad_body"),
    (b"{\"channels\":[1]}", "bad_body"),
    (b"{\"channels\":[null]}", "bad_body"),
    (b"{\"channels\":[[\"a\"]]}", "bad_body"),
    (b"{\"channels\":{\"a\":1}}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"channels\":[\"b\"]}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"token\":\"x\"}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"last\":-1}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"last\":1.5}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"last\":1e999}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"last\":[]}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"since\":5}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"last_event_id\":{}}", "bad_body"),
    (b"{\"channels\":[\"a\"],\"envelope\":true}", "bad_body"),
    (
        b"{\"channels\":[\"a\"],\"envelope\":\"xml\"}",
        "bad_parameter",
    ),
    (b"{}", "no_channel"),
    (b"{\"channels\":[]}", "no_channel"),
    (b"{\"channels\":[\"a\\u0000\"]}", "bad_channel"),
    (b"{\"channels\":[\"_ctl\"]}", "reserved_channel"),
];

/// Lines of a batch that are no event, all for the channel that nothing may be published to.
const LINES: [&[u8]; 32] = [
    b"x",
    b"null",
    b"[]",
    b"\"a\"",
    b"{",
    b"{}",
    b"{\"channel\":\"refused\"}",
    b"{\"data\":\"x\"}",
    b"{\"channel\":\"refused\",\"data\":}",
    b"{\"channel\":\"refused\",\"data\":NaN}",
    b"{\"channel\":\"refused\",\"data\":01}",
    b"{\"channel\":\"refused\",\"data\":\"\\ud800\"}",
    b"{\"channel\":\"refused\",\"data\":\"\xff\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\"}{}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"data\":\"y\"}",
    b"{\"channel\":\"refused\",\"channel\":\"a\",\"data\":\"x\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"ttl\":1}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"id\":\"my-id\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":1}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"a\\nb\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"a\\rdata: y\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"a\\u0000\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"open\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"error\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"type\":\"sluice.close\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"event_id\":7}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"event_id\":\"a\\nb\"}",
    b"{\"channel\":\"refused\",\"data\":\"x\",\"event_id\":\"a\\u0000b\"}",
    b"{\"channel\":\"\",\"data\":\"x\"}",
    b"{\"channel\":\"refused\\n\",\"data\":\"x\"}",
    b"{\"channel\":\"_ctl\",\"data\":\"x\"}",
    b"{\"channel\":[\"refused\"],\"data\":\"x\"}",
];

/// Event types that nobody may publish.
const TYPES: [&[u8]; 11] = [
    b"open",
    b"error",
    b"sluice.open",
    b"sluice.close",
    b"sluice.",
    b"sluice.reset",
    b"a\tb",
    b"\xff",
    b"\xc2\x85",
    b"a\xc2\x80b",
    b"\xed\xa0\x80",
];

pub fn cases() -> Vec<Case> {
    let mut cases = subscriptions();
    cases.extend(batches());
    cases.extend(events());
    cases
}

fn subscriptions() -> Vec<Case> {
    let line = "POST /v1/events HTTP/1.1";
    let json = &b"Content-Type: application/json"[..];
    let mut cases: Vec<Case> = SUBSCRIPTIONS
        .iter()
        .map(|(body, code)| {
            let name = format!("subscription {}", shown(body));
            Case::new(name, sized(line, &[json], body), Expect::Code(code))
        })
        .collect();
    let many: Vec<String> = (0..20_000).map(|n| format!("\"c{n}\"")).collect();
    let many = format!("{{\"channels\":[{}]}}", many.join(","));
    let deep = |depth: usize| {
        format!(
            "{{\"channels\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let strings = format!("{{\"channels\":[\"{}\"]}}", "\\u0041".repeat(100_000));
    let big = |bytes: usize| {
        format!(
            "{{\"channels\":[\"a\"],\"since\":\"{}\"}}",
            "x".repeat(bytes)
        )
    };
    let more = [
        ("20,000 channels", many, "too_many_channels"),
        ("200 arrays deep", deep(200), "bad_body"),
        ("100,000 arrays deep", deep(100_000), "bad_body"),
        ("100,000 escapes", strings, "bad_channel"),
        ("1 MiB and more", big(1_100_000), "body_too_large"),
        ("4 MiB and more", big(4_300_000), "body_too_large"),
    ];
    cases.extend(more.map(|(name, body, code)| {
        let bytes = sized(line, &[json], body.as_bytes());
        Case::new(format!("subscription: {name}"), bytes, Expect::Code(code))
    }));
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
        ";",
        "application/json/x",
        "\u{fc}",
    ] {
        let field = format!("Content-Type: {media_type}");
        let bytes = sized(line, &[field.as_bytes()], b"{\"channels\":[\"a\"]}");
        let name = format!("subscription as {media_type:?}");
        cases.push(Case::new(
            name,
            bytes,
            Expect::Code("unsupported_media_type"),
        ));
    }
    cases
}

fn batches() -> Vec<Case> {
    let line = "POST /v1/publish HTTP/1.1";
    let ndjson = &b"Content-Type: application/x-ndjson"[..];
    let mut cases: Vec<Case> = LINES
        .iter()
        .map(|body| {
            let name = format!("batch line {}", shown(body));
            Case::new(name, sized(line, &[ndjson], body), Expect::EveryLine)
        })
        .collect();
    for (end, name) in [
        (&b"\r\n"[..], "CRLF"),
        (b"\n\n\n", "blank lines"),
        (b"\n \t\n", "blanks"),
    ] {
        let body = LINES.join(end);
        let name = format!("all batch lines with {name}");
        cases.push(Case::new(
            name,
            sized(line, &[ndjson], &body),
            Expect::EveryLine,
        ));
    }
    let deep = format!(
        "{{\"channel\":\"{REFUSED}\",\"data\":{}",
        "[".repeat(100_000)
    );
    cases.push(Case::new(
        "a deep batch line",
        sized(line, &[ndjson], deep.as_bytes()),
        Expect::EveryLine,
    ));
    let wide = format!(
        "{{\"channel\":\"{REFUSED}\",\"data\":\"{}\"}}",
        "x".repeat(65_537)
    );
    cases.push(Case::new(
        "an event too large",
        sized(line, &[ndjson], wide.as_bytes()),
        Expect::EveryLine,
    ));
    cases.extend(whole_batches());
    cases
}

/// Batches that are refused as a whole.
fn whole_batches() -> Vec<Case> {
    let line = "POST /v1/publish HTTP/1.1";
    let ndjson = &b"Content-Type: application/x-ndjson"[..];
    let event = format!("{{\"channel\":\"{REFUSED}\",\"data\":\"x\"}}\n");
    let mut cases = Vec::new();
    let whole = [
        (
            "1,001 events",
            event.repeat(1_001).into_bytes(),
            "body_too_large",
        ),
        (
            "5 MiB of blank lines",
            b"\n".repeat(5 << 20),
            "body_too_large",
        ),
        ("5 MiB in one line", b"x".repeat(5 << 20), "body_too_large"),
    ];
    cases.extend(whole.map(|(name, body, code)| {
        let bytes = sized(line, &[ndjson], &body);
        Case::new(format!("batch of {name}"), bytes, Expect::Code(code))
    }));
    for (field, value) in [
        ("Content-Type", "application/json"),
        ("Content-Type", "text/event-stream"),
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "identity, br"),
        ("Content-Encoding", "\u{fc}"),
    ] {
        let field = format!("{field}: {value}");
        let bytes = sized(line, &[field.as_bytes()], event.as_bytes());
        cases.push(Case::new(
            format!("batch with {field}"),
            bytes,
            Expect::Code("unsupported_media_type"),
        ));
    }
    cases
}

/// An event for the channel that nothing wrong may be published to.
fn event(name: String, fields: &[&[u8]], body: &[u8], expect: Expect) -> Case {
    let line = format!("POST /v1/channels/{REFUSED}/events HTTP/1.1");
    Case::new(name, sized(&line, fields, body), expect)
}

fn events() -> Vec<Case> {
    let mut cases = names();
    let mut add = |name: String, fields: &[&[u8]], body: &[u8], expect: Expect| {
        cases.push(event(name, fields, body, expect));
    };
    for body in [
        &b"\xff"[..],
        b"\xc3(",
        b"a\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"ok\xc3",
        b"\xc0\x80",
    ] {
        add(
            format!("data {}", shown(body)),
            &[],
            body,
            Expect::Code("data_not_utf8"),
        );
    }
    for bytes in [65_537, 1_100_000, 6_000_000] {
        add(
            format!("{bytes} bytes of data"),
            &[],
            &b"x".repeat(bytes),
            Expect::Code("body_too_large"),
        );
    }
    for coding in [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "x",
        "gzip, identity",
        "\u{fc}",
    ] {
        let field = format!("Content-Encoding: {coding}");
        add(
            format!("coding {coding}"),
            &[field.as_bytes()],
            b"x",
            Expect::Code("unsupported_media_type"),
        );
    }
    cases.extend(sound());
    cases
}

/// Events whose type or id is none.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, fields: &[&[u8]], body: &[u8], expect: Expect| {
        cases.push(event(name, fields, body, expect));
    };
    let long = "t".repeat(129);
    for value in TYPES.into_iter().chain([long.as_bytes()]) {
        let field = [b"Sluice-Event: ", value].concat();
        // Bytes that are no UTF-8 are no text at all.
        let code = match std::str::from_utf8(value) {
            Ok(_) => "bad_event_type",
            Err(_) => "bad_parameter",
        };
        add(
            format!("type {}", shown(value)),
            &[&field],
            b"x",
            Expect::Code(code),
        );
    }
    for value in [&b"a\tb"[..], b"\xc2\x85", long.as_bytes()] {
        let field = [b"Idempotency-Key: ", value].concat();
        add(
            format!("event id {}", shown(value)),
            &[&field],
            b"x",
            Expect::Code("bad_event_id"),
        );
    }
    for name in [&b"Sluice-Event: a"[..], b"Idempotency-Key: a"] {
        for end in [
            &b"\rb: c"[..],
            b"\r",
            b"\nb",
            b"\n\x00: c",
            b"\x00",
            b"\x00b",
            b"\x7f",
            b"\x1b[0m",
        ] {
            let field = [name, end].concat();
            add(
                format!("field {}", shown(&field)),
                &[&field],
                b"x",
                Expect::Refused,
            );
        }
    }
    cases
}

/// What is strange and allowed.
fn sound() -> [Case; 3] {
    let line = format!("POST /v1/channels/{TAKEN}/events HTTP/1.1");
    let of = |name: &str, fields: &[&[u8]], body: &[u8]| {
        Case::new(name, sized(&line, fields, body), Expect::Holds("\"id\":"))
    };
    [
        of(
            "NUL and line ends in the data",
            &[],
            b"a\r\n\r\nevent: x\r\ndata: y\n\n\0\r",
        ),
        of("a traceparent that is none", &[b"traceparent: zz"], b"x"),
        of(
            "a type of blanks and quotes",
            &["Sluice-Event: a \"b\" \u{1f600}".as_bytes()],
            b"x",
        ),
    ]
}

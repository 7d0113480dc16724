//! Paths and queries: percent-encoding, channels, starts, cursors, limits, and what is accepted.

use super::{Case, Expect, REFUSED, get, shown, sized};

/// What stands in a path or a query and decodes to no text, or to one that is no channel.
const NAMES: [&str; 44] = [
    "%",
    "%0",
    "%GG",
    "%%30",
    "%u0041",
    "%00",
    "a%00",
    "%0d%0a",
    "a%0aX:%20y",
    "%20",
    "a%20b",
    "%09",
    "%ff",
    "%c0%af",
    "%c3%28",
    "%ed%a0%80",
    "%f4%90%80%80",
    "%e2%80%ae",
    "%c3%a9",
    "%2a",
    "a.*",
    "**",
    "%7bsub%7d",
    "%7b_ctl%7d",
    "sluice:%7ba%7d",
    "a%2fb",
    "%2e%2e%2fa",
    "a%5cb",
    "a,b",
    "a%7cb",
    "a;b",
    "a'b",
    "a%22b",
    "%3cscript%3e",
    "$%7bjndi:x%7d",
    "a%26b",
    "a%3db",
    "a%25",
    "a%2500",
    "a@b",
    "a!b",
    "~a",
    "a%7f",
    "a%c2%85",
];

/// Names of Sluice's own.
const RESERVED: [&str; 5] = ["_", "_ctl", "__proto__", "_probe.x", "%5fctl"];

/// What is no cursor.
const CURSORS: [&str; 32] = [
    "x",
    "0",
    "-",
    ".",
    "-1",
    "1-",
    "1-1",
    "1-1.",
    "1-1.0",
    "1-1.0000000",
    "1-1.000000000",
    "1-1.GGGGGGGG",
    "1-1.0000000A",
    "+1-1.00000000",
    "01-1.00000000",
    "1-01.00000000",
    "1-65536.00000000",
    "281474976710656-0.00000000",
    "18446744073709551616-0.00000000",
    "-1-0.00000000",
    "1-1.00000000x",
    "1--1.00000000",
    "1~",
    "1~A",
    "1~AAAA",
    "1~====",
    "1~AAAAAAAAAAAAAAAAAAAAAA==",
    "1~+/+/+/+/+/+/+/+/+/+/+/",
    "2~AAAAAAAAAAAAAAAAAAAAAA",
    "~",
    "null",
    "undefined",
];

/// What is no time.
const SINCE: [&str; 20] = [
    "x",
    "P",
    "PT",
    "PTM",
    "P1Y",
    "P1M",
    "PT5",
    "-PT5M",
    "PT-5M",
    "PT5M5M",
    "PT1S1M",
    "PTNaNS",
    "PTinfS",
    "PT1e400S",
    "5",
    "2025-13-01T00:00:00Z",
    "2025-02-30T00:00:00Z",
    "2025-11-20T25:00:00Z",
    "2025-11-20T22:00:00+99:99",
    "99999-01-01T00:00:00Z",
];

/// What is no number of events.
const COUNTS: [&str; 14] = [
    "x",
    "-1",
    "%2b%2b1",
    "1.5",
    "1e3",
    "0x10",
    "NaN",
    "%00",
    "1%00",
    "%20",
    "18446744073709551616",
    "1,2",
    "%d9%a1",
    "1_000",
];

pub fn cases() -> Vec<Case> {
    let mut cases = channels();
    cases.extend(cursors());
    cases.extend(parameters());
    cases.extend(ranges());
    cases.extend(paths());
    cases
}

fn channels() -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "a".repeat(129);
    let bad = NAMES.iter().copied().chain([long.as_str()]);
    let bad = bad.map(|name| (name, "bad_channel"));
    let all = bad.chain(RESERVED.map(|name| (name, "reserved_channel")));
    for (name, code) in all {
        let history = format!("/v1/channels/{name}/events");
        let stream = format!("/v1/events?channel={name}");
        // What a form holds before decoding: `+` is a blank, and so on; `&` and `#` would end the value.
        let poll = format!("/v1/poll?channel=room.0&channel={name}&timeout=0s");
        let publish = format!("POST {history} HTTP/1.1");
        for (what, bytes) in [
            ("stream", get(&stream, &[])),
            ("poll", get(&poll, &[])),
            ("history", get(&history, &[])),
            ("publish", sized(&publish, &[], b"x")),
        ] {
            let name = format!("{what} of {}", shown(name.as_bytes()));
            // A path that cannot be decoded, or decodes to more segments, is another path.
            let expect = match what {
                "stream" | "poll" => Expect::Code(code),
                _ => Expect::Refused,
            };
            cases.push(Case::new(name, bytes, expect));
        }
    }
    for count in [33, 100, 1_000] {
        let query: Vec<String> = (0..count).map(|n| format!("channel=c{n}")).collect();
        let query = query.join("&");
        for path in ["/v1/events", "/v1/poll"] {
            let bytes = get(&format!("{path}?{query}"), &[]);
            let name = format!("{count} channels at {path}");
            cases.push(Case::new(name, bytes, Expect::Code("too_many_channels")));
        }
    }
    cases
}

/// A cursor that cannot be read is never an error: the stream opens and says so.
fn cursors() -> Vec<Case> {
    let mut cases = Vec::new();
    let told = Expect::Holds("bad_cursor");
    for cursor in CURSORS {
        let header = format!("Last-Event-ID: {cursor}");
        let header = &[header.as_bytes()];
        let query = format!(
            "last_event_id={}",
            cursor.replace('+', "%2b").replace('=', "%3d")
        );
        for (channels, several) in [
            ("channel=room.0", false),
            ("channel=room.0&channel=room.1", true),
        ] {
            // The empty vector and one of other channels are cursors, whose channels begin live.
            let expect = match (cursor, several) {
                ("1~", _) => Expect::NoFault,
                (_, _) => told,
            };
            let name = |how: &str| format!("cursor {cursor:?} in the {how}, several: {several}");
            let target = format!("/v1/events?{channels}");
            cases.push(Case::new(name("header"), get(&target, header), expect));
            let target = format!("/v1/events?{channels}&{query}");
            cases.push(Case::new(name("query"), get(&target, &[]), expect));
        }
        let expect = match cursor {
            "1~" => Expect::NoFault,
            _ => told,
        };
        let poll = get("/v1/poll?channel=room.0&timeout=0s", header);
        cases.push(Case::new(
            format!("cursor {cursor:?} of a poll"),
            poll,
            expect,
        ));
        let history = get("/v1/channels/room.0/events", header);
        cases.push(Case::new(
            format!("cursor {cursor:?} of history"),
            history,
            expect,
        ));
    }
    for raw in [
        &b"\xff\xfe"[..],
        b"\xc3\xa9",
        b"1-1.00000000\xff",
        b"\t1-1\tx",
        b"1-0.00000000, 2-0.00000000",
    ] {
        let header = [b"Last-Event-ID: ", raw].concat();
        let bytes = get("/v1/events?channel=room.0", &[&header]);
        cases.push(Case::new(format!("cursor {}", shown(raw)), bytes, told));
    }
    let two = get(
        "/v1/events?channel=room.0",
        &[b"Last-Event-ID: y", b"Last-Event-ID: z"],
    );
    cases.push(Case::new("two cursors", two, told));
    cases
}

fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |target: String| {
        let name = shown(target.as_bytes());
        cases.push(Case::new(
            name,
            get(&target, &[]),
            Expect::Code("bad_parameter"),
        ));
    };
    let history = "/v1/channels/room.0/events";
    for since in SINCE {
        add(format!(
            "/v1/events?channel=room.0&since={}",
            since.replace('+', "%2b")
        ));
        add(format!(
            "/v1/poll?channel=room.0&timeout=0s&since={}",
            since.replace('+', "%2b")
        ));
        add(format!("{history}?since={}", since.replace('+', "%2b")));
    }
    for count in COUNTS {
        add(format!("/v1/events?channel=room.0&last={count}"));
        add(format!("{history}?last={count}"));
        add(format!("{history}?limit={count}"));
        add(format!("/v1/poll?channel=room.0&timeout=0s&limit={count}"));
        add(format!("/v1/poll?channel=room.0&timeout={count}"));
    }
    for limit in ["0", "1001", "4294967296"] {
        add(format!("{history}?limit={limit}"));
        add(format!("/v1/poll?channel=room.0&timeout=0s&limit={limit}"));
    }
    for timeout in [
        "-1s",
        "61s",
        "1h",
        "1y",
        "1",
        "1m1m",
        "99999999999999999999s",
    ] {
        add(format!("/v1/poll?channel=room.0&timeout={timeout}"));
    }
    for envelope in ["xml", "JSON", "json%00", "json,json", "%ff", "1"] {
        add(format!("/v1/events?channel=room.0&envelope={envelope}"));
    }
    cases
}

/// `Accept` that cannot be understood: it is refused or answered, and never anything worse.
fn ranges() -> Vec<Case> {
    let long = vec!["a/b"; 10_000].join(",");
    let nothing: [&[u8]; 8] = [
        b"text",
        b"/",
        b"text/",
        b"image/png",
        b"text/event-stream;q=0",
        b"*/*;q=0.0",
        b"application/json",
        b"text/event-streams",
    ];
    let strange: [&[u8]; 9] = [
        b";;;",
        b"",
        b",,,,",
        b"\xff",
        b"text/event-stream;q=NaN",
        b"*/*;q=1e999",
        b"text/event-stream;q=-1",
        b"text/event-stream;\t;=;q",
        long.as_bytes(),
    ];
    let target = "/v1/events?channel=room.0";
    let case = |value: &[u8], expect| {
        let field = [b"Accept: ", value].concat();
        let name = format!("accept {}", shown(value));
        Case::new(name, get(target, &[&field]), expect)
    };
    let refused = nothing.map(|value| case(value, Expect::Code("not_acceptable")));
    let answered = strange.map(|value| case(value, Expect::NoFault));
    refused.into_iter().chain(answered).collect()
}

/// Targets that are no path of a route.
fn paths() -> Vec<Case> {
    let targets = [
        "*",
        "//",
        "/.",
        "/..",
        "/../../etc/passwd",
        "/v1",
        "/v1/",
        "/v1/events/",
        "//v1/events?channel=a%20b",
        "/v1//events",
        "/v1/./events?channel=a%20b",
        "/v1/x/../events?channel=a%20b",
        "/V1/events",
        "/v1/events%2f",
        "/v1/events%00",
        "/v1/events;a=b",
        "/%76%31/events?channel=a%20b",
        "/v1/events#channel=a",
        "/v1/channels",
        "/v1/channels//events",
        "/v1/channels/a/b/events",
        "/v1/channels/a/events/",
        "/v1/channels/%2e%2e/events?limit=0",
        "http://",
        "http://a",
        "http:///v1/events",
        "http://a:99999/v1/events",
        "http://user@a/v1/events",
        "https://a/v1/events?channel=a%20b",
        "ftp://a/",
        "a:b",
        "a",
        "?channel=a",
        "",
        " ",
        "/v1/events?",
        "/v1/events?channel",
        "/v1/events?=a",
        "/v1/events?&&&",
        "/v1/events?channel[]=a",
        "/v1/events?Channel=a",
        "/v1/events?channels=a",
        "/v1/events??channel=a",
        "/.git/config",
        "/metrics",
        "/livez",
        "/admin/revoke",
        "/admin/connections",
    ];
    let mut cases = targets
        .map(|target| {
            let name = format!("target {target:?}");
            Case::new(name, get(target, &[]), Expect::Refused)
        })
        .to_vec();
    // The same as a publish: nothing may be stored.
    cases.extend(targets.map(|target| {
        let line = format!("POST {target} HTTP/1.1");
        Case::new(
            format!("publish to {target:?}"),
            sized(&line, &[], REFUSED.as_bytes()),
            Expect::Refused,
        )
    }));
    cases
}

//! Request lines and header fields, over every documented route.

use super::{Case, Expect, Listener, Route, get, request, shown};

/// Bytes that belong into no method, target or version.
const BYTES: [u8; 8] = [0x00, 0x01, 0x0b, b'\r', 0x1f, 0x7f, 0x80, 0xff];

/// Methods that no route has.
const METHODS: [&[u8]; 9] = [
    b"",
    b"get",
    b"G ET",
    b"GET\t",
    b"BREW",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"GET\xc3\xa9",
];

const VERSIONS: [&str; 12] = [
    "",
    "HTTP",
    "HTTP/",
    "HTTP/1",
    "HTTP/0.9",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/3",
    "HTTP/11.1",
    "http/1.1",
    "HTTP/1.1x",
    "SIP/2.0",
];

/// Header lines that are none. The first two words are what is wrong.
const FIELDS: [&[u8]; 22] = [
    b": no name",
    b" : only a blank",
    b"no colon",
    b"a blank: in the name",
    b"Blank-Before : the colon",
    b"Tab-Before\t: the colon",
    b"Nul\x00In-Name: x",
    b"High\x80Byte: x",
    b"In(parens): x",
    b"Quoted\": x",
    b"Nul-In-Value: a\x00b",
    b"Control: a\x01b",
    b"Bell: a\x07b",
    b"Delete: a\x7fb",
    b"Bare-Cr: a\rb",
    b"Bare-Cr-Then: a\rInjected: b",
    b"Folded: a\r\n b",
    b"Folded-Tab: a\r\n\tb",
    b"Last-Event-ID: 1-0.00000000\r\n folded",
    b"Last-Event-ID: 1-0.\x0000000000",
    b"Last-Event-ID: \x1b[31m",
    b"Accept: text/event-stream\r\n\x00",
];

/// `Host` as RFC 9112, 3.2 does not allow it.
const HOSTS: [&[&[u8]]; 12] = [
    &[],
    &[b"Host: a", b"Host: b"],
    &[b"Host: a", b"Host: a"],
    &[b"Host: a", b"X: y", b"hOST: a"],
    &[b"Host: a b"],
    &[b"Host: a\tb"],
    &[b"Host: user@a"],
    &[b"Host: a/b"],
    &[b"Host: a?b"],
    &[b"Host: a, b"],
    &[b"Host: a\xff"],
    &[b"Host: a\x00b"],
];

pub fn cases(routes: &[Route]) -> Vec<Case> {
    let mut cases = Vec::new();
    for route in routes {
        of_route(route, &mut cases);
    }
    let events = "GET /v1/events?channel=room.0 HTTP/1.1";
    for field in FIELDS {
        let name = format!("header line {}", shown(field));
        let bytes = request(events.as_bytes(), &[b"Host: sluice.test", field], b"");
        cases.push(Case::new(name, bytes, Expect::Refused));
    }
    for version in VERSIONS {
        let line = format!("GET /v1/events?channel=room.0 {version}");
        let bytes = request(line.as_bytes(), &[b"Host: sluice.test"], b"");
        cases.push(Case::new(
            format!("version {version:?}"),
            bytes,
            Expect::Refused,
        ));
    }
    cases.extend(line_ends());
    cases.extend(sizes());
    cases
}

fn of_route(route: &Route, cases: &mut Vec<Case>) {
    let Route { to, method, path } = route;
    let mut add = |name: String, bytes: Vec<u8>, expect: Expect| {
        let name = format!("{method} {path}: {name}");
        cases.push(Case {
            name,
            to: *to,
            bytes,
            expect,
        });
    };
    let host = &[&b"Host: sluice.test"[..], b"Content-Length: 0"];
    for wrong in METHODS {
        let line = [wrong, format!(" {path} HTTP/1.1").as_bytes()].concat();
        let name = format!("method {}", shown(wrong));
        add(name, request(&line, host, b""), Expect::Refused);
    }
    for byte in BYTES {
        let before_version = [method.as_bytes(), b" ", path.as_bytes(), b" "].concat();
        let method_end = method.len();
        let path_middle = method_end + 1 + path.len() / 2;
        for at in [method_end, path_middle, before_version.len() + 4] {
            let mut line = [&before_version[..], b"HTTP/1.1"].concat();
            line.insert(at, byte);
            let name = format!("byte {byte:#04x} at {at}");
            add(name, request(&line, host, b""), Expect::Refused);
        }
    }
    let line = format!("{method} {path} HTTP/1.1");
    let expect = match to {
        Listener::Public => Expect::Refused,
        // Prometheus and probes need none; what matters here is that nothing breaks.
        Listener::Admin => Expect::NoFault,
    };
    for fields in HOSTS {
        let name = format!("hosts {}", shown(&fields.join(&b", "[..])));
        add(name, request(line.as_bytes(), fields, b""), expect);
    }
    let hidden = [
        &b"Host: a"[..],
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
    ];
    let bytes = request(line.as_bytes(), &hidden, b"0\r\n\r\n");
    add("two lengths".to_owned(), bytes, Expect::RefusedAndClosed);
}

fn line_ends() -> Vec<Case> {
    let whole = get("/v1/events?channel=a%20b", &[]);
    let text = String::from_utf8_lossy(&whole).into_owned();
    let cases = [
        ("bare CR for line ends", text.replace("\r\n", "\r"), Expect::Refused),
        // RFC 9112, 2.2: a recipient may take a single LF as a line end.
        ("bare LF for line ends", text.replace("\r\n", "\n"), Expect::Refused),
        ("LF CR for line ends", text.replace("\r\n", "\n\r"), Expect::Refused),
        ("blank lines before", format!("{}{text}", "\r\n".repeat(200)), Expect::Refused),
        ("blanks before", format!("    {text}"), Expect::Refused),
        ("NUL before", format!("\0{text}"), Expect::Refused),
        ("a byte order mark before", format!("\u{feff}{text}"), Expect::Refused),
        ("no blank line", text.trim_end().to_owned(), Expect::Refused),
        ("half a line", "GET /v1/ev".to_owned(), Expect::Refused),
        ("nothing but line ends", "\r\n\r\n\r\n".to_owned(), Expect::Refused),
        ("a response", "HTTP/1.1 200 OK\r\n\r\n".to_owned(), Expect::Refused),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(), Expect::Refused),
        ("SSH", "SSH-2.0-OpenSSH_9.6\r\n".to_owned(), Expect::Refused),
        ("SMTP", "EHLO sluice.test\r\n".to_owned(), Expect::Refused),
        ("Redis", "*1\r\n$4\r\nPING\r\n".to_owned(), Expect::Refused),
        ("a WebSocket's upgrade",
         "GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(), Expect::Refused),
        ("an h2c upgrade",
         "GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n".to_owned(), Expect::Refused),
    ];
    let cases = cases
        .into_iter()
        .map(|(name, bytes, expect)| Case::new(name, bytes, expect));
    cases.collect()
}

/// More than a head may hold.
fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    // A name of 64 KiB is more than actix-http can hold, and 128 KiB more than it waits for.
    for kib in [16, 63, 64, 65, 96, 127, 129, 256, 1_024] {
        let long = "a".repeat(kib * 1_024);
        let target = format!("/v1/events?channel={long}");
        let name = |what: &str| format!("{what} of {kib} KiB");
        let more = [
            ("a target", get(&target, &[])),
            ("a path", get(&format!("/{long}"), &[])),
            (
                "a value",
                get("/v1/events", &[format!("X: {long}").as_bytes()]),
            ),
            (
                "a name",
                get("/v1/events", &[format!("{long}: x").as_bytes()]),
            ),
            (
                "a cursor",
                get(
                    "/v1/events?channel=a%20b",
                    &[format!("Last-Event-ID: {long}").as_bytes()],
                ),
            ),
            (
                "a method",
                request(format!("{long} / HTTP/1.1").as_bytes(), &[], b""),
            ),
        ];
        for (what, bytes) in more {
            let case = Case::new(name(what), bytes, Expect::Refused);
            cases.push(case.clone().at(Listener::Admin));
            cases.push(case);
        }
    }
    for count in [97, 200, 2_000] {
        let fields: Vec<String> = (0..count).map(|n| format!("X-{n}: {n}")).collect();
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        let bytes = get("/v1/events?channel=a%20b", &fields);
        cases.push(Case::new(format!("{count} fields"), bytes, Expect::Refused));
    }
    cases
}

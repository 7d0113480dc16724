//! HTTP/1.1 clients that are slow or send too much: each is ended in its time, told where it can be, and counted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::harness::http::{connect, request};
use crate::harness::node::Node;

const TOO_LATE: &str = "sluice_transport_ended_total{cause=\"head_timeout\"}";
const SILENT: &str = "sluice_transport_ended_total{cause=\"silent\"}";
const LONG_NAME: &str = "sluice_transport_ended_total{cause=\"field_name\"}";
/// The longest field name that can be held.
const NAME_BYTES: usize = 65_535;
const WAIT: Duration = Duration::from_millis(500);
const NOT_BEFORE: Duration = Duration::from_millis(400);
/// A loaded machine may be late, but far from the harness's own patience.
const IN_TIME: Duration = Duration::from_secs(6);

fn node() -> Node {
    Node::embedded(&[("HTTP__HEAD_TIMEOUT", "500ms"), ("HTTP__KEEP_ALIVE", "1s")]).ready()
}

/// What comes until the connection ends, and how long that takes.
fn rest(socket: &mut TcpStream) -> (String, Duration) {
    let since = Instant::now();
    let mut bytes = Vec::new();
    if let Err(error) = socket.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    (String::from_utf8(bytes).expect("UTF-8"), since.elapsed())
}

/// How many were ended for their silence, and for a head that was too late.
fn ended(node: &Node) -> [f64; 2] {
    [SILENT, TOO_LATE].map(|sample| node.metric(sample))
}

/// A socket that says nothing does not stay, on neither listener.
#[rstest]
fn a_silent_socket_is_closed(#[values(false, true)] admin: bool) {
    let node = node();
    let address = if admin { node.admin } else { node.public };
    let mut socket = connect(address).expect("connected");
    let (text, took) = rest(&mut socket);
    assert_eq!(text, "");
    assert!(took >= NOT_BEFORE && took < IN_TIME, "{took:?}");
    assert_eq!(ended(&node), [1.0, 0.0]);
}

/// A first head that begins and falls silent is answered with 408 when its time is over, and counted, on both listeners.
#[rstest]
fn half_a_head_is_answered_with_408(#[values(false, true)] admin: bool) {
    let node = node();
    let address = if admin { node.admin } else { node.public };
    let mut socket = connect(address).expect("connected");
    socket.write_all(b"G").expect("sent");
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(took >= NOT_BEFORE && took < IN_TIME, "{took:?}");
    assert_eq!(ended(&node), [0.0, 1.0]);
}

/// A head that trickles in is answered with 408 when its time is over, however busily it trickles, and counted.
#[test]
fn a_slow_head_is_answered_with_408() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    socket
        .write_all(b"GET /v1/events?channel=a HTTP/1.1\r\nHost: a\r\n")
        .expect("sent");
    let (since, mut trickle) = (Instant::now(), socket.try_clone().expect("a duplicate"));
    let writer = std::thread::spawn(move || {
        while since.elapsed() < IN_TIME && trickle.write_all(b"X: y\r\n").is_ok() {
            std::thread::sleep(WAIT / 10);
        }
    });
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(took >= NOT_BEFORE && took < IN_TIME, "{took:?}");
    writer.join().expect("it could write no more");
    assert_eq!(ended(&node), [0.0, 1.0]);
}

/// Between requests a connection stays for its keep-alive, and not longer.
#[test]
fn an_idle_connection_is_closed() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    for _ in 0..2 {
        socket
            .write_all(&request("GET", "/nothing", &[], b""))
            .expect("sent");
        let count = socket.read(&mut [0; 4_096]).expect("an answer");
        assert!(count > 0);
    }
    let (text, took) = rest(&mut socket);
    assert_eq!(text, "");
    assert!(took >= WAIT && took < IN_TIME, "{took:?}");
    assert_eq!(ended(&node), [0.0, 0.0]);
}

/// A later request's head has its time too.
#[test]
fn a_slow_second_head_ends_the_connection() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    socket
        .write_all(&request("GET", "/nothing", &[], b""))
        .expect("sent");
    assert!(socket.read(&mut [0; 4_096]).expect("an answer") > 0);
    socket.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(took >= NOT_BEFORE && took < IN_TIME, "{took:?}");
    assert_eq!(node.metric(TOO_LATE), 1.0);
}

/// Half a head behind a request that is still being answered does not stay either.
#[test]
fn half_a_head_behind_a_waiting_request_ends_the_connection() {
    let node = node();
    let first = node.publish("a", "x");
    let mut socket = connect(node.public).expect("connected");
    let target = format!("/v1/poll?channel=a&timeout=2s&last_event_id={first}");
    let poll = request("GET", &target, &[], b"");
    socket
        .write_all(&[&poll[..], b"GET / HT"].concat())
        .expect("sent");
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(took >= WAIT * 3 && took < IN_TIME, "{took:?}");
}

/// A body that comes late, and a client that rests between its requests for less than its keep-alive, are none of these.
#[test]
fn a_client_that_takes_its_time_keeps_its_connection() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    for _ in 0..3 {
        let ask = request("POST", "/v1/channels/a/events", &[], b"some data");
        let (head, body) = ask.split_at(ask.len() - 9);
        socket.write_all(head).expect("sent");
        std::thread::sleep(WAIT / 4);
        socket.write_all(body).expect("sent");
        let mut answer = [0; 4_096];
        let count = socket.read(&mut answer).expect("an answer");
        assert!(answer[..count].starts_with(b"HTTP/1.1 201 "));
        // Longer than a head may take, shorter than the keep-alive.
        std::thread::sleep(WAIT * 3 / 2);
    }
    assert_eq!(ended(&node), [0.0, 0.0]);
}

/// A head that is refused by the library below, and what comes after it, is not a slow one.
#[test]
fn a_head_that_makes_no_sense_is_not_counted_as_late() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    socket.write_all(b"no head at all\r\n\r\n").expect("sent");
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(took < IN_TIME, "{took:?}");
    assert_eq!(ended(&node), [0.0, 0.0]);
}

/// A body that does not come is answered with 408.
#[test]
fn a_slow_body_is_answered_with_408() {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    socket
        .write_all(
            b"POST /v1/channels/a/events HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        )
        .expect("sent");
    let (text, took) = rest(&mut socket);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("body_timeout"), "{text}");
    assert!(took >= NOT_BEFORE && took < IN_TIME, "{took:?}");
}

/// A head at its limit is taken, one byte more is 431 with a problem.
#[test]
fn a_head_has_a_limit() {
    let node = Node::embedded(&[("HTTP__HEAD_BYTES", "4KiB")]).ready();
    let fields = [
        ("Host", "sluice.test"),
        ("Connection", "close"),
        ("X-Filler", ""),
    ];
    let around: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let most = 4_096 - "/nothing".len() - around;
    let answer = node.get("/nothing", &[("X-Filler", &"y".repeat(most))]);
    assert_eq!(answer.problem(), "not_found");
    let answer = node.get("/nothing", &[("X-Filler", &"y".repeat(most + 1))]);
    assert_eq!((answer.status, &*answer.problem()), (431, "head_too_large"));
    let target = format!("/{}", "y".repeat(4_096));
    assert_eq!(node.get(&target, &[]).status, 431);
}

/// A field name of 64 KiB, at which the library below would panic, ends its connection, and one byte less is refused as any
/// head of its length; on both listeners.
#[test]
fn a_field_name_has_a_limit() {
    let node = Node::embedded(&[("LIMITS__EVENT_BYTES", "512KiB")]).ready();
    for (n, address) in [node.public, node.admin].into_iter().enumerate() {
        let ask = |name: usize| {
            let mut socket = connect(address).expect("connected");
            let name = "y".repeat(name);
            let fields = [("Connection", "close"), (&name, "x")];
            let bytes = request("GET", "/nothing", &fields, b"");
            // It may be ended before it has read all.
            drop(socket.write_all(&bytes));
            rest(&mut socket).0
        };
        let text = ask(NAME_BYTES);
        assert!(text.contains("head_too_large"), "{text}");
        let text = ask(NAME_BYTES + 1);
        let bare = text.starts_with("HTTP/1.1 431 ") && text.ends_with("\r\n\r\n");
        assert!(text.is_empty() || bare, "{text}");
        assert_eq!(node.metric(LONG_NAME), (n + 1) as f64);
    }
    // Behind a stream on the same connection: nothing is written into that.
    let stream = node.stream("channel=a", &[]);
    let mut socket = stream.socket.try_clone().expect("a duplicate");
    let name = "y".repeat(NAME_BYTES + 1);
    drop(socket.write_all(&request("GET", "/nothing", &[(&name, "x")], b"")));
    let (text, took) = rest(&mut socket);
    assert!(!text.contains(" 431 ") && took < IN_TIME, "{took:?} {text}");
    assert_eq!(node.metric(LONG_NAME), 3.0);
    // Data may look almost like one.
    let data = format!("{name}\n{name}, {name}: \n{name} : x");
    let answer = node.post("a", &[], data.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// 96 fields are taken, 97 are not; nor is a head that never ends.
#[test]
fn a_head_has_so_many_fields() {
    let node = Node::embedded(&[]).ready();
    // Beside Host and Connection.
    let answer = node.get("/nothing", &[("X", "y"); 94]);
    assert_eq!(answer.status, 404);
    let answer = node.get("/nothing", &[("X", "y"); 95]);
    assert_eq!(answer.status, 431);
    let mut socket = connect(node.public).expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nX: ").expect("sent");
    let mut sent = 0;
    while sent < 4 * 1_024 * 1_024 && socket.write_all(&[b'y'; 4_096]).is_ok() {
        sent += 4_096;
    }
    let (text, _) = rest(&mut socket);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );
    assert!(sent < 4 * 1_024 * 1_024, "it was ended");
}

/// A body at its limit is taken, one byte more is 413, with a length or without.
#[rstest]
fn a_body_has_a_limit(#[values(true, false)] has_length: bool) {
    let node = Node::embedded(&[
        ("LIMITS__EVENT_BYTES", "2KiB"),
        ("HTTP__BODY_BYTES", "2KiB"),
    ])
    .ready();
    let post = |bytes: usize| {
        let mut socket = connect(node.public).expect("connected");
        let length = if has_length {
            format!("Content-Length: {bytes}\r\n\r\n")
        } else {
            format!("Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n")
        };
        let head = "POST /v1/channels/a/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let end = if has_length { "" } else { "\r\n0\r\n\r\n" };
        let sent = format!("{head}{length}{}{end}", "y".repeat(bytes));
        socket.write_all(sent.as_bytes()).expect("sent");
        rest(&mut socket).0
    };
    let (taken, refused) = (post(2_048), post(2_049));
    assert!(taken.starts_with("HTTP/1.1 201 "), "{taken}");
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
}

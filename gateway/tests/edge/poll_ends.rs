//! Waiting polls among everything else on a node: the places they take, and how they end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::harness::http::{Events, connect, request};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find, stays, wait};
use crate::poll::{CONNECTIONS, DONE, Page, SOON, poll, waiting};

/// Sends a poll and leaves its answer unread, once the node has taken it in.
fn unanswered(node: &Node, query: &str) -> TcpStream {
    let before = node.metric(CONNECTIONS);
    let mut socket = connect(node.public).expect("connected");
    let target = format!("/v1/poll?{query}");
    socket
        .write_all(&request("GET", &target, &[], b""))
        .expect("sent");
    wait("the poll waits", &(before + 1.0), PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    socket
}

/// A waiting poll takes a place like a stream, and one that finds none is told with 503, not with a stream.
#[test]
fn a_poll_takes_a_place_like_a_stream() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "2")]).ready();
    let place = node.publish("a", "before");
    let query = format!("channel=a&last_event_id={place}");
    let stream = node.stream("channel=a", &[]);
    let waiting = waiting(&node, &query);
    for target in ["/v1/events?channel=a", "/v1/poll?channel=a"] {
        let answer = node.get(target, &[]);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "overloaded")
        );
    }
    let headers = [("Accept", "text/event-stream")];
    let answer = node.get("/v1/poll?channel=a", &headers);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    node.publish("a", "after");
    assert_eq!(
        Page::of(&waiting.join().expect("answered")).data(),
        ["after"]
    );
    wait("its place is free", &1.0, PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    assert_eq!(poll(&node, &query).data(), ["after"]);
    drop(stream);
}

/// A client that goes away frees its place at once, not when its time is over.
#[test]
fn a_client_that_goes_away_frees_its_place() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "before");
    let query = format!("channel=a&timeout=60s&last_event_id={place}");
    let sockets: Vec<TcpStream> = (0..20).map(|_| unanswered(&node, &query)).collect();
    let since = Instant::now();
    drop(sockets);
    wait("all are gone", &0.0, SOON, || node.metric(CONNECTIONS));
    assert!(since.elapsed() < SOON);
    let gone = "sluice_connections_closed_total{reason=\"client_gone\"}";
    assert_eq!((node.metric(gone), node.metric(DONE)), (20.0, 0.0));
}

/// Several polls go over one connection, one after the other.
#[test]
fn polls_share_a_connection() {
    let node = Node::embedded(&[]).ready();
    let mut socket = connect(node.public).expect("connected");
    let place = node.publish("a", "before");
    node.publish("a", "after");
    for (timeout, events) in [("0s", 1), ("10s", 1), ("0s", 1)] {
        let target = format!("/v1/poll?channel=a&timeout={timeout}&last_event_id={place}");
        socket
            .write_all(&request("GET", &target, &[], b""))
            .expect("sent");
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"]}") {
            let mut some = [0; 4_096];
            let count = socket.read(&mut some).expect("an answer in time");
            assert!(count > 0, "the connection was closed");
            bytes.extend_from_slice(&some[..count]);
        }
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert_eq!(text.matches("\"data\":\"after\"").count(), events);
    }
}

/// A client that pipelines into its own waiting poll is answered all the same.
#[test]
fn a_client_that_asks_on_while_its_poll_waits_costs_it_nothing() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "before");
    let query = format!("channel=a&timeout=60s&last_event_id={place}");
    let mut socket = unanswered(&node, &query);
    let again = request("GET", &format!("/v1/poll?{query}"), &[], b"");
    socket.write_all(&again).expect("sent");
    node.publish("a", "after");
    let mut bytes = Vec::new();
    let answers = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.matches("\"data\":\"after\"").count()
    };
    while answers(&bytes) < 2 {
        let mut some = [0; 4_096];
        let count = socket.read(&mut some).expect("an answer in time");
        assert!(count > 0, "the connection was closed");
        bytes.extend_from_slice(&some[..count]);
    }
}

/// A node that leaves answers its waiting polls within its window, each with its own cursor, and turns newcomers away.
#[test]
fn a_leaving_node_answers_its_waiting_polls_early() {
    let mut node =
        Node::embedded(&[("DRAIN__READINESS_LEAD", "1s"), ("DRAIN__DEADLINE", "3s")]).ready();
    let place = node.publish("a", "before");
    let query = format!("channel=a&timeout=60s&last_event_id={place}");
    let polls: Vec<_> = (0..5).map(|_| waiting(&node, &query)).collect();
    node.leave();
    find("readiness falls", PATIENCE, || {
        (node.readiness() == Some(503)).then_some(())
    });
    let answer = node.get(&format!("/v1/poll?{query}"), &[]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "draining")
    );
    assert!(answer.header("retry-after").is_some());
    for poll in polls {
        let page = Page::of(&poll.join().expect("answered"));
        assert_eq!((page.cursor.as_str(), page.events.len()), (&*place, 0));
    }
    assert!(node.ended(Duration::from_secs(6)) < Duration::from_secs(5));
}

/// A client that does not take its answer keeps its place only as long as a stream would.
#[test]
fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let node = Node::embedded(&[
        ("STREAM__SLOW_CONSUMER_AGE", "1s"),
        ("STREAM__SEND_BUFFER", "4KiB"),
        ("LIMITS__PAGE_BYTES", "64MiB"),
    ])
    .ready();
    let data = "x".repeat(60_000);
    for _ in 0..200 {
        node.publish("a", &data);
    }
    let socket = unanswered(&node, "channel=a&last=200&limit=1000");
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    wait("it is cut off", &1.0, PATIENCE, || node.metric(slow));
    wait("its place is free", &0.0, PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    drop(socket);
}

/// A waiting poll costs no answer before its time, whatever else happens on the node.
#[test]
fn a_poll_hears_of_its_own_channels_only() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "100ms")]).ready();
    let place = node.publish("a", "before");
    let waiting = waiting(&node, &format!("channel=a&last_event_id={place}"));
    let mut other = Events::open(node.public, "/v1/events?channel=b", &[]);
    other.next();
    node.publish("b", "elsewhere");
    assert_eq!(other.next().data, "elsewhere");
    stays("it waits", &false, Duration::from_millis(500), || {
        waiting.is_finished()
    });
    node.publish("a", "mine");
    assert_eq!(
        Page::of(&waiting.join().expect("answered")).data(),
        ["mine"]
    );
}

/// Redis is away: who has a cursor keeps it, who has none is told to come again.
#[rstest]
#[case("channel=a", "place")]
#[case("channel=a", "what?")]
#[case("channel=a&channel=b", "place")]
#[case("channel=a&channel=b", "what?")]
#[case("channel=a&channel=b", "many")]
fn a_poll_without_redis_gives_the_cursor_back(#[case] query: &str, #[case] start: &str) {
    let redis = RedisServer::start();
    let other = Node::redis(&redis.url(), &[]).ready();
    let many = poll(&other, "channel=a&channel=b").cursor;
    let cursor = match start {
        "place" => other.publish("a", "1"),
        "many" => many,
        text => text.to_owned(),
    };
    other.publish("a", "2");
    let settings = [
        ("STREAM__OPEN_WAIT", "200ms"),
        ("REDIS__BACKOFF_MAX", "200ms"),
    ];
    let node = Node::redis(&redis.url(), &settings).ready();
    redis.freeze();
    let target = format!("/v1/poll?{query}&timeout=500ms");
    let page = Page::of(&node.get(&target, &[("Last-Event-ID", &cursor)]));
    assert_eq!((page.cursor, page.events.len()), (cursor, 0));
    for fresh in ["", "&last=5", "&since=5m"] {
        let answer = node.get(&format!("{target}{fresh}"), &[]);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "broker_unavailable")
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    redis.thaw();
    wait("nothing waits", &0.0, PATIENCE, || node.metric(CONNECTIONS));
}

//! The NDJSON stream: the same stream as Server-Sent Events, an object a line.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Events, call, connect, request};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find, wait};

const LINES: (&str, &str) = ("Accept", "application/x-ndjson");
const NDJSON: Option<&str> = Some("application/x-ndjson; charset=utf-8");
const EVENT_STREAM: Option<&str> = Some("text/event-stream; charset=utf-8");

/// A reader of lines, written apart from the gateway's encoder.
struct Lines(Events);

impl Lines {
    fn open(node: &Node, query: &str, headers: &[(&str, &str)]) -> Lines {
        let headers = [headers, &[LINES]].concat();
        let target = format!("/v1/events?{query}");
        let lines = Lines(Events::open(node.public, &target, &headers));
        assert_eq!(lines.0.header("content-type"), NDJSON);
        lines
    }

    /// The next line as it is; empty for a heartbeat, nothing at the end.
    fn raw(&mut self) -> Option<String> {
        self.0.line(Instant::now() + PATIENCE)
    }

    /// The next object.
    fn next(&mut self) -> (String, Value) {
        let line = std::iter::from_fn(|| self.raw()).find(|line| !line.is_empty());
        let line = line.expect("a line before the end");
        let json = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        (line, json)
    }

    /// The next object, which must be `sluice.open`.
    fn opened(mut self) -> Lines {
        let (line, json) = self.next();
        assert_eq!(json["type"], "sluice.open", "{line}");
        self
    }
}

/// The data of one of Sluice's own lines, which is JSON text as on an event stream.
fn inner(line: &Value) -> Value {
    serde_json::from_str(line["data"].as_str().expect("text")).expect("JSON in data")
}

/// The headers are those of an event stream but for the type; an empty line comes at once, then `sluice.open` with
/// the members of every line in their order, and the wait last.
#[test]
fn a_stream_of_lines_has_its_headers_and_begins_with_an_empty_line() {
    let node = Node::embedded(&[]).ready();
    let mut lines = Lines::open(&node, "channel=a", &[]);
    assert_eq!(
        lines.0.header("cache-control"),
        Some("no-cache, no-transform")
    );
    assert_eq!(lines.0.header("x-accel-buffering"), Some("no"));
    assert_eq!(lines.0.header("transfer-encoding"), Some("chunked"));
    assert!(lines.0.first_bytes().starts_with('\n'));
    assert_eq!(lines.raw().as_deref(), Some(""));
    let (line, open) = lines.next();
    let cursor = open["cursor"].as_str().expect("a cursor");
    assert!(cursor.starts_with("0-0."), "{line}");
    let start = format!(
        "{{\"cursor\":\"{cursor}\",\"channel\":null,\"id\":null,\"type\":\"sluice.open\",\"event_id\":null,\"data\":\""
    );
    assert!(line.starts_with(&start), "{line}");
    assert_eq!(inner(&open)["channels"]["a"], "live");
    let retry = open["retry"].as_u64().expect("a wait");
    assert!((2_250..=3_750).contains(&retry), "{line}");
    assert!(line.ends_with(&format!("\",\"retry\":{retry}}}")), "{line}");
}

/// A quiet stream is kept alive with empty lines.
#[test]
fn a_quiet_stream_of_lines_has_empty_lines() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "200ms")]).ready();
    let mut lines = Lines::open(&node, "channel=a", &[]).opened();
    for _ in 0..2 {
        assert_eq!(lines.raw().as_deref(), Some(""));
    }
}

/// An event's line is exact to the byte, whatever the data holds.
#[test]
fn an_events_line_has_its_members_in_order() {
    let node = Node::embedded(&[]).ready();
    let mut lines = Lines::open(&node, "channel=a", &[]).opened();
    let headers = [
        ("Sluice-Event", "order.created"),
        ("Idempotency-Key", "ev-1"),
    ];
    let answer = node.post("a", &headers, "{\"n\":1}\r\nsecond \"line\" đ".as_bytes());
    let id = crate::harness::node::id(&answer);
    let (line, json) = lines.next();
    assert_eq!(
        line,
        format!(
            r#"{{"cursor":"{id}","channel":"a","id":"{id}","type":"order.created","event_id":"ev-1","data":"{{\"n\":1}}\r\nsecond \"line\" đ"}}"#
        )
    );
    assert_eq!(json["data"], "{\"n\":1}\r\nsecond \"line\" đ");
    let id = node.publish("a", "");
    let (line, _) = lines.next();
    assert_eq!(
        line,
        format!(
            r#"{{"cursor":"{id}","channel":"a","id":"{id}","type":null,"event_id":null,"data":""}}"#
        )
    );
}

/// With several channels the cursor is of all, the id of one; the cursor resumes in either shape and from either.
#[test]
fn a_cursor_of_lines_resumes_an_event_stream_and_the_other_way_round() {
    let node = Node::embedded(&[]).ready();
    let mut lines = Lines::open(&node, "channel=a&channel=b", &[]).opened();
    let position = node.publish("b", "1");
    let (line, json) = lines.next();
    assert_eq!(json["channel"], "b", "{line}");
    assert_eq!(json["id"], position.as_str());
    let cursor = json["cursor"].as_str().expect("a cursor").to_owned();
    assert!(cursor.starts_with("1~"), "{line}");
    drop(lines);
    node.publish("a", "2");
    node.publish("b", "3");

    let mut stream = node.stream(
        "channel=a&channel=b&envelope=json",
        &[("Last-Event-ID", &cursor)],
    );
    let mut blocks = stream.take(2);
    blocks.sort_by_key(|block| block.json()["data"].to_string());
    assert_eq!(blocks[0].json()["data"], "2");
    assert_eq!(blocks[1].json()["data"], "3");
    let query = format!("channel=a&channel=b&last_event_id={cursor}");
    let mut lines = Lines::open(&node, &query, &[]).opened();
    let mut data = [0, 1].map(|_| lines.next().1["data"].clone().to_string());
    data.sort();
    assert_eq!(data, ["\"2\"", "\"3\""]);

    let first = node.publish("a", "4");
    node.publish("a", "5");
    // A position from an event stream's `id:`, as header.
    let mut lines = Lines::open(&node, "channel=a", &[("Last-Event-ID", &first)]).opened();
    assert_eq!(lines.next().1["data"], "5");
}

/// An event without a place repeats the current cursor, and has none to repeat while nothing is known.
#[test]
fn an_ephemeral_event_has_no_id_and_repeats_the_cursor() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut one = Lines::open(&node, "channel=a", &[]).opened();
    let mut two = Lines::open(&node, "channel=a&channel=b", &[]).opened();
    let id = node.publish("a", "stays");
    assert_eq!(one.next().1["cursor"], id.as_str());
    let cursor = two.next().1["cursor"].clone();
    redis.run::<u64>(&["PUBLISH", "sluice:{a}", "hel\"lo"]);
    let (line, _) = one.next();
    assert_eq!(
        line,
        format!(
            r#"{{"cursor":"{id}","channel":"a","id":null,"type":null,"event_id":null,"data":"hel\"lo"}}"#
        )
    );
    let (line, json) = two.next();
    assert_eq!(
        (&json["cursor"], &json["id"]),
        (&cursor, &Value::Null),
        "{line}"
    );
}

/// A reset is a line about its channel, whose cursor is where to go on; a cursor that nobody can read comes back as it
/// was until then, quotes and all.
#[test]
fn a_reset_is_a_line_that_names_its_channel() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "1");
    let mut lines = Lines::open(&node, "channel=a", &[("Last-Event-ID", "wh\"at\\?")]);
    let (line, open) = lines.next();
    assert_eq!(open["type"], "sluice.open", "{line}");
    assert_eq!(open["cursor"], "wh\"at\\?");
    assert_eq!(inner(&open)["channels"]["a"], "reset");
    let (line, reset) = lines.next();
    let start = format!(
        "{{\"cursor\":\"{place}\",\"channel\":\"a\",\"id\":null,\"type\":\"sluice.reset\",\"event_id\":null,\"data\":\""
    );
    assert!(line.starts_with(&start), "{line}");
    let data = inner(&reset);
    assert_eq!(data["reason"], "bad_cursor");
    assert_eq!(data["to"], place.as_str());
    assert_eq!(data["from"], Value::Null);
    assert_eq!(reset.get("retry"), None);
    let next = node.publish("a", "2");
    assert_eq!(lines.next().1["cursor"], next.as_str());
}

/// The last line says why, where to go on and how long to wait; then the body ends in order.
#[test]
fn a_drained_stream_of_lines_says_so_last() {
    let mut node = Node::embedded(&[]).ready();
    let mut lines = Lines::open(&node, "channel=a", &[]).opened();
    let place = node.publish("a", "1");
    lines.next();
    node.leave();
    let (line, close) = lines.next();
    assert_eq!(close["type"], "sluice.close", "{line}");
    assert_eq!(close["cursor"], place.as_str());
    assert_eq!(
        (&close["channel"], &close["id"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(close["data"], r#"{"reason":"drain"}"#);
    let retry = close["retry"].as_u64().expect("a wait");
    assert!((200..=2_000).contains(&retry), "{line}");
    assert!(line.ends_with(&format!(",\"retry\":{retry}}}")), "{line}");
    assert_eq!(lines.raw(), None);
}

/// Weights decide; of equals, and for whoever takes anything, it is an event stream.
#[rstest]
#[case(&["application/x-ndjson"], NDJSON)]
#[case(&["text/event-stream;q=0.8, application/x-ndjson;q=0.9"], NDJSON)]
#[case(&["text/event-stream;q=0.8", "application/x-ndjson"], NDJSON)]
#[case(&["*/*, text/event-stream;q=0"], NDJSON)]
#[case(&["application/x-ndjson, text/event-stream"], EVENT_STREAM)]
#[case(&["application/x-ndjson;q=0.1, */*;q=0.5"], EVENT_STREAM)]
#[case(&["*/*"], EVENT_STREAM)]
#[case(&[], EVENT_STREAM)]
fn the_preferred_shape_is_answered_to_get_head_and_post(
    #[case] accept: &[&str],
    #[case] content_type: Option<&str>,
) {
    let node = Node::embedded(&[]).ready();
    let mut headers: Vec<(&str, &str)> = accept.iter().map(|range| ("Accept", *range)).collect();
    let target = "/v1/events?channel=a";
    let answer = call(node.public, "HEAD", target, &headers, b"");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, content_type)
    );
    let stream = Events::open(node.public, target, &headers);
    assert_eq!(stream.header("content-type"), content_type);
    headers.push(("Content-Type", "application/json"));
    let mut socket = connect(node.public).expect("connected");
    let body = br#"{"channels":["a"]}"#;
    socket
        .write_all(&request("POST", "/v1/events", &headers, body))
        .expect("sent");
    let stream = Events::over(socket);
    assert_eq!(stream.header("content-type"), content_type);
}

/// What is refused for good is refused in any shape.
#[rstest]
#[case("text/event-stream;q=0")]
#[case("application/json")]
#[case("application/x-ndjson;q=0.0, text/html")]
fn a_caller_who_takes_neither_shape_is_told(#[case] accept: &str) {
    let node = Node::embedded(&[]).ready();
    let answer = node.get("/v1/events?channel=a", &[("Accept", accept)]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (406, "not_acceptable")
    );
    assert!(answer.body.contains("application/x-ndjson"), "{answer:?}");
}

/// A reader of lines understands statuses: the place after the last is a 503 with its wait, not a stream that ends;
/// and its stream counts as any other.
#[test]
fn a_full_node_tells_a_reader_of_lines_with_503() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "2")]).ready();
    let first = Lines::open(&node, "channel=a", &[]).opened();
    let _second = Lines::open(&node, "channel=a", &[]).opened();
    for accept in [LINES, ("Accept", "application/x-ndjson, text/event-stream")] {
        let answer = node.get("/v1/events?channel=a", &[accept]);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "overloaded")
        );
        let wait = answer.header("retry-after").expect("told");
        assert!((10..=30).contains(&wait.parse::<u64>().expect("seconds")));
    }
    drop(first);
    wait("there is room", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    Lines::open(&node, "channel=a", &[]).opened();
}

/// A node that leaves says so to newcomers with 503.
#[test]
fn a_draining_node_tells_a_reader_of_lines_with_503() {
    let mut node = Node::embedded(&[
        ("DRAIN__READINESS_LEAD", "2s"),
        ("DRAIN__DEADLINE", "2100ms"),
    ])
    .ready();
    node.leave();
    find("readiness falls", PATIENCE, || {
        (node.readiness() == Some(503)).then_some(())
    });
    let answer = node.get("/v1/events?channel=a", &[LINES]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "draining")
    );
    let wait: u64 = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
}

/// A reader that stops reading is closed alone, as any.
#[test]
fn a_stalled_reader_of_lines_is_closed() {
    let node = Node::embedded(&[
        ("STREAM__SLOW_CONSUMER_AGE", "1s"),
        ("STREAM__SEND_BUFFER", "4KiB"),
    ])
    .ready();
    let stalled = Lines::open(&node, "channel=a", &[]).opened();
    let data = "x".repeat(60_000);
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    find("it is closed", PATIENCE * 2, || {
        node.publish("a", &data);
        (node.metric(slow) == 1.0).then_some(())
    });
    drop(stalled);
}

/// A page on another origin reads lines without asking first: `Accept` is safelisted (Fetch standard, 2.2.2).
#[test]
fn a_page_of_an_allowed_origin_reads_lines() {
    let page = "https://app.example";
    let node = Node::embedded(&[("HTTP__CORS_ORIGINS", page)]).ready();
    let lines = Lines::open(&node, "channel=a", &[("Origin", page)]);
    assert_eq!(lines.0.header("access-control-allow-origin"), Some(page));
    let headers = [
        ("Origin", page),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "last-event-id"),
    ];
    let answer = call(node.public, "OPTIONS", "/v1/poll", &headers, b"");
    assert_eq!(answer.status, 204);
    let evil = [("Origin", "https://evil.example"), LINES];
    for target in ["/v1/events?channel=a", "/v1/poll?channel=a"] {
        assert_eq!(node.get(target, &evil).problem(), "origin_not_allowed");
    }
    let rejected = "sluice_connections_rejected_total{reason=\"origin\"}";
    assert_eq!(node.metric(rejected), 2.0);
}

/// A stream that has reached its age says so on its last line.
#[test]
fn lines_end_at_their_age() {
    let node = Node::embedded(&[("STREAM__MAX_AGE", "1s"), ("STREAM__HEARTBEAT", "1s")]).ready();
    let mut lines = Lines::open(&node, "channel=a", &[]).opened();
    let since = Instant::now();
    let (line, close) = lines.next();
    assert_eq!(inner(&close)["reason"], "max_age", "{line}");
    assert_eq!(close.get("retry"), None, "{line}");
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(lines.raw(), None);
}

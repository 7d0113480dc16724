//! What every answer promises: headers that keep proxies from holding events back, and refusals that say what,
//! where and what to do.

use std::io::{Read as _, Write as _};

use rstest::rstest;

use crate::harness::http::{Answer, Events, call, connect};
use crate::harness::node::Node;
use crate::harness::{PATIENCE, stays, wait};

const PAGE: &str = "https://app.example";

fn node() -> Node {
    Node::embedded(&[("HTTP__CORS_ORIGINS", PAGE)]).ready()
}

/// A stream is told as one by its headers, begins with a comment at once, and its blocks all have data and an id.
#[test]
fn a_stream_has_its_headers_and_begins_with_a_comment() {
    let node = node();
    let mut stream = Events::open(node.public, "/v1/events?channel=a", &[]);
    assert_eq!(
        stream.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    assert_eq!(stream.header("content-length"), None);
    assert_eq!(stream.header("content-encoding"), None);
    assert!(stream.first_bytes().starts_with(":\n"));
    let open = stream.next();
    assert_eq!(open.event, "sluice.open");
    assert_eq!(open.json()["channels"]["a"], "live");
    assert!(open.json()["node"].is_string());
    // `stream.retry` is 3 s, a quarter of it jitter.
    assert!((2_250..=3_750).contains(&open.retry.expect("a wait")));
    assert!(open.id().starts_with("0-0."), "{open:?}");
    assert_eq!(stream.comments, 1);
}

/// HTTP/1.0 knows no chunks: the stream's bytes stand alone and end with the connection (RFC 9112, 6.1), even for a client
/// that would keep it. nginx asks in HTTP/1.0 unless it is told otherwise.
#[test]
fn an_http_1_0_client_reads_the_stream_without_chunks_to_its_end() {
    let mut node = node();
    let mut socket = connect(node.public).expect("a connection");
    socket
        .write_all(b"GET /v1/events?channel=a HTTP/1.0\r\nHost: sluice.test\r\nConnection: keep-alive\r\n\r\n")
        .expect("sent");
    wait("it has its stream", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    node.leave();
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .expect("closed by the node");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.contains(" 200 "), "{head}");
    for name in ["transfer-encoding", "content-length", "keep-alive"] {
        assert!(!head.to_ascii_lowercase().contains(name), "{head}");
    }
    assert!(body.starts_with(":\n"), "{body}");
    assert!(!body.contains('\r'), "no trace of a chunk: {body}");
    assert!(body.ends_with("data: {\"reason\":\"drain\"}\n\n"), "{body}");
}

/// A quiet stream is kept alive with comment lines, which no client takes for an event.
#[test]
fn a_quiet_stream_has_heartbeats() {
    let node = Node::embedded(&[("STREAM__HEARTBEAT", "200ms")]).ready();
    let mut stream = node.stream("channel=a", &[]);
    stream.heartbeat();
    stream.heartbeat();
}

/// HEAD has the same status and headers as GET, no body, and opens no stream.
#[test]
fn head_answers_as_get_would_and_opens_nothing() {
    let node = node();
    let answer = call(node.public, "HEAD", "/v1/events?channel=a", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert_eq!(answer.body, "");
    assert_eq!(node.metric("sluice_connections_opened_total"), 0.0);
    let answer = call(node.public, "HEAD", "/v1/events", &[], b"");
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
}

/// What is asked wrongly is told as a problem document with a stable code.
#[rstest]
#[case("GET", "/v1/events", 400, "no_channel")]
#[case("GET", "/v1/events?channel=", 400, "bad_channel")]
#[case("GET", "/v1/events?channel=a%20b", 400, "bad_channel")]
#[case("GET", "/v1/events?channel=a%0Ab", 400, "bad_channel")]
#[case("GET", "/v1/events?channel=a&channel=%7Bb%7D", 400, "bad_channel")]
#[case("GET", "/v1/events?channel=_ctl", 400, "reserved_channel")]
#[case("GET", "/v1/events?channel=a&envelope=xml", 400, "bad_parameter")]
#[case("GET", "/v1/events?channel=a&since=yesterday", 400, "bad_parameter")]
#[case("GET", "/v1/events?channel=a&last=-1", 400, "bad_parameter")]
#[case("POST", "/v1/channels/_ctl/events", 400, "reserved_channel")]
#[case("POST", "/v1/channels/a%20b/events", 400, "bad_channel")]
#[case("GET", "/v1/nothing", 404, "not_found")]
#[case("GET", "/", 404, "not_found")]
#[case("GET", "/metrics", 404, "not_found")]
#[case("DELETE", "/v1/events", 405, "method_not_allowed")]
#[case("PUT", "/v1/channels/a/events", 405, "method_not_allowed")]
fn a_wrong_request_is_told_as_a_problem(
    #[case] method: &str,
    #[case] target: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let node = node();
    let answer = call(node.public, method, target, &[], b"");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, code),
        "{answer:?}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("allow").is_some(), status == 405);
    assert_eq!(node.metric("sluice_connections_opened_total"), 0.0);
}

/// Thirty-two channels are one stream; one more is refused and named.
#[test]
fn a_stream_has_at_most_thirty_two_channels() {
    let node = node();
    let query = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("channel=c{n}")).collect();
        names.join("&")
    };
    let stream = node.stream(&query(32), &[]);
    let open = stream.opened.expect("opened").json();
    assert_eq!(open["channels"].as_object().expect("an object").len(), 32);
    let answer = node.get(&format!("/v1/events?{}", query(33)), &[]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "too_many_channels")
    );
    assert!(answer.body.contains("\"c32\""), "{answer:?}");
    // A channel named twice is one.
    drop(node.stream(&format!("{}&channel=c0", query(32)), &[]));
}

/// Whoever takes an event stream gets one, and nobody else does.
#[rstest]
#[case(&[], true)]
#[case(&["*/*"], true)]
#[case(&["text/*"], true)]
#[case(&["text/html, text/event-stream;q=0.5"], true)]
#[case(&["Text/Event-Stream"], true)]
#[case(&["application/json"], false)]
#[case(&["application/json", "text/html"], false)]
fn a_stream_is_for_those_who_accept_it(#[case] accept: &[&str], #[case] streams: bool) {
    let node = node();
    let headers: Vec<(&str, &str)> = accept.iter().map(|range| ("Accept", *range)).collect();
    if streams {
        drop(node.stream("channel=a", &headers));
    } else {
        let answer = node.get("/v1/events?channel=a", &headers);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (406, "not_acceptable")
        );
    }
}

/// POST subscribes like GET, for callers with many channels or a long cursor.
#[test]
fn a_subscription_may_be_posted_as_json() {
    let node = node();
    let post = |content_type: &str, body: &str| {
        let headers = [("Content-Type", content_type)];
        call(node.public, "POST", "/v1/events", &headers, body.as_bytes())
    };
    let code = |answer: Answer| (answer.status, answer.problem());
    assert_eq!(
        code(post("text/plain", "{}")),
        (415, "unsupported_media_type".to_owned())
    );
    assert_eq!(
        code(post("application/json", "{")),
        (400, "bad_body".to_owned())
    );
    assert_eq!(
        code(post("application/json", r#"{"channel":["a"]}"#)),
        (400, "bad_body".to_owned())
    );
    assert_eq!(
        code(post("application/json", r#"{"channels":[]}"#)),
        (400, "no_channel".to_owned())
    );
    let big = format!(
        r#"{{"channels":["a"],"last_event_id":"{}"}}"#,
        "x".repeat(2 << 20)
    );
    assert_eq!(
        code(post("application/json", &big)),
        (413, "body_too_large".to_owned())
    );

    node.publish("a", "before");
    let body = br#"{"channels":["a","b"],"last":5,"envelope":"json"}"#;
    let mut socket = crate::harness::http::connect(node.public).expect("connected");
    let headers = [("Content-Type", "application/json")];
    let request = crate::harness::http::request("POST", "/v1/events", &headers, body);
    std::io::Write::write_all(&mut socket, &request).expect("sent");
    let mut stream = Events::over(socket);
    assert_eq!(stream.next().event, "sluice.open");
    assert_eq!(stream.next().json()["data"], "before");
}

/// The envelope names the channel; its data is text, whatever it holds.
#[test]
fn the_envelope_tells_which_channel_spoke() {
    let node = node();
    let mut stream = node.stream("channel=a&channel=b&envelope=json", &[]);
    let headers = [
        ("Sluice-Event", "order.created"),
        ("Idempotency-Key", "ev-1"),
    ];
    let answer = node.post("b", &headers, "{\"n\":1}\nsecond \"line\"".as_bytes());
    let block = stream.next();
    assert_eq!(block.event, "order.created");
    let json = block.json();
    assert_eq!(json["channel"], "b");
    assert_eq!(json["id"], crate::harness::node::id(&answer).as_str());
    assert_eq!(json["type"], "order.created");
    assert_eq!(json["event_id"], "ev-1");
    assert_eq!(json["data"], "{\"n\":1}\nsecond \"line\"");
    // The cursor is of both channels, the position of one.
    assert!(block.id().starts_with("1~"), "{block:?}");
}

/// Allowed pages are told so by name, others are turned away before anything happens; a refusal's wait is readable.
#[test]
fn pages_of_allowed_origins_read_streams_and_others_do_not() {
    let node = node();
    let stream = node.stream("channel=a", &[("Origin", PAGE)]);
    assert_eq!(stream.header("access-control-allow-origin"), Some(PAGE));
    // What `withCredentials` needs; that it is not given to every origin is shown beside the policy.
    assert_eq!(
        stream.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(
        stream.header("access-control-expose-headers"),
        Some("Retry-After, X-Request-Id")
    );
    assert_eq!(stream.header("vary"), Some("Origin"));
    drop(stream);
    wait("the stream is gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    let evil = [("Origin", "https://evil.example")];
    let answer = node.get("/v1/events?channel=a", &evil);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (403, "origin_not_allowed")
    );
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = node.post("a", &evil, b"x");
    assert_eq!(answer.status, 403);
    assert_eq!(
        node.metric("sluice_published_total{outcome=\"accepted\"}"),
        0.0
    );
    assert_eq!(
        node.metric("sluice_connections_rejected_total{reason=\"origin\"}"),
        1.0
    );
    // A problem, too, is readable for the page that caused it.
    let answer = node.get("/v1/events", &[("Origin", PAGE)]);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    let preflight = [("Origin", PAGE), ("Access-Control-Request-Method", "POST")];
    let answer = call(
        node.public,
        "OPTIONS",
        "/v1/channels/a/events",
        &preflight,
        b"",
    );
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let allowed = answer.header("access-control-allow-headers").expect("told");
    for name in [
        "Authorization",
        "Content-Type",
        "Last-Event-ID",
        "Sluice-Event",
        "Idempotency-Key",
    ] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

/// Hundreds of short streams leave nothing behind.
#[test]
fn streams_that_are_gone_leave_nothing_behind() {
    let node = node();
    for _ in 0..100 {
        drop(node.stream("channel=a&channel=b", &[]));
    }
    wait("all are gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    wait("their seats, too", &0.0, PATIENCE, || {
        node.metric("sluice_subscriptions")
    });
    assert_eq!(node.metric("sluice_connections_opened_total"), 100.0);
    stays(
        "none comes back",
        &0.0,
        std::time::Duration::from_millis(200),
        || node.metric("sluice_connections"),
    );
}

/// A compressed answer's length would tell of a secret beside what an attacker chooses (BREACH).
#[test]
fn nothing_is_compressed() {
    let node = Node::embedded(&[]).ready();
    let id = node.publish("a", &"x".repeat(4_096));
    let headers = [("Accept-Encoding", "gzip, deflate, br, zstd")];
    let stream = node.stream(&format!("channel=a&last_event_id={id}"), &headers);
    drop(stream);
    for target in [
        "/v1/channels/a/events",
        "/v1/poll?channel=a&last=1",
        "/v1/events?channel=a&last=nonsense",
    ] {
        let answer = node.get(target, &headers);
        assert_eq!(answer.header("content-encoding"), None, "{target}");
    }
    let mut head = Events::open(node.public, "/v1/events?channel=a&last=1", &headers);
    assert_eq!(head.next().event, "sluice.open");
    assert_eq!(head.next().data.len(), 4_096, "as it was published");
}

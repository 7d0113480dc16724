//! Request ids: a fit one comes back as it was on every answer of both listeners, and anything else is replaced.

use std::io::{Read as _, Write as _};

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Answer, Events, call, connect};
use crate::harness::node::Node;

/// Longer than a head may be.
const LONG: &str = match str::from_utf8(&[b'x'; 20_000]) {
    Ok(text) => text,
    Err(_) => "",
};
const ADMIN: &str = "admin-of-the-tests";
const FIT: &str = "Req-7.a_b:2+c/d=@e";

fn node() -> Node {
    Node::embedded(&[("HTTP__CORS_ORIGINS", "https://app.example")]).ready()
}

fn id(answer: &Answer) -> &str {
    let ids = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "x-request-id");
    assert_eq!(ids.count(), 1, "{answer:?}");
    answer.header("x-request-id").expect("counted")
}

fn is_random(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[rstest]
#[case("GET", "/v1/poll?channel=a&timeout=0s", &[], 200)]
#[case("HEAD", "/v1/events?channel=a", &[], 200)]
#[case("GET", "/v1/events", &[], 400)]
#[case("GET", "/v1/events?channel=a", &[("Accept", "image/png")], 406)]
#[case("DELETE", "/v1/events", &[], 405)]
#[case("POST", "/v1/channels/a/events", &[], 201)]
#[case("POST", "/v1/publish", &[], 200)]
#[case("POST", "/v1/publish", &[("Content-Type", "text/plain")], 415)]
#[case("GET", "/v1/channels/a/events", &[], 200)]
#[case("GET", "/nothing", &[], 404)]
#[case("GET", "/nothing", &[("Origin", "https://evil.example")], 403)]
#[case("OPTIONS", "/v1/events", &[("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")], 204)]
#[case("GET", "/v1/events", &[("X-Long", LONG)], 431)]
fn every_public_answer_has_the_requests_id(
    #[case] method: &str,
    #[case] target: &str,
    #[case] headers: &[(&str, &str)],
    #[case] status: u16,
) {
    let node = node();
    let given = [headers, &[("X-Request-Id", FIT)]].concat();
    let answer = call(node.public, method, target, &given, b"");
    assert_eq!((answer.status, id(&answer)), (status, FIT), "{answer:?}");
    let (one, other) = (
        call(node.public, method, target, headers, b""),
        call(node.public, method, target, headers, b""),
    );
    assert!(is_random(id(&one)) && is_random(id(&other)), "{one:?}");
    assert_ne!(id(&one), id(&other));
    for answer in [answer, one] {
        if answer.header("content-type") == Some("application/problem+json") {
            let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!(problem["request_id"], id(&answer), "{answer:?}");
        }
    }
}

/// With its head, before its first event; and on the stream that an `EventSource` is refused with.
#[test]
fn a_stream_has_it_too() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "1")]).ready();
    let headers = [("X-Request-Id", FIT), ("Accept", "text/event-stream")];
    let open = |channel| {
        let target = format!("/v1/events?channel={channel}");
        Events::open(node.public, &target, &headers)
    };
    let stream = open("a");
    assert_eq!(stream.header("x-request-id"), Some(FIT));
    let refused = node.get("/v1/events?channel=b", &headers);
    assert!(refused.body.contains("sluice.close"), "{refused:?}");
    assert_eq!((refused.status, id(&refused)), (200, FIT));
}

#[rstest]
#[case("GET", "/livez", 200)]
#[case("GET", "/readyz", 200)]
#[case("GET", "/metrics", 200)]
#[case("GET", "/admin/connections", 200)]
#[case("POST", "/admin/revoke", 400)]
#[case("GET", "/nothing", 404)]
fn every_admin_answer_has_it(#[case] method: &str, #[case] target: &str, #[case] status: u16) {
    let node = Node::embedded(&[("ADMIN__TOKEN", ADMIN)]).ready();
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("X-Request-Id", FIT), ("Authorization", &bearer)];
    let answer = call(node.admin, method, target, &headers, b"{}");
    assert_eq!((answer.status, id(&answer)), (status, FIT), "{answer:?}");
    assert!(is_random(id(&call(
        node.admin,
        method,
        target,
        &headers[1..],
        b"{}"
    ))));
}

#[rstest]
#[case::too_long("x".repeat(65))]
#[case::empty(String::new())]
#[case::blank("a b".to_owned())]
#[case::tab("a\tb".to_owned())]
#[case::list("a,b".to_owned())]
#[case::markup("<b>".to_owned())]
#[case::token("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln".to_owned())]
#[case::ticket("Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo".to_owned())]
#[case::ticket_without_a_digit("mWSPIPlIGsuFlw-oxxeqkYPrvztOZocUvf-aYBvRSNE".to_owned())]
#[case::two("a\r\nX-Request-Id: b".to_owned())]
fn an_unfit_one_is_replaced(#[case] given: String) {
    let node = node();
    let headers = [("X-Request-Id", given.as_str())];
    let answer = call(node.public, "GET", "/nothing", &headers, b"");
    assert_eq!(answer.status, 404);
    assert!(is_random(id(&answer)), "{answer:?}");
    let shown = format!("{answer:?}");
    assert!(given.is_empty() || !shown.contains(&given), "{shown}");
}

/// Whatever tries to end the line: nothing of it comes back as a header of its own.
#[rstest]
#[case(b"a\rX-Evil: 1")]
#[case(b"a\nX-Evil: 1")]
#[case(b"a\r\n X-Evil: 1")]
#[case(b"a\0X-Evil: 1")]
#[case(b"a\x01X-Evil: 1")]
#[case(b"a%0d%0aX-Evil: 1")]
#[case(b"\xff\xfe")]
fn no_header_can_be_smuggled_in(#[case] value: &[u8]) {
    let node = node();
    let mut socket = connect(node.public).expect("connected");
    let head = b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: ";
    socket
        .write_all(&[head, value, b"\r\n\r\n"].concat())
        .expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 404 ") || answer.starts_with("http/1.1 400 "),
        "{answer}"
    );
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(
        !head
            .lines()
            .any(|line| line.trim_start().starts_with("x-evil")),
        "{head}"
    );
}

/// Pages may read it, to tell their operators which request failed.
#[test]
fn pages_may_read_it() {
    let node = node();
    let headers = [("Origin", "https://app.example")];
    let answer = call(node.public, "GET", "/nothing", &headers, b"");
    let exposed = answer.header("access-control-expose-headers");
    assert_eq!(exposed, Some("Retry-After, X-Request-Id"));
}

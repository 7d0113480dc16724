//! What bounds batches: so many at once on a node, each as it is sent.

use std::io::{Read, Write};
use std::net::TcpStream;

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::{PATIENCE, find};

const LINE: &[u8] = br#"{"channel":"a","data":1}"#;

fn send(node: &Node) -> Answer {
    call(node.public, "POST", "/v1/publish", &[], LINE)
}

/// A batch whose last byte is still to come.
fn half_sent(node: &Node) -> TcpStream {
    let mut socket = TcpStream::connect(node.public).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let head = "POST /v1/publish HTTP/1.1\r\nhost: node\r\nconnection: close";
    let length = LINE.len();
    write!(socket, "{head}\r\ncontent-length: {length}\r\n\r\n").expect("sent");
    socket.write_all(&LINE[..length - 1]).expect("sent");
    socket
}

fn finish(mut socket: TcpStream) -> String {
    socket.write_all(&LINE[LINE.len() - 1..]).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Of two at once, one place is free while one batch is being read, and none while two are; a place is free again with the answer.
#[test]
fn one_more_batch_than_may_be_under_way_is_told_to_come_again() {
    let node = Node::embedded(&[("LIMITS__BATCHES_AT_ONCE", "2")]).ready();
    let first = half_sent(&node);
    for _ in 0..20 {
        assert_eq!(send(&node).status, 200);
    }
    let second = half_sent(&node);
    let refused = find("both are being read", PATIENCE, || {
        Some(send(&node)).filter(|answer| answer.status != 200)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let problem: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(problem["code"], "overloaded");
    assert!(
        problem["detail"]
            .as_str()
            .expect("a text")
            .contains("nothing was published"),
        "{problem}"
    );
    let unavailable = "sluice_published_total{outcome=\"unavailable\"}";
    assert_eq!(node.metric(unavailable), 1.0);
    let hits = "sluice_limit_hits_total{limit=\"batches_at_once\"}";
    assert_eq!(node.metric(hits), 1.0);
    // A single event needs no such place.
    node.publish("a", "x");
    assert!(finish(first).starts_with("HTTP/1.1 200"));
    assert_eq!(send(&node).status, 200);
    assert!(finish(second).starts_with("HTTP/1.1 200"));
}

/// A compressed body would be published as bytes that no reader expects.
#[rstest]
fn an_encoded_body_is_refused_as_a_whole(
    #[values("/v1/publish", "/v1/channels/a/events")] target: &str,
) {
    let node = Node::embedded(&[]).ready();
    for encoding in ["gzip", "identity, br"] {
        let headers = [("Content-Encoding", encoding)];
        let answer = call(node.public, "POST", target, &headers, LINE);
        assert_eq!(answer.status, 415, "{answer:?}");
        let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(problem["code"], "unsupported_media_type");
        assert_eq!(problem["parameter"], "Content-Encoding");
        assert_eq!(problem["value"], encoding);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("`identity`"), "{detail}");
    }
    let headers = [("Content-Encoding", "Identity")];
    let answer = call(node.public, "POST", target, &headers, LINE);
    assert!([200, 201].contains(&answer.status), "{answer:?}");
}

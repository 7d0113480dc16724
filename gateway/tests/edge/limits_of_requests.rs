//! What bounds a single request, and the node: the largest that is taken, and one more; each counted by its name.

use std::io::{Read, Write};

use rstest::rstest;

use crate::harness::PATIENCE;
use crate::harness::http::{Answer, call, connect, request};
use crate::harness::node::Node;
use crate::harness::wait;
use crate::limits::hits;

fn refused(answer: &Answer, status: u16, code: &str, limit: &str) {
    assert_eq!((answer.status, answer.problem().as_str()), (status, code));
    assert!(
        answer.body.contains(&format!("\"limit\":\"{limit}\"")),
        "{answer:?}"
    );
}

#[test]
fn a_node_has_so_many_streams_and_polls_and_no_more() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "2")]).ready();
    assert_eq!(node.metric("sluice_limit_connections"), 2.0);
    let first = node.stream("channel=a", &[]);
    let _second = node.stream("channel=a", &[]);
    for target in ["/v1/events?channel=a", "/v1/poll?channel=a"] {
        refused(&node.get(target, &[]), 503, "overloaded", "connections");
    }
    assert_eq!(hits(&node, "connections"), 2.0);
    drop(first);
    wait("one has ended", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    drop(node.stream("channel=a", &[]));
}

#[test]
fn a_stream_has_so_many_channels_and_no_more() {
    let node = Node::embedded(&[("LIMITS__CHANNELS_PER_CONNECTION", "2")]).ready();
    drop(node.stream("channel=a&channel=b", &[]));
    let three = "channel=a&channel=b&channel=c";
    for path in ["events", "poll"] {
        let answer = node.get(&format!("/v1/{path}?{three}"), &[]);
        refused(&answer, 400, "too_many_channels", "channels_per_connection");
    }
    assert_eq!(hits(&node, "channels_per_connection"), 2.0);
}

/// Alone and as a line of a batch.
#[test]
fn an_event_has_so_many_bytes_and_no_more() {
    let node = Node::embedded(&[("LIMITS__EVENT_BYTES", "100B")]).ready();
    let (most, over) = ("x".repeat(100), "x".repeat(101));
    node.publish("a", &most);
    let answer = node.post("a", &[], over.as_bytes());
    refused(&answer, 413, "body_too_large", "event_bytes");
    assert_eq!(hits(&node, "event_bytes"), 1.0);
    let line = |data: &str| format!("{{\"channel\":\"a\",\"data\":\"{data}\"}}");
    let batch = format!("{}\n{}", line(&most), line(&over));
    let answer = call(node.public, "POST", "/v1/publish", &[], batch.as_bytes());
    let lines: Vec<&str> = answer.body.lines().collect();
    assert!(lines[0].contains("\"id\":"), "{answer:?}");
    assert!(lines[1].contains("event_too_large"), "{answer:?}");
    assert_eq!(hits(&node, "event_bytes"), 2.0);
}

/// Target and header fields, each of these with four bytes around it.
#[test]
fn a_head_has_so_many_bytes_and_no_more() {
    let node = Node::embedded(&[("HTTP__HEAD_BYTES", "4KiB")]).ready();
    let others = [("host", "sluice.test"), ("connection", "close")];
    let others: usize = others
        .map(|(name, value)| name.len() + value.len() + 4)
        .iter()
        .sum();
    let most = 4_096 - others - "/nothing".len() - "x-filler".len() - 4;
    let get = |bytes| node.get("/nothing", &[("x-filler", &"y".repeat(bytes))]);
    assert_eq!(get(most).status, 404);
    let answer = get(most + 1);
    assert_eq!(answer.status, 431, "{answer:?}");
    refused(&answer, 431, &answer.problem(), "head_bytes");
    assert_eq!(hits(&node, "head_bytes"), 1.0);
}

/// A subscription, padded to its limit with blanks.
#[test]
fn a_body_has_so_many_bytes_and_no_more() {
    let node = Node::embedded(&[
        ("HTTP__BODY_BYTES", "1KiB"),
        ("LIMITS__EVENT_BYTES", "1KiB"),
    ]);
    let node = node.ready();
    let body = |bytes: usize| {
        let text = r#"{"channels":["no channel"]}"#;
        text.to_owned() + &" ".repeat(bytes - text.len())
    };
    let post = |bytes| {
        call(
            node.public,
            "POST",
            "/v1/events",
            &[],
            body(bytes).as_bytes(),
        )
    };
    // Read and understood: it is refused for what it says.
    assert_eq!(post(1_024).problem(), "bad_channel");
    refused(&post(1_025), 413, "body_too_large", "body_bytes");
    assert_eq!(hits(&node, "body_bytes"), 1.0);
}

#[rstest]
#[case::publish("/v1/channels/a/events")]
#[case::subscribe("/v1/events")]
#[case::batch("/v1/publish")]
fn a_body_takes_so_long_and_no_longer(#[case] target: &str) {
    let node = Node::embedded(&[
        ("HTTP__HEAD_TIMEOUT", "200ms"),
        ("HTTP__BODY_BYTES", "4MiB"),
    ]);
    let node = node.ready();
    let whole = request("POST", target, &[("Connection", "close")], b"12");
    let mut socket = connect(node.public).expect("connected");
    socket.write_all(&whole[..whole.len() - 1]).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"limit\":\"body_time\""), "{answer}");
    assert_eq!(hits(&node, "body_time"), 1.0);
}

#[test]
fn a_batch_has_so_many_bytes_and_events_and_no_more() {
    let node = Node::embedded(&[
        ("LIMITS__EVENT_BYTES", "1KiB"),
        ("LIMITS__BATCH_BYTES", "1KiB"),
        ("LIMITS__BATCH_EVENTS", "2"),
    ])
    .ready();
    let send = |body: String| call(node.public, "POST", "/v1/publish", &[], body.as_bytes());
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    let padded = |bytes: usize| line.to_owned() + &" ".repeat(bytes - line.len());
    assert_eq!(send(padded(1_024)).status, 200);
    refused(&send(padded(1_025)), 413, "body_too_large", "batch_bytes");
    assert_eq!(send(line.repeat(2)).status, 200);
    refused(&send(line.repeat(3)), 413, "body_too_large", "batch_events");
    assert_eq!(
        (hits(&node, "batch_bytes"), hits(&node, "batch_events")),
        (1.0, 1.0)
    );
}

#[test]
fn the_embedded_broker_keeps_so_many_channels_and_no_more() {
    let node = Node::embedded(&[("LIMITS__EMBEDDED_CHANNELS", "2")]).ready();
    node.publish("a", "x");
    node.publish("b", "x");
    assert_eq!(node.post("c", &[], b"x").status, 503);
    wait("it is counted", &1.0, PATIENCE, || {
        hits(&node, "embedded_channels")
    });
}

//! Publishing over HTTP: what is accepted, what is refused, and that a repeated key publishes once.

use std::io::{Read, Write};

use rstest::rstest;

use crate::harness::http::{call, connect};
use crate::harness::node::{Node, id};

fn node() -> Node {
    Node::embedded(&[("LIMITS__EVENT_BYTES", "1KiB")]).ready()
}

/// What breaks a rule is refused with a stable code, and nobody hears of it.
#[rstest]
#[case::reserved_type(&[("Sluice-Event", "sluice.open")], b"x", 400, "bad_event_type")]
#[case::open(&[("Sluice-Event", "open")], b"x", 400, "bad_event_type")]
#[case::error(&[("Sluice-Event", "error")], b"x", 400, "bad_event_type")]
#[case::empty_id(&[("Idempotency-Key", "")], b"x", 400, "bad_event_id")]
#[case::not_utf8(&[], b"\xff\xfe", 400, "data_not_utf8")]
#[case::cut_utf8(&[], b"a\xe2\x82", 400, "data_not_utf8")]
fn a_bad_event_is_refused(
    #[case] headers: &[(&str, &str)],
    #[case] data: &[u8],
    #[case] status: u16,
    #[case] code: &str,
) {
    let node = node();
    let mut stream = node.stream("channel=a", &[]);
    let answer = node.post("a", headers, data);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, code),
        "{answer:?}"
    );
    assert_eq!(
        node.metric("sluice_published_total{outcome=\"refused\"}"),
        1.0
    );
    node.publish("a", "good");
    assert_eq!(stream.next().data, "good");
}

/// What cannot be read at all counts as refused like any other.
#[test]
fn a_header_that_is_not_utf8_is_refused_and_counted() {
    let node = node();
    for name in ["Sluice-Event", "Idempotency-Key"] {
        // Of its own: a body that is left unread ends its connection.
        let mut socket = connect(node.public).expect("connected");
        let head = format!(
            "POST /v1/channels/a/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{name}: "
        );
        let bytes = [head.as_bytes(), b"\xff\r\n\r\nx"].concat();
        socket.write_all(&bytes).expect("sent");
        let mut answer = [0; 4_096];
        let count = socket.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let refused = node.metric("sluice_published_total{outcome=\"refused\"}");
    assert_eq!(refused, 2.0);
}

/// A type of 128 characters is a type, one of 129 is none.
#[test]
fn a_type_has_at_most_128_characters() {
    let node = node();
    let mut stream = node.stream("channel=a", &[]);
    let longest = "t".repeat(128);
    assert_eq!(
        node.post("a", &[("Sluice-Event", &longest)], b"x").status,
        201
    );
    assert_eq!(stream.next().event, longest);
    let longer = "t".repeat(129);
    let answer = node.post("a", &[("Sluice-Event", &longer)], b"x");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "bad_event_type")
    );
}

/// The largest event is delivered whole; one byte more is 413.
#[test]
fn an_event_over_the_limit_is_refused_with_413() {
    let node = node();
    let mut stream = node.stream("channel=a", &[]);
    let largest = "x".repeat(1_024);
    node.publish("a", &largest);
    assert_eq!(stream.next().data, largest);
    let answer = node.post("a", &[], format!("{largest}x").as_bytes());
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(["body_too_large", "event_too_large"].contains(&answer.problem().as_str()));
}

/// Data of any shape arrives as it was sent, with line ends as the event stream has them.
#[rstest]
#[case("", "")]
#[case(" leading", " leading")]
#[case("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour")]
#[case("trailing\n", "trailing\n")]
#[case("data: x\nevent: y\n\nid: z", "data: x\nevent: y\n\nid: z")]
#[case("\u{feff}Xin chào 👋 \u{0}", "\u{feff}Xin chào 👋 \u{0}")]
fn data_arrives_as_it_was_sent(#[case] sent: &str, #[case] read: &str) {
    let node = node();
    let mut stream = node.stream("channel=a", &[]);
    let position = node.publish("a", sent);
    let block = stream.next();
    assert_eq!(block.data, read);
    assert_eq!((block.event.as_str(), block.id()), ("", position.as_str()));
}

/// The same key publishes once: its second answer is the first position; with another payload it is a conflict.
#[test]
fn a_repeated_key_publishes_once() {
    let node = node();
    let mut stream = node.stream("channel=a", &[]);
    let key = [("Idempotency-Key", "ev-77"), ("Sluice-Event", "paid")];
    let first = node.post("a", &key, b"one");
    let again = node.post("a", &key, b"one");
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(id(&first), id(&again));
    for (headers, data) in [(key, "two"), ([key[0], ("Sluice-Event", "sent")], "one")] {
        let reused = node.post("a", &headers, data.as_bytes());
        assert_eq!(
            (reused.status, reused.problem().as_str()),
            (409, "event_id_reused")
        );
    }
    // On another channel the key is another's.
    assert_eq!(node.post("b", &key, b"two").status, 201);
    node.publish("a", "end");
    assert_eq!(stream.data(2), ["one", "end"]);
}

/// The answer names channel and position, and is a 201.
#[test]
fn the_answer_to_a_publish_is_its_position() {
    let node = node();
    let answer = call(node.public, "POST", "/v1/channels/a%3Ab/events", &[], b"x");
    assert_eq!(answer.status, 201, "{answer:?}");
    let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(json["channel"], "a:b");
    let (id, tag) = json["id"]
        .as_str()
        .expect("text")
        .split_once('.')
        .expect("a tag");
    assert!(id.split_once('-').is_some() && tag.len() == 8, "{json}");
}

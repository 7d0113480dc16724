//! The token during the stream: told ahead of its end, and no event after it.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Block, Events};
use crate::harness::node::{Node, id};
use crate::harness::tokens::{SETTINGS, bearer_until, second_in, since};
use crate::harness::{PATIENCE, find};

fn node(settings: &[(&str, &str)]) -> Node {
    Node::embedded(&[&SETTINGS, settings].concat()).ready()
}

/// Opens `/v1/events?channel=a` in either shape.
pub fn open(node: &Node, authorization: &str, accept: &str) -> Events {
    let headers = [("Authorization", authorization), ("Accept", accept)];
    Events::open(node.public, "/v1/events?channel=a", &headers)
}

/// The next block of an event stream, or the next line of NDJSON as if it were one.
pub fn next(stream: &mut Events, accept: &str) -> Block {
    if accept == "text/event-stream" {
        return stream.next();
    }
    loop {
        let line = stream
            .line(Instant::now() + PATIENCE)
            .expect("a line before the end");
        if line.is_empty() {
            continue;
        }
        let line: Value = serde_json::from_str(&line).expect("JSON");
        return Block {
            event: line["type"].as_str().unwrap_or_default().to_owned(),
            data: line["data"].as_str().expect("data").to_owned(),
            id: line["cursor"].as_str().map(str::to_owned),
            retry: None,
        };
    }
}

/// The reader is told in time to get a new token; then the stream ends within a second of the token, at its place.
#[rstest]
#[case::event_stream("text/event-stream")]
#[case::ndjson("application/x-ndjson")]
fn a_reader_is_told_ahead_and_its_stream_ends_with_the_token(#[case] accept: &str) {
    let node = node(&[("STREAM__EXPIRING_LEAD", "1s")]);
    let exp = second_in(2);
    let token = bearer_until("ann", &["a"], exp);
    let mut stream = open(&node, &token, accept);
    let open = next(&mut stream, accept);
    assert_eq!(open.event, "sluice.open");
    assert_eq!(
        open.json()["connection"].as_str().expect("a name").len(),
        22
    );
    let answer = node.post("a", &[("Authorization", token.as_str())], b"one");
    let place = id(&answer);
    assert_eq!(next(&mut stream, accept).data, "one");
    let warning = next(&mut stream, accept);
    assert_eq!(warning.event, "sluice.expiring");
    assert_eq!(warning.id(), place);
    let expires_at =
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(exp));
    assert_eq!(warning.json()["expires_at"], expires_at.to_string());
    assert_eq!(
        warning.json()["seconds"],
        0,
        "less than a whole second is left"
    );
    assert_eq!(since(exp), None, "ahead of time");
    let close = next(&mut stream, accept);
    let late = since(exp).expect("not before its time");
    assert_eq!(
        (close.event.as_str(), close.id()),
        ("sluice.close", place.as_str())
    );
    assert_eq!(close.json()["reason"], "token_expired");
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!(stream.line(Instant::now() + PATIENCE), None);
}

/// A token that is near its end already is told right after `sluice.open`; a lead of 0s is never told.
#[test]
fn a_short_token_is_told_at_once_unless_that_is_off() {
    for (lead, told) in [("1m", true), ("0s", false)] {
        let node = node(&[("STREAM__EXPIRING_LEAD", lead)]);
        let token = bearer_until("ann", &["a"], second_in(20));
        let mut stream = open(&node, &token, "text/event-stream");
        assert_eq!(stream.next().event, "sluice.open");
        node.post("a", &[("Authorization", token.as_str())], b"one");
        let next = stream.next();
        if told {
            assert_eq!(next.event, "sluice.expiring");
            let seconds = next.json()["seconds"].as_u64().expect("a number");
            assert!((15..=20).contains(&seconds), "{next:?}");
            assert_eq!(stream.next().data, "one");
        } else {
            assert_eq!(next.data, "one");
        }
    }
}

/// A poll that waits when its token ends is answered with its place; it has no warnings.
#[test]
fn a_poll_ends_with_its_token() {
    let node = node(&[]);
    let exp = second_in(1);
    let token = bearer_until("ann", &["a"], exp);
    let headers = [("Authorization", token.as_str())];
    let place = id(&node.post("a", &headers, b"one"));
    let target = format!("/v1/poll?channel=a&last_event_id={place}&timeout=30s");
    let answer = node.get(&target, &headers);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.body,
        format!("{{\"cursor\":\"{place}\",\"events\":[]}}")
    );
    assert!(since(exp).expect("not before its time") < Duration::from_secs(1));
    find("the door knows of it too", PATIENCE, || {
        let answer = node.get(&target, &headers);
        (answer.status == 401).then(|| assert_eq!(answer.problem(), "token_expired"))
    });
}

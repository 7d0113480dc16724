//! A new token for a stream that is open.

use std::time::Duration;

use rstest::rstest;
use serde_json::Value;

use super::expiry::{next, open};
use crate::harness::http::{Block, Events, call};
use crate::harness::node::Node;
use crate::harness::tokens::{SETTINGS, bearer_until, second_in, since};

fn node() -> Node {
    let quiet = [("STREAM__EXPIRING_LEAD", "0s")];
    Node::embedded(&[&SETTINGS[..], &quiet].concat()).ready()
}

/// The name that `sluice.open` told.
pub fn name(open: &Block) -> String {
    assert_eq!(open.event, "sluice.open");
    open.json()["connection"]
        .as_str()
        .expect("a name")
        .to_owned()
}

/// Renewed twice, a stream outlives its first token by events that all arrive once; then it ends with the last one.
#[rstest]
#[case::event_stream("text/event-stream")]
#[case::ndjson("application/x-ndjson")]
fn a_renewed_stream_outlives_its_first_token_and_ends_with_its_last(#[case] accept: &str) {
    let node = node();
    let first = second_in(1);
    let token = |exp| bearer_until("ann", &["a", "other"], exp);
    let mut stream = open(&node, &token(first), accept);
    let name = name(&next(&mut stream, accept));
    let publisher = bearer_until("bob", &["a"], second_in(60));
    let mut sent = 0;
    let mut pass = |stream: &mut Events| {
        sent += 1;
        let data = format!("event {sent}");
        let answer = node.post(
            "a",
            &[("Authorization", publisher.as_str())],
            data.as_bytes(),
        );
        let block = next(stream, accept);
        assert_eq!(
            (block.data.as_str(), block.id()),
            (data.as_str(), crate::harness::node::id(&answer).as_str())
        );
    };
    for exp in [first + 1, first + 2] {
        let answer = node.renew(&name, &token(exp));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        let told =
            humantime::parse_rfc3339(json["expires_at"].as_str().expect("told")).expect("a time");
        assert_eq!(told, std::time::UNIX_EPOCH + Duration::from_secs(exp));
        pass(&mut stream);
    }
    while since(first + 1).is_none() {
        pass(&mut stream);
    }
    assert!(sent > 3, "it has outlived its first two tokens reading");
    let close = next(&mut stream, accept);
    let late = since(first + 2).expect("not before its time");
    assert_eq!(close.json()["reason"], "token_expired");
    assert!(late < Duration::from_secs(1), "{late:?} late");
    let answer = node.renew(&name, &token(first + 60));
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "unknown_connection")
    );
}

/// A token of somebody else, or one that allows less, leaves the stream as it was: with the old token's end.
#[test]
fn a_token_that_does_not_fit_changes_nothing() {
    let node = node();
    let exp = second_in(1);
    let ann = bearer_until("ann", &["a", "b"], exp);
    let headers = [("Authorization", ann.as_str())];
    let mut stream = Events::open(node.public, "/v1/events?channel=a&channel=b", &headers);
    let name = name(&stream.next());
    for (token, code) in [
        (bearer_until("bob", &["**"], exp + 60), "other_subject"),
        (bearer_until("ann", &["a"], exp + 60), "insufficient_scope"),
    ] {
        let answer = node.renew(&name, &token);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, code),
            "{answer:?}"
        );
        // Whoever reads no channel of the stream is not told which it has.
        assert_eq!(
            answer.body.contains("\"value\":\"b\""),
            code == "insufficient_scope"
        );
    }
    let close = stream.next();
    assert_eq!(close.json()["reason"], "token_expired");
    assert!(since(exp).expect("not before its time") < Duration::from_secs(1));
}

/// The name of a stream opens nothing: there has to be a good token, and a stream.
#[test]
fn a_name_alone_grants_nothing() {
    let node = node();
    let exp = second_in(30);
    let ann = bearer_until("ann", &["a"], exp);
    let mut stream = open(&node, &ann, "text/event-stream");
    let name = name(&stream.next());
    let target = format!("/v1/events/{name}/token");
    let answer = call(node.public, "POST", &target, &[], b"");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "token_missing")
    );
    let cookie = ann.replace("Bearer ", "__Host-sluice=AAAAAAAAAAAAAAAAAAAAAA.");
    let cookie = ("Cookie", cookie.as_str());
    for headers in [&[cookie][..], &[cookie, ("Authorization", "Basic eA==")]] {
        let answer = call(node.public, "POST", &target, headers, b"");
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (401, "token_missing"),
            "a cookie is no way to renew"
        );
    }
    let answer = node.renew(&name, &bearer_until("ann", &["a"], exp - 60));
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "token_expired")
    );
    let answer = node.renew(&name, &format!("{ann}x"));
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "invalid_token")
    );
    for nobody in ["AAAAAAAAAAAAAAAAAAAAAA", "x"] {
        let answer = node.renew(nobody, &ann);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (404, "unknown_connection")
        );
    }
    let answer = call(node.public, "GET", &target, &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

/// Without tokens there is none to renew.
#[test]
fn an_open_gateway_renews_nothing() {
    let node = Node::embedded(&[]).ready();
    let stream = node.stream("channel=a", &[]);
    let name = name(stream.opened.as_ref().expect("opened"));
    let answer = node.renew(&name, "Bearer x");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "no_tokens_here")
    );
}

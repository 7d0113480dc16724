//! What will pass is told so that a native EventSource, which gives up for ever on any status but 200, comes back.

use std::time::Duration;

use rstest::rstest;

use crate::harness::http::{Answer, Block, Events};
use crate::harness::node::Node;
use crate::harness::{PATIENCE, find, wait};

const EVENT_SOURCE: (&str, &str) = ("Accept", "text/event-stream");
const PLACE: &str = "1763676000123-0.9f2c41aa";

/// The one block of a refusal, and that it is the whole stream.
fn refusal(node: &Node, query: &str, headers: &[(&str, &str)]) -> Block {
    let headers = [headers, &[EVENT_SOURCE]].concat();
    let mut stream = Events::open(node.public, &format!("/v1/events?{query}"), &headers);
    assert_eq!(
        stream.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    let blocks = match stream.header("content-length") {
        None => stream.rest(),
        Some(_) => {
            let answer = node.get(&format!("/v1/events?{query}"), &headers);
            parse(&answer)
        }
    };
    let [block] = <[Block; 1]>::try_from(blocks).expect("one block");
    assert_eq!(block.event, "sluice.close");
    block
}

fn parse(answer: &Answer) -> Vec<Block> {
    let mut block = Block::default();
    let body = answer.body.strip_suffix("\n\n").expect("a whole block");
    for line in body.lines() {
        match line.split_once(": ").expect("a field") {
            ("event", value) => block.event = value.to_owned(),
            ("data", value) => block.data = value.to_owned(),
            ("id", value) => block.id = Some(value.to_owned()),
            ("retry", value) => block.retry = Some(value.parse().expect("a number")),
            other => panic!("{other:?}"),
        }
    }
    vec![block]
}

/// A full node tells an EventSource to come back later, and gives it back its own place so that nothing erases it.
#[rstest]
#[case::header("channel=a", Some(PLACE), Some(PLACE))]
#[case::unreadable("channel=a", Some("what?"), Some("what?"))]
#[case::query(&*format!("channel=a&last_event_id={PLACE}"), None, Some(PLACE))]
#[case::header_wins("channel=a&last_event_id=0-0.00000000", Some(PLACE), Some(PLACE))]
#[case::none("channel=a", None, None)]
fn a_full_node_gives_an_event_source_its_place_back(
    #[case] query: &str,
    #[case] last_event_id: Option<&str>,
    #[case] echoed: Option<&str>,
) {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "1")]).ready();
    let first = node.stream("channel=a", &[]);
    let headers: Vec<(&str, &str)> = last_event_id
        .iter()
        .map(|text| ("Last-Event-ID", *text))
        .collect();
    let close = refusal(&node, query, &headers);
    assert_eq!(close.json()["reason"], "overload");
    assert_eq!(close.id.as_deref(), echoed);
    // `stream.overload_retry` is 20 s: half of it to one and a half.
    assert!((10_000..=30_000).contains(&close.retry.expect("a wait")));
    let rejected = "sluice_connections_rejected_total{reason=\"overload\"}";
    assert!(node.metric(rejected) >= 1.0);
    drop(first);
    wait("there is room", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    drop(node.stream("channel=a", &[EVENT_SOURCE]));
}

/// Other callers understand statuses, and are told in seconds when to come back.
#[rstest]
#[case(&[])]
#[case(&[("Accept", "*/*")])]
#[case(&[("Accept", "text/event-stream, application/json")])]
fn a_full_node_tells_other_callers_with_503(#[case] headers: &[(&str, &str)]) {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS", "1")]).ready();
    let _first = node.stream("channel=a", &[]);
    let answer = node.get("/v1/events?channel=a", headers);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded")
    );
    let wait: u64 = answer
        .header("retry-after")
        .expect("told")
        .parse()
        .expect("seconds");
    assert!((10..=30).contains(&wait), "{wait}");
    // A full node stays ready: were it to leave the load balancer, its 503 would end every EventSource.
    assert_eq!(node.readiness(), Some(200));
}

/// A draining node goes on answering until its window ends: come back soon, elsewhere.
#[test]
fn a_draining_node_sends_new_callers_elsewhere() {
    let mut node = Node::embedded(&[
        ("DRAIN__READINESS_LEAD", "3s"),
        ("DRAIN__DEADLINE", "3100ms"),
    ])
    .ready();
    let mut open = node.stream("channel=a", &[]);
    node.leave();
    find("readiness falls", PATIENCE, || {
        (node.readiness() == Some(503)).then_some(())
    });
    let close = refusal(&node, "channel=a", &[("Last-Event-ID", PLACE)]);
    assert_eq!(close.json()["reason"], "drain");
    assert_eq!(close.id.as_deref(), Some(PLACE));
    assert!((200..=2_000).contains(&close.retry.expect("a wait")));
    let answer = node.get("/v1/events?channel=a", &[]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "draining")
    );
    assert!(answer.header("retry-after").is_some());
    // What is open goes on until its own end.
    let position = node.publish("a", "still here");
    assert_eq!(open.next().data, "still here");
    let close = open.next();
    assert_eq!(close.json()["reason"], "drain");
    assert_eq!(close.id(), position);
    assert!(open.rest().is_empty());
    assert!(node.ended(Duration::from_secs(5)) < Duration::from_secs(4));
}

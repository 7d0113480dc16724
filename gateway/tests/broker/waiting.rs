//! A stream whose channels' places are not known yet: it opens all the same, keeps the reader's place, and says when
//! it knows.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::harness::http::Events;
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;

const SETTINGS: &[(&str, &str)] = &[
    ("STREAM__OPEN_WAIT", "300ms"),
    ("REDIS__BACKOFF_MAX", "200ms"),
];

/// The headers and a comment come at once, `sluice.open` after its wait with what is known, and again once all is;
/// nothing on the way erases the reader's place.
#[rstest]
#[case::place("channel=a", "place")]
#[case::unreadable("channel=a", "what?")]
#[case::bare_place_of_several("channel=a&channel=b", "place")]
#[case::unreadable_of_several("channel=a&channel=b", "what?")]
#[case::cursor_of_several("channel=a&channel=b", "many")]
fn a_stream_opens_while_redis_hangs_and_keeps_its_place(#[case] query: &str, #[case] start: &str) {
    let redis = RedisServer::start();
    // Another node, so that this one knows nothing of the channels.
    let other = Node::redis(&redis.url(), &[]).ready();
    let mut many = other.stream("channel=a&channel=b", &[]);
    let place = other.publish("a", "1");
    other.publish("a", "2");
    let cursor = match start {
        "place" => place,
        "many" => many.next().id().to_owned(),
        text => text.to_owned(),
    };
    let node = Node::redis(&redis.url(), SETTINGS).ready();
    redis.freeze();
    let since = Instant::now();
    let target = format!("/v1/events?{query}");
    let mut stream = Events::open(node.public, &target, &[("Last-Event-ID", &cursor)]);
    assert!(stream.first_bytes().starts_with(":\n"));
    assert!(
        since.elapsed() < Duration::from_millis(300),
        "the comment comes before anything is known"
    );
    let open = stream.next();
    assert_eq!(
        (open.event.as_str(), open.id()),
        ("sluice.open", cursor.as_str())
    );
    let channels = open.json()["channels"].clone();
    assert!(
        channels
            .as_object()
            .expect("channels")
            .values()
            .all(|status| status == "waiting")
    );
    redis.thaw();
    let open = stream.next();
    assert_eq!(open.event, "sluice.open");
    let after = if start == "what?" { "reset" } else { "resumed" };
    // With several channels this may be said of one after the other.
    let mut status = open.json()["channels"]["a"].clone();
    while status == "waiting" {
        // The reset of the one may come before the place of the other is known.
        let block = stream.next();
        if block.event == "sluice.open" {
            status = block.json()["channels"]["a"].clone();
        }
    }
    assert_eq!(status, after);
    let found = std::iter::from_fn(|| Some(stream.next())).find(|block| match after {
        "reset" => block.event == "sluice.reset",
        _ => block.event.is_empty(),
    });
    let found = found.expect("one of them");
    if after == "reset" {
        assert_eq!(found.json()["reason"], "bad_cursor");
    } else {
        assert_eq!(found.data, "2");
    }
}

/// A stream that ends before its place is known gives the place back.
#[test]
fn a_stream_that_ends_while_waiting_gives_the_place_back() {
    let redis = RedisServer::start();
    let settings = [
        SETTINGS,
        &[("STREAM__HEARTBEAT", "300ms"), ("STREAM__MAX_AGE", "1s")],
    ]
    .concat();
    let node = Node::redis(&redis.url(), &settings).ready();
    redis.freeze();
    let mut streams = ["what?", "1763676000123-0.9f2c41aa"].map(|cursor| {
        let target = "/v1/events?channel=a&channel=b";
        (
            cursor,
            Events::open(node.public, target, &[("Last-Event-ID", cursor)]),
        )
    });
    for (cursor, stream) in &mut streams {
        let blocks = stream.rest();
        assert!(
            blocks.iter().all(|block| block.id() == *cursor),
            "{blocks:?}"
        );
        let close = blocks.last().expect("a close");
        assert_eq!(close.event, "sluice.close");
        assert_eq!(close.json()["reason"], "max_age");
    }
    redis.thaw();
}

/// Readers begin only so many new channels a second; the rest wait, are told so, and come live in their turn.
#[test]
fn new_channels_are_begun_at_a_bounded_rate() {
    let redis = RedisServer::start();
    let settings = [SETTINGS, &[("LIMITS__NEW_HEADS_PER_SECOND", "2")]].concat();
    let node = Node::redis(&redis.url(), &settings).ready();
    let channels: Vec<String> = (0..6).map(|n| format!("channel=c{n}")).collect();
    let since = Instant::now();
    let mut stream = node.stream(&channels.join("&"), &[]);
    let mut open = stream.opened.clone().expect("opened");
    let waiting = |open: &crate::harness::http::Block| {
        let json = open.json();
        let statuses = json["channels"].as_object().expect("channels").clone();
        statuses
            .values()
            .filter(|status| *status == "waiting")
            .count()
    };
    assert!(waiting(&open) >= 2, "{open:?}");
    while waiting(&open) > 0 {
        open = stream.next();
        assert_eq!(open.event, "sluice.open");
    }
    // Two in each of three seconds, the first of them at once.
    assert!(
        since.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        since.elapsed()
    );
    for n in 0..6 {
        node.publish(&format!("c{n}"), "x");
        assert_eq!(stream.next().data, "x");
    }
    assert!(node.metric("sluice_limit_hits_total{limit=\"new_heads\"}") >= 4.0);
}

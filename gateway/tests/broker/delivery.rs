//! What a reader gets, on either broker: its channels' events, in order, once, from where it stopped, or a reset.

use rstest::rstest;

use crate::harness::ground::Backend;
use crate::harness::http::Block;
use crate::harness::node::{Node, id};
use crate::harness::{PATIENCE, wait};

fn numbers(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

fn publish(node: &Node, channel: &str, from: u32, to: u32) -> Vec<String> {
    let data = numbers(from, to);
    data.iter().map(|n| node.publish(channel, n)).collect()
}

fn data(blocks: &[Block]) -> Vec<String> {
    blocks.iter().map(|block| block.data.clone()).collect()
}

fn statuses(open: &Block) -> String {
    open.json()["channels"].to_string()
}

/// Events come in the order of their positions, each once, and each block's id is its position.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_reader_gets_each_event_once_in_order(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let mut stream = ground.node.stream("channel=a", &[]);
    let positions = publish(&ground.node, "a", 1, 50);
    let blocks = stream.take(50);
    assert_eq!(data(&blocks), numbers(1, 50));
    let ids: Vec<String> = blocks.iter().map(|block| block.id().to_owned()).collect();
    assert_eq!(ids, positions);
    assert!(blocks.iter().all(|block| block.event.is_empty()));
}

/// A reader of one channel hears nothing of another.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_reader_hears_its_own_channels_only(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let mut stream = ground.node.stream("channel=a", &[]);
    ground.node.publish("b", "not for a");
    ground.node.publish("a.b", "not for a");
    ground.node.publish("a", "for a");
    assert_eq!(stream.next().data, "for a");
}

/// A reader that comes back with its last id gets what it missed and goes on live, with no seam between.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_reader_resumes_where_it_stopped(
    #[case] backend: Backend,
    #[values("header", "query")] way: &str,
) {
    let ground = backend.start(&[("LIMITS__BACKFILL_PAGE", "7")]);
    let node = &ground.node;
    let positions = publish(node, "a", 1, 40);
    let mut stream = match way {
        "header" => node.stream("channel=a", &[("Last-Event-ID", &positions[9])]),
        _ => node.stream(&format!("channel=a&last_event_id={}", positions[9]), &[]),
    };
    let open = stream.opened.clone().expect("opened");
    assert_eq!(statuses(&open), r#"{"a":"resumed"}"#);
    // The incoming place, so that a cut before the first event loses nothing.
    assert_eq!(open.id(), positions[9]);
    publish(node, "a", 41, 45);
    assert_eq!(stream.data(35), numbers(11, 45));
    assert_eq!(
        node.metric("sluice_resets_told_total{reason=\"trimmed\"}"),
        0.0
    );
}

/// A reader that missed nothing gets nothing twice.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_reader_that_missed_nothing_resumes_in_silence(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let last = publish(&ground.node, "a", 1, 3).pop().expect("three");
    let mut stream = ground.node.stream("channel=a", &[("Last-Event-ID", &last)]);
    ground.node.publish("a", "4");
    assert_eq!(stream.next().data, "4");
    // The genesis of a channel is a place, too: all of its events come after it.
    let fresh = ground.node.stream("channel=new", &[]);
    let genesis = fresh.opened.as_ref().expect("opened").id().to_owned();
    drop(fresh);
    publish(&ground.node, "new", 1, 3);
    let mut stream = ground
        .node
        .stream("channel=new", &[("Last-Event-ID", &genesis)]);
    assert_eq!(stream.data(3), numbers(1, 3));
}

/// What history no longer holds is told as a reset from where to where, and the stream goes on from there.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_place_that_is_trimmed_away_is_told_as_a_reset(#[case] backend: Backend) {
    let ground = backend.start(&[("HISTORY__MAX_EVENTS", "10")]);
    let node = &ground.node;
    // Redis trims by whole nodes of its radix tree: far more than one node's entries.
    let positions = publish(node, "a", 1, 400);
    let mut stream = node.stream("channel=a", &[("Last-Event-ID", &positions[0])]);
    let open = stream.opened.clone().expect("opened");
    assert_eq!(statuses(&open), r#"{"a":"reset"}"#);
    assert_eq!(
        open.id(),
        positions[0],
        "nothing is skipped before the reset is told"
    );
    let reset = stream.next();
    assert_eq!(reset.event, "sluice.reset");
    let json = reset.json();
    assert_eq!(
        (json["channel"].as_str(), json["reason"].as_str()),
        (Some("a"), Some("trimmed"))
    );
    assert_eq!(json["from"], positions[0].as_str());
    assert_eq!(json["to"], positions[399].as_str());
    assert_eq!(reset.id(), positions[399]);
    node.publish("a", "next");
    assert_eq!(stream.next().data, "next");
    assert_eq!(
        node.metric("sluice_resets_told_total{reason=\"trimmed\"}"),
        1.0
    );
}

/// A longer gap than one stream replays is told as a reset, and only then.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_gap_over_the_backfill_limit_is_told(#[case] backend: Backend) {
    let ground = backend.start(&[
        ("LIMITS__BACKFILL_EVENTS", "20"),
        ("LIMITS__BACKFILL_PAGE", "20"),
    ]);
    let positions = publish(&ground.node, "a", 1, 60);
    let mut stream = ground
        .node
        .stream("channel=a", &[("Last-Event-ID", &positions[0])]);
    let blocks: Vec<Block> = std::iter::from_fn(|| Some(stream.next()))
        .take_while(|block| block.event.is_empty())
        .collect();
    assert!((20..59).contains(&blocks.len()), "{}", blocks.len());
    assert_eq!(data(&blocks), numbers(2, 1 + blocks.len() as u32));
    let told = "sluice_resets_told_total{reason=\"backfill_limit\"}";
    assert_eq!(ground.node.metric(told), 1.0);
    let whole = ground
        .node
        .stream("channel=a", &[("Last-Event-ID", &positions[45])]);
    let mut whole = whole;
    assert_eq!(whole.data(14), numbers(47, 60));
}

/// One cursor of many channels is exact in each: added ones start live, removed and reordered ones do no harm.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn one_cursor_resumes_every_channel_exactly(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let mut stream = node.stream("channel=a&channel=b&channel=c", &[]);
    for (channel, data) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        node.publish(channel, data);
        assert_eq!(stream.next().data, data);
    }
    node.publish("c", "c1");
    let cursor = stream.next().id().to_owned();
    assert!(cursor.starts_with("1~"), "{cursor}");
    drop(stream);
    for (channel, data) in [("a", "a3"), ("b", "b2"), ("d", "d1"), ("b", "b3")] {
        node.publish(channel, data);
    }
    let mut stream = node.stream(
        "channel=d&channel=b&channel=a",
        &[("Last-Event-ID", &cursor)],
    );
    let open = stream.opened.clone().expect("opened");
    assert_eq!(
        statuses(&open),
        r#"{"a":"resumed","b":"resumed","d":"live"}"#
    );
    let mut got = stream.data(3);
    // No order is promised across channels; within one it is.
    got.sort();
    assert_eq!(got, ["a3", "b2", "b3"]);
    node.publish("d", "d2");
    assert_eq!(stream.next().data, "d2");
}

/// A bare position sent with several channels belongs to the one that holds it, a channel's genesis included; the
/// others start live.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_bare_place_belongs_to_the_channel_that_holds_it(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let fresh = node.stream("channel=new", &[]);
    let genesis = fresh.opened.as_ref().expect("opened").id().to_owned();
    drop(fresh);
    publish(node, "b", 1, 3);
    let positions = publish(node, "a", 1, 5);
    for (place, missed) in [(&positions[2], ["4", "5"].as_slice()), (&positions[4], &[])] {
        let mut stream = node.stream("channel=b&channel=a", &[("Last-Event-ID", place)]);
        let open = stream.opened.clone().expect("opened");
        assert_eq!(statuses(&open), r#"{"a":"resumed","b":"live"}"#);
        assert_eq!(stream.data(missed.len()), missed);
        node.publish("b", "live");
        assert_eq!(stream.next().data, "live");
    }
    let mut stream = node.stream("channel=new&channel=a", &[("Last-Event-ID", &genesis)]);
    let open = stream.opened.clone().expect("opened");
    assert_eq!(statuses(&open), r#"{"a":"live","new":"resumed"}"#);
    node.publish("new", "first");
    assert_eq!(stream.next().data, "first");
}

/// A cursor that nobody can read, or that no channel holds, is no 4xx: every channel is told `bad_cursor`.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn an_unreadable_cursor_resets_every_channel(
    #[case] backend: Backend,
    #[values("what?", "1~!!!!", "1763676000123-0.9f2c41aa", "9~AAAA")] cursor: &str,
) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    publish(node, "a", 1, 2);
    publish(node, "b", 1, 2);
    let mut stream = node.stream("channel=a&channel=b", &[("Last-Event-ID", cursor)]);
    let open = stream.opened.clone().expect("opened");
    assert_eq!(statuses(&open), r#"{"a":"reset","b":"reset"}"#);
    let resets = stream.take(2);
    let mut channels: Vec<String> = resets
        .iter()
        .map(|block| {
            assert_eq!(block.event, "sluice.reset");
            assert_eq!(block.json()["reason"], "bad_cursor");
            block.json()["channel"].as_str().expect("text").to_owned()
        })
        .collect();
    channels.sort();
    assert_eq!(channels, ["a", "b"]);
    // From there on it is whole: the new cursor resumes without a reset.
    let cursor = resets[1].id().to_owned();
    drop(stream);
    node.publish("b", "3");
    let mut stream = node.stream("channel=a&channel=b", &[("Last-Event-ID", &cursor)]);
    assert_eq!(stream.next().data, "3");
}

/// `last` and `since` replay what is kept, per channel; a cursor wins over both.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn history_is_replayed_on_request(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let positions = publish(node, "a", 1, 10);
    node.publish("b", "b1");
    assert_eq!(node.stream("channel=a&last=3", &[]).data(3), numbers(8, 10));
    assert_eq!(
        node.stream("channel=a&last=500", &[]).data(10),
        numbers(1, 10)
    );
    let mut both = node.stream("channel=a&channel=b&last=1", &[]).data(2);
    both.sort();
    assert_eq!(both, ["10", "b1"]);
    assert_eq!(
        node.stream("channel=a&since=PT5M", &[]).data(10),
        numbers(1, 10)
    );
    let cursor = [("Last-Event-ID", positions[8].as_str())];
    assert_eq!(node.stream("channel=a&last=5", &cursor).data(1), ["10"]);
    let mut live = node.stream("channel=a&last=0", &[]);
    let mut later = node.stream("channel=a&since=2100-01-01T00:00:00Z", &[]);
    node.publish("a", "11");
    assert_eq!(live.next().data, "11");
    assert_eq!(later.next().data, "11");
}

/// A repeated event id is one event, for readers and for history.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn a_repeated_event_id_is_one_event(#[case] backend: Backend) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let mut stream = node.stream("channel=a", &[]);
    let key = [("Idempotency-Key", "ev-1")];
    let first = id(&node.post("a", &key, b"one"));
    node.publish("a", "two");
    assert_eq!(id(&node.post("a", &key, b"one")), first);
    assert_eq!(node.post("a", &key, b"other").status, 409);
    node.publish("a", "three");
    assert_eq!(stream.data(3), ["one", "two", "three"]);
    assert_eq!(
        node.stream("channel=a&last=9", &[]).data(3),
        ["one", "two", "three"]
    );
}

/// Many readers of one channel each get everything, and nothing is left when they have gone.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn every_reader_of_a_channel_gets_everything(#[case] backend: Backend) {
    let ground = backend.start(&[("HTTP__WORKERS", "2")]);
    let node = &ground.node;
    let mut streams: Vec<_> = (0..20).map(|_| node.stream("channel=a", &[])).collect();
    publish(node, "a", 1, 20);
    for stream in &mut streams {
        assert_eq!(stream.data(20), numbers(1, 20));
    }
    wait("each delivery is counted", &400.0, PATIENCE, || {
        node.metric("sluice_events_delivered_total")
    });
    streams.clear();
    wait("all are gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
}

//! What other programs send to a channel's topic: plain messages, broken ones, and publishers in any language.

use std::time::Duration;

use rstest::rstest;

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, stays, wait};

const TOPIC: &str = "sluice:{a}";

/// A plain PUBLISH from anywhere is an event without a place: it repeats the current id and leaves no history.
#[test]
fn a_plain_publish_is_delivered_and_moves_nobody() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let opened = stream.opened.as_ref().expect("opened").id().to_owned();
    let publish = |data: &str| redis.run::<u64>(&["PUBLISH", TOPIC, data]);
    publish("hello");
    let block = stream.next();
    assert_eq!((block.data.as_str(), block.event.as_str()), ("hello", ""));
    assert_eq!(block.id(), opened);
    let position = node.publish("a", "kept");
    assert_eq!(stream.next().id(), position);
    publish("two\nlines");
    let block = stream.next();
    assert_eq!(
        (block.data.as_str(), block.id()),
        ("two\nlines", position.as_str())
    );
    let mut envelope = node.stream("channel=a&envelope=json", &[]);
    publish("in an envelope");
    let json = envelope.next().json();
    assert_eq!(json["data"], "in an envelope");
    assert!(json["id"].is_null(), "{json}");
    assert_eq!(node.stream("channel=a&last=9", &[]).data(1), ["kept"]);
    assert_eq!(
        node.metric("sluice_events_received_total{source=\"ephemeral\"}"),
        3.0
    );
}

/// What cannot be an event is dropped and counted, and the next one is delivered.
#[rstest]
#[case::not_utf8(b"\xff\xfe".to_vec(), "not_utf8")]
#[case::too_large(vec![b'x'; 2_000], "too_large")]
fn what_cannot_be_an_event_is_dropped_and_counted(#[case] payload: Vec<u8>, #[case] reason: &str) {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[("LIMITS__EVENT_BYTES", "1KiB")]).ready();
    let mut stream = node.stream("channel=a", &[]);
    redis.send::<u64>(&["PUBLISH", TOPIC], &[&payload]);
    redis.run::<u64>(&["PUBLISH", TOPIC, "good"]);
    assert_eq!(stream.next().data, "good");
    let dropped = format!("sluice_events_dropped_total{{reason=\"{reason}\"}}");
    assert_eq!(node.metric(&dropped), 1.0);
}

/// Keys of one channel that hold something else keep no other channel from being audited or synced.
#[rstest]
#[case::head_text(&["SET", "sluice:{broken}:m", "garbage"])]
#[case::head_type(&["LPUSH", "sluice:{broken}:m", "x"])]
#[case::stream_type(&["SET", "sluice:{broken}:s", "x"])]
fn a_broken_key_silences_its_own_channel_only(#[case] damage: &[&str]) {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[("REDIS__AUDIT_INTERVAL", "200ms")]).ready();
    let mut good = node.stream("channel=a", &[]);
    let broken = node.stream("channel=broken", &[]);
    node.publish("broken", "makes both keys");
    redis.run::<u64>(&["DEL", "sluice:{broken}:m", "sluice:{broken}:s"]);
    redis.run::<redis::Value>(damage);
    silent_publish(&redis, "found by the audit");
    assert_eq!(good.next().data, "found by the audit");
    assert!(redis.run::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]) > 0);
    silent_publish(&redis, "found by the sync");
    assert_eq!(good.next().data, "found by the sync");
    drop(broken);
}

/// A reader that keeps up with thousands of events a second is not taken for one that keeps its worker busy.
#[test]
fn a_fast_channel_reaches_a_healthy_reader_whole() {
    const EVENTS: usize = 6_000;
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let publisher = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut connection = redis.connect();
            for number in 0..EVENTS {
                let sent: redis::RedisResult<String> = redis::cmd("FCALL")
                    .arg(&["sluice_publish", "2", "sluice:{a}:s", "sluice:{a}:m", ""])
                    .arg(number)
                    .query(&mut connection);
                sent.expect("published");
            }
        });
        for number in 0..EVENTS {
            assert_eq!(stream.next().data, number.to_string());
        }
        publisher.join()
    });
    publisher.expect("all were published");
}

/// What begins like a frame and is none never reaches a reader; it may stand for a lost event, so the channel is
/// synced.
#[rstest]
#[case(b"sluice/1 nonsense".to_vec(), "malformed")]
#[case(b"sluice/1 1-0.00000000 0-0.00000000\n\nforged".to_vec(), "")]
#[case(b"sluice/2 1-0.00000000 0-0.00000000\n\nnewer".to_vec(), "version")]
#[case(b"sluice/1 1-0.00000000 0-0.00000000\n\n\xff".to_vec(), "not_utf8")]
fn a_broken_frame_is_synced_and_never_emitted(#[case] payload: Vec<u8>, #[case] reason: &str) {
    let redis = RedisServer::start();
    // Without the audit, so that nothing else could find the silent event.
    let node = Node::redis(&redis.url(), &[("REDIS__AUDIT_INTERVAL", "5m")]).ready();
    let mut stream = node.stream("channel=a", &[]);
    node.publish("a", "before");
    assert_eq!(stream.next().data, "before");
    // An event whose message is lost: the script runs, its PUBLISH goes to nobody.
    let silent = silent_publish(&redis, "silent");
    redis.send::<u64>(&["PUBLISH", TOPIC], &[&payload]);
    let block = stream.next();
    assert_eq!(
        (block.data.as_str(), block.id()),
        ("silent", silent.as_str())
    );
    node.publish("a", "after");
    assert_eq!(stream.next().data, "after");
    if !reason.is_empty() {
        let dropped = format!("sluice_events_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(node.metric(&dropped), 1.0);
    }
}

/// A lost last message leaves no hole to notice: the audit finds it.
#[test]
fn a_lost_last_event_is_found_by_the_audit() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[("REDIS__AUDIT_INTERVAL", "300ms")]).ready();
    let mut stream = node.stream("channel=a", &[]);
    node.publish("a", "before");
    assert_eq!(stream.next().data, "before");
    let silent = silent_publish(&redis, "silent");
    let block = stream.next_within(Duration::from_secs(2)).expect("found");
    assert_eq!(
        (block.data.as_str(), block.id()),
        ("silent", silent.as_str())
    );
    assert_eq!(node.metric("sluice_audit_findings_total"), 1.0);
}

/// Appends as the script does, without its message: as if that were lost on the way.
fn silent_publish(redis: &RedisServer, data: &str) -> String {
    let prev: String = redis.run(&["GET", "sluice:{a}:m"]);
    // The head is the position, possibly with the channel's genesis behind it.
    let (place, rest) = match prev.split_once(' ') {
        Some((place, rest)) => (place.to_owned(), format!(" {rest}")),
        None => (prev.clone(), String::new()),
    };
    let ms: u64 = place
        .split('-')
        .next()
        .expect("ms")
        .parse()
        .expect("a number");
    let id = format!("{}-0", ms + 1);
    let position = format!("{id}.0badcafe");
    let stream = [
        "XADD",
        "sluice:{a}:s",
        &id,
        "p",
        &place,
        "t",
        "0badcafe",
        "d",
        data,
    ];
    assert_eq!(redis.run::<String>(&stream), id);
    redis.run::<()>(&[
        "SET",
        "sluice:{a}:m",
        &format!("{position}{rest}"),
        "KEEPTTL",
    ]);
    position
}

/// The contract for publishers in any language: FCALL, EVAL and HTTP append to one chain.
#[test]
fn every_way_to_publish_continues_one_chain() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let call = |kind: &str, data: &str| {
        let words = [
            "FCALL",
            "sluice_publish",
            "2",
            "sluice:{a}:s",
            "sluice:{a}:m",
            kind,
            data,
        ];
        redis.run::<String>(&words)
    };
    let one = call("order.created", "1");
    let two = node.publish("a", "2");
    let script = sluice_wire::publish::script(&Default::default());
    let three = redis.run::<String>(&[
        "EVAL",
        &script,
        "2",
        "sluice:{a}:s",
        "sluice:{a}:m",
        "",
        "3",
    ]);
    let blocks = stream.take(3);
    let ids: Vec<&str> = blocks.iter().map(|block| block.id()).collect();
    assert_eq!(ids, [one, two, three]);
    assert_eq!(blocks[0].event, "order.created");
    let syncs = ["gap", "audit", "suspect", "overflow"]
        .map(|cause| node.metric(&format!("sluice_syncs_total{{cause=\"{cause}\"}}")));
    assert_eq!(syncs, [0.0; 4]);
}

/// Two nodes on one Redis are one gateway: what is published on one is read on the other, and a reader moves
/// between them with its cursor.
#[test]
fn a_reader_moves_between_nodes() {
    let redis = RedisServer::start();
    let one = Node::redis(&redis.url(), &[]).ready();
    let two = Node::redis(&redis.url(), &[]).ready();
    let mut stream = one.stream("channel=a&channel=b", &[]);
    two.publish("a", "1");
    let block = stream.next();
    assert_eq!(block.data, "1");
    drop(stream);
    one.publish("b", "2");
    two.publish("a", "3");
    let mut stream = two.stream("channel=a&channel=b", &[("Last-Event-ID", block.id())]);
    let mut missed = stream.data(2);
    missed.sort();
    assert_eq!(missed, ["2", "3"]);
    one.publish("a", "4");
    assert_eq!(stream.next().data, "4");
}

/// A channel stays subscribed for the linger after its last reader, not longer, and is subscribed again on return.
#[test]
fn a_channel_lingers_and_is_then_let_go() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[("REDIS__LINGER", "700ms")]).ready();
    let stream = node.stream("channel=a", &[]);
    assert_eq!(redis.subscribers("a"), 1);
    drop(stream);
    wait("the stream is gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    stays("still subscribed", &1, Duration::from_millis(300), || {
        redis.subscribers("a")
    });
    // A reader that returns in time keeps it.
    let stream = node.stream("channel=a", &[]);
    stays(
        "kept for its reader",
        &1,
        Duration::from_millis(1_200),
        || redis.subscribers("a"),
    );
    drop(stream);
    wait("let go", &0, PATIENCE, || redis.subscribers("a"));
    wait("no channel is left", &0.0, PATIENCE, || {
        node.metric("sluice_channels")
    });
    let mut stream = node.stream("channel=a", &[]);
    assert_eq!(redis.subscribers("a"), 1);
    node.publish("a", "again");
    assert_eq!(stream.next().data, "again");
}

//! A Redis whose memory is full refuses writes, and is read all the same.

use serde_json::Value;

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::poll::poll;

/// A node that has nothing in its own memory resumes, pages and polls from a full Redis, refuses publishes to channels
/// old and new, and goes on once there is room.
#[test]
fn a_full_redis_is_read_and_takes_events_once_there_is_room() {
    let redis = RedisServer::start();
    let writer = Node::redis(&redis.url(), &[]).ready();
    let positions = ["1", "2", "3", "4"].map(|data| writer.publish("a", data));
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let node = Node::redis(&redis.url(), &[]).ready();

    let mut resumed = node.stream("channel=a", &[("Last-Event-ID", &positions[1])]);
    assert_eq!(resumed.data(2), ["3", "4"]);
    let mut last = node.stream("channel=a&last=1", &[]);
    assert_eq!(last.data(1), ["4"]);
    assert_eq!(
        poll(&node, "channel=a&since=1h").data(),
        ["1", "2", "3", "4"]
    );
    let after = format!("channel=a&last_event_id={}", positions[2]);
    assert_eq!(poll(&node, &after).data(), ["4"]);
    for (query, expected) in [
        (String::new(), &["1", "2", "3", "4"][..]),
        ("last=2".to_owned(), &["3", "4"]),
        (format!("last_event_id={}", positions[0]), &["2", "3", "4"]),
    ] {
        let answer = node.get(&format!("/v1/channels/a/events?{query}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let page: Value = serde_json::from_str(&answer.body).expect("JSON");
        let events = page["events"].as_array().expect("a list").iter();
        let data: Vec<_> = events
            .map(|event| event["data"].as_str().expect("a text"))
            .collect();
        assert_eq!(
            (data.as_slice(), page.get("reset")),
            (expected, None),
            "{page}"
        );
    }

    for channel in ["a", "new"] {
        let answer = node.post(channel, &[], b"no room");
        let told = (answer.status, answer.problem());
        assert_eq!(told, (503, "broker_unavailable".to_owned()), "{channel}");
    }
    assert_eq!(
        redis.run::<u64>(&["EXISTS", "sluice:{new}:m", "sluice:{new}:s"]),
        0
    );
    // Every stream is synced, from the full Redis.
    assert!(redis.run::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]) > 0);

    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    writer.publish("a", "5");
    for mut stream in [resumed, last] {
        assert_eq!(stream.next().data, "5");
    }
    node.publish("new", "first");
}

//! Orders between nodes: one message on their topic is obeyed by all of them.

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;

const TOPIC: &str = "sluice:{_ctl}";

/// Streams of a channel end on every node, told why and with their place; others go on.
#[test]
fn a_disconnect_reaches_the_streams_of_all_nodes_and_no_others() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| Node::redis(&redis.url(), &[]).ready());
    let mut meant = nodes
        .each_ref()
        .map(|node| node.stream("channel=a&channel=b", &[]));
    let mut other = nodes[0].stream("channel=b", &[]);
    let heard: i64 = redis.run(&["PUBLISH", TOPIC, r#"{"order":"disconnect","channel":"a"}"#]);
    assert_eq!(heard, 2, "every node listens");
    for stream in &mut meant {
        let close = stream.next();
        assert_eq!(close.event, "sluice.close");
        assert_eq!(close.json()["reason"], "disconnected");
        assert!(stream.rest().is_empty());
    }
    let id = nodes[1].publish("b", "still there");
    assert_eq!(other.next().id(), id);
}

/// What nobody understands is skipped, and the node goes on.
#[test]
fn an_order_that_is_none_is_skipped() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    for text in ["", "dance", r#"{"order":"dance"}"#, "sluice/1 x"] {
        let heard: i64 = redis.run(&["PUBLISH", TOPIC, text]);
        assert_eq!(heard, 1);
    }
    let id = node.publish("a", "one");
    assert_eq!(stream.next().id(), id);
}

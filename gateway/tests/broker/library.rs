//! The function library and the scripts: loaded when absent, never downgraded, and not missed when Redis forgets.

use redis::Commands;
use sluice_wire::publish::{Defaults, FUNCTION_VERSION, LIBRARY_VERSION, library};

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find, wait};

fn version(redis: &RedisServer) -> Option<u32> {
    redis::cmd("FCALL")
        .arg(FUNCTION_VERSION)
        .arg(0)
        .query(&mut redis.connect())
        .ok()
}

/// A node that may loads the library where there is none; after that, any client publishes in one call.
#[test]
fn the_library_is_loaded_where_there_is_none() {
    let redis = RedisServer::start();
    assert_eq!(version(&redis), None);
    let _node = Node::redis(&redis.url(), &[]).ready();
    wait("it is loaded", &Some(LIBRARY_VERSION), PATIENCE, || {
        version(&redis)
    });
}

/// A node that may not leaves Redis alone, and publishes all the same.
#[test]
fn a_node_that_may_not_load_the_library_does_not() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[("REDIS__FUNCTIONS", "never")]).ready();
    node.publish("a", "x");
    assert_eq!(version(&redis), None);
}

/// An older library is replaced, a newer one is left in place.
#[test]
fn the_library_is_replaced_when_older_and_kept_when_newer() {
    let of = |version: u32| {
        let text = library(&Defaults::default());
        let current = format!("local VERSION = {LIBRARY_VERSION}\n");
        assert!(text.contains(&current), "the library states its version");
        text.replace(&current, &format!("local VERSION = {version}\n"))
    };
    let redis = RedisServer::start();
    for (there, after) in [
        (LIBRARY_VERSION - 1, LIBRARY_VERSION),
        (LIBRARY_VERSION + 1, LIBRARY_VERSION + 1),
    ] {
        redis.run::<String>(&["FUNCTION", "LOAD", "REPLACE", &of(there)]);
        assert_eq!(version(&redis), Some(there));
        let node = Node::redis(&redis.url(), &[]).ready();
        wait("it is as it should be", &Some(after), PATIENCE, || {
            version(&redis)
        });
        node.publish("a", "x");
        assert_eq!(version(&redis), Some(after));
    }
}

/// Redis forgets scripts when it restarts: publishing and subscribing go on with the text.
#[test]
fn scripts_that_redis_has_forgotten_are_sent_again() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    for round in ["1", "2", "3"] {
        redis.run::<()>(&["SCRIPT", "FLUSH"]);
        node.publish("a", round);
        assert_eq!(stream.next().data, round);
        redis.run::<()>(&["SCRIPT", "FLUSH"]);
        drop(node.stream(&format!("channel=fresh{round}"), &[]));
    }
}

/// A live channel's head does not expire under its readers, however short its time.
#[test]
fn the_head_of_a_live_channel_does_not_expire() {
    let redis = RedisServer::start();
    let node = Node::redis(
        &redis.url(),
        &[
            ("HISTORY__TTL", "2s"),
            ("HISTORY__HEAD_TTL", "2s"),
            ("REDIS__AUDIT_INTERVAL", "100ms"),
        ],
    )
    .ready();
    // Two channels, the second come after the first audit.
    let mut first = node.stream("channel=a", &[]);
    find("an audit has passed", PATIENCE, || {
        (redis.run::<i64>(&["PTTL", "sluice:{a}:m"]) < 1_700).then_some(())
    });
    let mut second = node.stream("channel=b", &[]);
    let mut connection = redis.connect();
    let mut low = [i64::MAX; 2];
    let since = std::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_secs(3) {
        for (low, head) in low.iter_mut().zip(["sluice:{a}:m", "sluice:{b}:m"]) {
            let left: i64 = connection.pttl(head).expect("a time");
            *low = left.min(*low);
        }
    }
    assert!(
        low.iter().all(|left| *left > 0),
        "{low:?} ms were left at the least"
    );
    for (stream, channel) in [(&mut first, "a"), (&mut second, "b")] {
        node.publish(channel, "x");
        assert_eq!(stream.next().data, "x");
    }
    assert_eq!(
        node.metric("sluice_resets_told_total{reason=\"state_lost\"}"),
        0.0
    );
}

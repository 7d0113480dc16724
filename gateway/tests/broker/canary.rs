//! The node's canary through a real Redis: what it leaves there, and what it tells when Redis fails.

use std::time::Duration;

use crate::harness::http::try_call;
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::{CANARY, PATIENCE, find, stays};

const OK: &str = "sluice_canary_probes_total{outcome=\"ok\"}";
const TIMEOUT: &str = "sluice_canary_probes_total{outcome=\"timeout\"}";
const PUBLISH_FAILED: &str = "sluice_canary_probes_total{outcome=\"publish_failed\"}";
const STREAM_FAILED: &str = "sluice_canary_probes_total{outcome=\"stream_failed\"}";
/// What a canary's keys live at most, with quick probes, in milliseconds.
const LASTING: i64 = 60_000;

fn keys(redis: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis.run(&["KEYS", "*_canary*"]);
    keys.sort();
    keys
}

fn sings(node: &Node, times: f64) {
    let before = node.metric(OK);
    find("its probes come back", PATIENCE, || {
        (node.metric(OK) >= before + times).then_some(())
    });
}

/// Each node has a channel of its own, two keys that go with the node, and a short history however long it runs.
#[test]
fn what_it_leaves_in_redis_is_small_and_goes() {
    let redis = RedisServer::start();
    let quick = [
        CANARY,
        &[
            ("REDIS__AUDIT_INTERVAL", "50ms"),
            ("STREAM__MAX_AGE", "1s"),
            ("STREAM__HEARTBEAT", "1s"),
        ],
    ];
    let nodes = ["one/two", "one.two"].map(|name| {
        let settings = [quick.concat(), vec![("NODE__NAME", name)]].concat();
        Node::redis(&redis.url(), &settings).ready()
    });
    for node in &nodes {
        sings(node, 30.0);
        for failed in [TIMEOUT, PUBLISH_FAILED, STREAM_FAILED] {
            assert_eq!(node.metric(failed), 0.0, "{failed}");
        }
    }
    let found = keys(&redis);
    assert_eq!(found.len(), 4, "{found:?}");
    for key in &found {
        assert!(key.starts_with("sluice:{_canary.one-two-"), "{key}");
        let left: i64 = redis.run(&["PTTL", key]);
        assert!((1..=LASTING).contains(&left), "{key}: {left}");
    }
    let report: Vec<String> = redis.run(&["KEYS", "sluice:{_ctl}:*"]);
    for key in report.iter().filter(|key| key.contains("node")) {
        let report: String = redis.run(&["GET", key]);
        assert!(!report.contains("_canary"), "{report}");
    }
    drop(nodes);
    assert_eq!(
        keys(&redis),
        found,
        "nothing more is made, and each will go"
    );
}

/// However many events, about a block of them is kept.
#[test]
fn its_history_stays_short() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[CANARY, &[("NODE__NAME", "n")]].concat()).ready();
    sings(&node, 2.0);
    let stream = keys(&redis).into_iter().find(|key| key.ends_with(":s"));
    let stream = stream.expect("a history");
    // As if it had run for long: events of before, which the next probe trims.
    for n in 1..=500 {
        drop(redis.run::<String>(&["XADD", &format!("{stream}x"), &format!("{n}-1"), "p", "x"]));
    }
    let _: () = redis.run(&["RENAME", &format!("{stream}x"), &stream]);
    sings(&node, 3.0);
    let kept: u64 = redis.run(&["XLEN", &stream]);
    assert!(kept < 150, "{kept}");
}

/// Switched off, nothing is written and nobody listens.
#[test]
fn switched_off_it_writes_nothing() {
    let redis = RedisServer::start();
    let node = Node::redis(
        &redis.url(),
        &[("CANARY__ENABLED", "false"), ("CANARY__INTERVAL", "100ms")],
    )
    .ready();
    stays(
        "no key, no listener",
        &(0, 0),
        Duration::from_millis(500),
        || {
            let topics: Vec<String> = redis.run(&["PUBSUB", "CHANNELS", "*_canary*"]);
            (keys(&redis).len(), topics.len())
        },
    );
    assert_eq!(node.metric("sluice_canary_enabled"), 0.0);
}

/// A Redis that hangs: probes time out, which is told once; the node stays ready; and once it answers again, that is
/// told once.
#[test]
fn a_hanging_redis_is_told_once_and_never_by_readiness() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [
        CANARY,
        &[
            ("BROKER__MODE", "redis"),
            ("REDIS__URL", &url),
            ("CANARY__TIMEOUT", "1500ms"),
        ],
    ];
    let process = Process::start(&settings.concat());
    let at_least = |sample: &str, count: f64| {
        find(sample, PATIENCE, || {
            (process.metric(sample) >= count).then_some(())
        });
    };
    at_least(OK, 2.0);
    redis.freeze();
    at_least(TIMEOUT, 2.0);
    let ready = || try_call(process.admin, "GET", "/readyz", &[], b"").map(|answer| answer.status);
    assert_eq!(ready(), Some(200));
    redis.thaw();
    let before = process.metric(OK);
    at_least(OK, before + 3.0);
    assert_eq!(ready(), Some(200));
    let log = process.log();
    assert_eq!(log.matches("the canary fails").count(), 1, "{log}");
    assert_eq!(log.matches("the canary is well again").count(), 1, "{log}");
}

/// A Redis that takes no writes: nothing is published, and that is not the stream's fault.
#[test]
fn a_redis_that_takes_no_writes_fails_the_publish() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), CANARY).ready();
    sings(&node, 2.0);
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    find("probes are not published", PATIENCE, || {
        (node.metric(PUBLISH_FAILED) >= 3.0).then_some(())
    });
    assert_eq!(node.readiness(), Some(200));
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    sings(&node, 3.0);
    assert_eq!(
        (node.metric(TIMEOUT), node.metric(STREAM_FAILED)),
        (0.0, 0.0)
    );
}

/// Before a node has been ready there is nothing to measure; a start without Redis is for readiness to tell.
#[test]
fn a_node_that_is_starting_is_not_probed() {
    let redis = RedisServer::start();
    redis.freeze();
    let node = Node::redis(
        &redis.url(),
        &[CANARY, &[("CANARY__TIMEOUT", "100ms")]].concat(),
    );
    find("the node answers", PATIENCE, || {
        (node.readiness() == Some(503)).then_some(())
    });
    stays("no probe", &[0.0; 4], Duration::from_millis(800), || {
        [OK, TIMEOUT, PUBLISH_FAILED, STREAM_FAILED].map(|sample| node.metric(sample))
    });
    redis.thaw();
    sings(&node, 2.0);
}

/// A Redis that has lost everything: the chain begins anew, and the canary with it.
#[test]
fn it_survives_a_redis_that_has_forgotten_it() {
    let redis = RedisServer::start();
    let node = Node::redis(
        &redis.url(),
        &[CANARY, &[("REDIS__AUDIT_INTERVAL", "100ms")]].concat(),
    )
    .ready();
    sings(&node, 2.0);
    for _ in 0..3 {
        let _: () = redis.run(&["FLUSHALL"]);
        sings(&node, 5.0);
    }
}

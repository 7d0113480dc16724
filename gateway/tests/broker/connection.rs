//! The subscriber connection: cut, silent or idle, and what its readers get when it is back.

use std::time::{Duration, Instant};

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, stays, wait};

const CONNECTED: &str = "sluice_redis_connected";
const RECONNECTS: &str = "sluice_redis_reconnects_total";

/// Short waits, so that what takes seconds in production takes tenths here; `response_timeout` stays long, so that
/// only the watchdog can be the one who notices.
const QUICK: &[(&str, &str)] = &[
    ("REDIS__PROBE_INTERVAL", "200ms"),
    ("REDIS__PROBE_TIMEOUT", "1s"),
    ("REDIS__RESPONSE_TIMEOUT", "20s"),
    ("REDIS__CONNECT_TIMEOUT", "500ms"),
    ("REDIS__BACKOFF_MIN", "10ms"),
    ("REDIS__BACKOFF_MAX", "200ms"),
    ("REDIS__AUDIT_INTERVAL", "5m"),
];

/// An idle connection is kept by its own probe: nothing is replaced that is not broken.
#[test]
fn an_idle_connection_is_kept() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    let mut stream = node.stream("channel=a", &[]);
    stays(
        "connected",
        &(1.0, 0.0),
        Duration::from_millis(3_500),
        || (node.metric(CONNECTED), node.metric(RECONNECTS)),
    );
    assert!(node.metric("sluice_redis_silence_seconds") < 1.0);
    node.publish("a", "x");
    assert_eq!(stream.next().data, "x");
}

/// Without readers, too: the probe's topic is nobody's channel and yet wanted.
#[test]
fn a_connection_without_channels_is_kept() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[QUICK, &[("REDIS__LINGER", "0s")]].concat()).ready();
    drop(node.stream("channel=a", &[]));
    wait("let go", &0, PATIENCE, || redis.subscribers("a"));
    stays(
        "connected",
        &(1.0, 0.0),
        Duration::from_millis(2_500),
        || (node.metric(CONNECTED), node.metric(RECONNECTS)),
    );
    let mut topics: Vec<String> = redis.run(&["PUBSUB", "CHANNELS", "*"]);
    topics.sort();
    assert!(
        matches!(topics.as_slice(), [orders, probe] if orders == "sluice:{_ctl}" && probe.contains("_probe.")),
        "{topics:?}"
    );
}

/// A Redis that hangs is noticed within the probe's time, and what happened meanwhile is delivered once it goes on.
#[test]
fn a_silent_redis_is_noticed_and_healed() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    let mut stream = node.stream("channel=a", &[]);
    node.publish("a", "before");
    assert_eq!(stream.next().data, "before");
    redis.freeze();
    wait("noticed", &0.0, Duration::from_secs(2), || {
        node.metric(CONNECTED)
    });
    // Readers keep their streams, and the node stays ready.
    assert_eq!(node.readiness(), Some(200));
    assert_eq!(node.metric("sluice_connections"), 1.0);
    redis.thaw();
    wait("healed", &1.0, Duration::from_secs(5), || {
        node.metric(CONNECTED)
    });
    node.publish("a", "after");
    assert_eq!(stream.next().data, "after");
    assert_eq!(node.metric(RECONNECTS), 1.0);
}

/// A new reader who waits for a hanging Redis does not keep the watchdog from looking.
#[test]
fn a_waiting_subscription_does_not_hide_a_silent_redis() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    redis.freeze();
    let mut stream = node.stream("channel=a", &[]);
    let open = stream.opened.clone().expect("opened");
    assert_eq!(open.json()["channels"]["a"], "waiting");
    // It was opened after `stream.open_wait`, a second; as long again is what the watchdog has left.
    wait("noticed", &0.0, Duration::from_secs(2), || {
        node.metric(CONNECTED)
    });
    redis.thaw();
    let open = stream.next();
    assert_eq!(open.event, "sluice.open");
    assert_eq!(open.json()["channels"]["a"], "live");
    node.publish("a", "x");
    assert_eq!(stream.next().data, "x");
}

/// Publishing while Redis hangs is answered in time, as something that will pass.
#[test]
fn publishing_to_a_silent_redis_is_told_in_time() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    node.publish("a", "before");
    redis.freeze();
    let since = Instant::now();
    let answer = node.post("a", &[], b"x");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "broker_unavailable")
    );
    assert!(answer.header("retry-after").is_some());
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    redis.thaw();
}

/// Cut connections are replaced at once, and what was published meanwhile is delivered, in order and once.
#[test]
fn a_cut_connection_heals_and_loses_nothing() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    let mut streams: Vec<_> = (0..10)
        .map(|n| node.stream(&format!("channel=c{n}"), &[]))
        .collect();
    for round in 0..5 {
        let killed: u64 = redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, 1, "one subscriber connection per node");
        for n in 0..10 {
            node.publish(&format!("c{n}"), &format!("{round}.{n}"));
        }
        let back = f64::from(round + 1);
        wait(
            "connected again",
            &(1.0, back),
            Duration::from_secs(3),
            || (node.metric(CONNECTED), node.metric(RECONNECTS)),
        );
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        let wanted: Vec<String> = (0..5).map(|round| format!("{round}.{n}")).collect();
        assert_eq!(stream.data(5), wanted);
    }
    for reason in [
        "trimmed",
        "rollback",
        "failover",
        "state_lost",
        "backfill_limit",
        "bad_cursor",
    ] {
        let told = format!("sluice_resets_told_total{{reason=\"{reason}\"}}");
        assert_eq!(node.metric(&told), 0.0, "{reason}");
    }
}

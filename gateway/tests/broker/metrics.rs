//! Commands to Redis are timed and their failures counted by what was asked.

use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find};

const CLASSES: [&str; 13] = [
    "publish",
    "read",
    "history",
    "audit",
    "time",
    "control",
    "ticket",
    "lease",
    "report",
    "function",
    "subscribe",
    "probe",
    "connect",
];

const QUICK: &[(&str, &str)] = &[
    ("REDIS__AUDIT_INTERVAL", "50ms"),
    ("REDIS__REPORT_INTERVAL", "100ms"),
    ("REDIS__PROBE_INTERVAL", "100ms"),
    ("REDIS__PROBE_TIMEOUT", "1s"),
    ("REDIS__BACKOFF_MAX", "100ms"),
];

fn timed(node: &Node, class: &str) -> f64 {
    node.metric(&format!(
        "sluice_redis_command_duration_seconds_count{{class=\"{class}\"}}"
    ))
}

fn errors(node: &Node, class: &str) -> f64 {
    node.metric(&format!(
        "sluice_redis_command_errors_total{{class=\"{class}\"}}"
    ))
}

/// What a node does of itself and for its callers is timed by class, and where all goes well nothing counts as an error:
/// no script that is loaded first, no library that was absent.
#[test]
fn commands_are_timed_by_class_and_what_goes_well_is_no_error() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    let mut stream = node.stream("channel=a", &[]);
    node.publish("a", "x");
    assert_eq!(stream.data(1), ["x"]);
    assert_eq!(node.get("/v1/channels/a/events", &[]).status, 200);
    assert_eq!(
        node.get("/v1/channels/a/events?since=PT1M", &[]).status,
        200
    );
    for class in [
        "publish",
        "read",
        "history",
        "audit",
        "control",
        "report",
        "function",
        "subscribe",
        "probe",
        "connect",
    ] {
        find(class, PATIENCE, || {
            (timed(&node, class) > 0.0).then_some(())
        });
    }
    // EVALSHA, and EVAL since it was not loaded.
    assert_eq!(timed(&node, "publish"), 2.0);
    for class in CLASSES {
        assert_eq!(errors(&node, class), 0.0, "{class}");
    }
    assert_eq!(node.metric("sluice_limit{limit=\"redis_pool\"}"), 8.0);
}

/// A Redis without memory refuses to append: that is an error of publishing, and of nothing that only reads. An event that
/// breaks a rule is none at all.
#[test]
fn an_error_of_redis_counts_under_its_class() {
    let redis = RedisServer::start();
    let settings = [QUICK, &[("REDIS__REPORT_INTERVAL", "0s")]].concat();
    let node = Node::redis(&redis.url(), &settings).ready();
    let _stream = node.stream("channel=a", &[]);
    node.publish("a", "x");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = node.post("a", &[], b"y");
    assert_eq!(answer.status, 503, "the fault took effect: {answer:?}");
    assert_eq!(errors(&node, "publish"), 1.0);
    let before = timed(&node, "audit");
    find("more audits", PATIENCE, || {
        (timed(&node, "audit") > before + 2.0).then_some(())
    });
    for class in CLASSES.iter().filter(|class| **class != "publish") {
        assert_eq!(errors(&node, class), 0.0, "{class}");
    }
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    node.publish("a", "z");
    assert_eq!(errors(&node, "publish"), 1.0);
}

/// A Redis that hangs: what waits for it counts as failed once it is given up, and the wait is in the histogram.
#[test]
fn commands_that_are_not_answered_count_as_errors() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), QUICK).ready();
    let _stream = node.stream("channel=a", &[]);
    redis.freeze();
    for class in ["probe", "audit"] {
        find(class, PATIENCE, || {
            (errors(&node, class) > 0.0).then_some(())
        });
    }
    assert_eq!(node.metric("sluice_redis_connected"), 0.0);
    let waited = node.metric("sluice_redis_command_duration_seconds_sum{class=\"audit\"}");
    assert!(waited > 0.5, "{waited}");
    redis.thaw();
    find("it is connected again", PATIENCE, || {
        (node.metric("sluice_redis_connected") == 1.0).then_some(())
    });
    assert!(node.metric("sluice_redis_reconnects_total") >= 1.0);
}

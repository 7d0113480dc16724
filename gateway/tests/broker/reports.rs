//! Node reports: what the nodes of a deployment tell about themselves in Redis adds up, and goes with them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::http::Events;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, stays, wait};

const INDEX: &str = "sluice:{_ctl}:reports";
const INTERVAL_MS: u64 = 300;

/// A node as a process, for its name holds its process id.
fn node(redis: &RedisServer, interval: &str) -> Process {
    node_at(&redis.url(), interval)
}

fn node_at(url: &str, interval: &str) -> Process {
    Process::start(&[
        ("BROKER__MODE", "redis"),
        ("REDIS__URL", url),
        ("REDIS__REPORT_INTERVAL", interval),
        ("HTTP__WORKERS", "2"),
        ("DRAIN__READINESS_LEAD", "0s"),
        ("DRAIN__DEADLINE", "100ms"),
    ])
}

fn reporting(redis: &RedisServer) -> Process {
    node(redis, &format!("{INTERVAL_MS}ms"))
}

fn members(redis: &RedisServer) -> Vec<String> {
    redis.run(&["ZRANGE", INDEX, "0", "-1"])
}

fn key(member: &str) -> String {
    format!("sluice:{{_ctl}}:report:{}", member.replace(':', "%3A"))
}

/// The reports of all nodes in the index.
fn reports(redis: &RedisServer) -> Vec<Value> {
    let text = |member: &String| redis.run::<Option<String>>(&["GET", &key(member)]);
    let texts: Vec<String> = members(redis).iter().filter_map(text).collect();
    texts
        .iter()
        .map(|text| serde_json::from_str(text).expect("JSON"))
        .collect()
}

fn sum(reports: &[Value], of: impl Fn(&Value) -> Option<u64>) -> u64 {
    reports.iter().filter_map(of).sum()
}

/// Readers of all reports together: of `a`, of `b`, and streams.
fn sums(redis: &RedisServer) -> (u64, u64, u64) {
    let reports = reports(redis);
    let channel = |name: &str| sum(&reports, |report| report["channels"][name].as_u64());
    let streams = sum(&reports, |report| report["connections"].as_u64());
    (channel("a"), channel("b"), streams)
}

fn streams(node: &Process, query: &str, count: usize) -> Vec<Events> {
    let target = format!("/v1/events?{query}");
    let mut streams: Vec<Events> = (0..count)
        .map(|_| Events::open(node.public, &target, &[]))
        .collect();
    for stream in &mut streams {
        assert_eq!(stream.next().event, "sluice.open");
    }
    streams
}

/// Two nodes of two workers each: their reports add up to all readers, and follow those who leave.
#[test]
fn the_reports_of_all_nodes_add_up() {
    let redis = RedisServer::start();
    let (one, two) = (reporting(&redis), reporting(&redis));
    let mut open = streams(&one, "channel=a", 3);
    open.extend(streams(&two, "channel=a", 2));
    open.extend(streams(&two, "channel=a&channel=b", 1));
    wait("all readers are reported", &(6, 1, 6), PATIENCE, || {
        sums(&redis)
    });
    assert_eq!(members(&redis).len(), 2);
    open.truncate(1);
    wait("those who left are not", &(1, 0, 1), PATIENCE, || {
        sums(&redis)
    });
    let idle = reports(&redis)
        .into_iter()
        .find(|report| report["connections"] == 0);
    let idle = idle.expect("one node has no streams");
    assert_eq!(
        (&idle["channels"], &idle["channels_left_out"]),
        (&json!({}), &json!(0))
    );
    assert_eq!(idle["version"], env!("CARGO_PKG_VERSION"));
}

/// A report names its node, tells Redis's time, and it and its place in the index end together.
#[test]
fn a_report_is_dated_by_redis_and_expires() {
    let redis = RedisServer::start();
    let node = reporting(&redis);
    let mut stream = Events::open(node.public, "/v1/events?channel=a", &[]);
    let name = stream.next().json()["node"]
        .as_str()
        .expect("a name")
        .to_owned();
    wait("the node reports", &vec![name.clone()], PATIENCE, || {
        members(&redis)
    });
    let (seconds, _): (u64, u64) = redis.run(&["TIME"]);
    let report = reports(&redis).remove(0);
    assert_eq!(report["node"], name.as_str());
    let at = report["at"].as_u64().expect("a time");
    assert!(
        at.abs_diff(seconds * 1_000) < 5_000,
        "{at} is not {seconds} s"
    );
    let score: f64 = redis.run(&["ZSCORE", INDEX, &name]);
    let lasts = Duration::from_millis(3 * INTERVAL_MS);
    assert!(score as u64 >= at + 3 * INTERVAL_MS, "{score} {at}");
    let left: u64 = redis.run(&["PTTL", &key(&name)]);
    assert!(u128::from(left) <= lasts.as_millis(), "{left}");
    let left: i64 = redis.run(&["PTTL", INDEX]);
    assert!(left > 0, "the index goes, too, when nobody comes again");
}

/// A node that was killed is forgotten: its report expires, and the next report of another takes it off the index.
#[test]
fn a_node_that_was_killed_is_forgotten() {
    let redis = RedisServer::start();
    let (one, two) = (reporting(&redis), reporting(&redis));
    let open = (streams(&one, "channel=a", 1), streams(&two, "channel=a", 1));
    wait("both report", &(2, 0, 2), PATIENCE, || sums(&redis));
    assert_eq!(members(&redis).len(), 2);
    // Dropped, the process is killed.
    drop(two);
    wait("its report has expired", &(1, 0, 1), PATIENCE, || {
        sums(&redis)
    });
    wait("the index is healed", &1, PATIENCE, || {
        members(&redis).len()
    });
    drop(open);
}

/// A node that leaves takes its report with it, long before that would expire.
#[test]
fn a_node_that_leaves_deletes_its_report() {
    let redis = RedisServer::start();
    let mut node = node(&redis, "10s");
    wait("it reports", &1, PATIENCE, || reports(&redis).len());
    let member = members(&redis).remove(0);
    node.terminate();
    assert!(node.exit(PATIENCE).success());
    assert_eq!(redis.run::<u64>(&["EXISTS", INDEX, &key(&member)]), 0);
}

/// Switched off, a node writes nothing about itself.
#[test]
fn a_node_reports_only_if_it_is_to() {
    let redis = RedisServer::start();
    let silent = node(&redis, "0s");
    let speaking = reporting(&redis);
    let open = streams(&silent, "channel=a", 2);
    wait("the other one reports", &1, PATIENCE, || {
        reports(&redis).len()
    });
    let window = Duration::from_millis(3 * INTERVAL_MS);
    stays("only the other one", &(1, (0, 0, 0)), window, || {
        (members(&redis).len(), sums(&redis))
    });
    drop((open, speaking));
}

/// A Redis that takes no reports disturbs nobody, and is reported to again once it does.
#[test]
fn a_report_that_cannot_be_written_disturbs_nobody() {
    let redis = RedisServer::start();
    let node = reporting(&redis);
    wait("it reports", &1, PATIENCE, || reports(&redis).len());
    let _: () = redis.run(&["DEL", INDEX]);
    let _: () = redis.run(&["SET", INDEX, "no index"]);
    let mut open = streams(&node, "channel=a", 1);
    let _: u64 = redis.run(&["PUBLISH", "sluice:{a}", "hello"]);
    assert_eq!(open[0].next().data, "hello");
    let _: () = redis.run(&["DEL", INDEX]);
    wait("it reports again", &(1, 0, 1), PATIENCE, || sums(&redis));
}

/// A user who may not write reports is warned about, and nothing else suffers.
#[test]
fn a_user_without_the_right_to_report_is_told_in_the_log() {
    let redis = RedisServer::start();
    let _: () = redis.run(&[
        "ACL", "SETUSER", "gateway", "on", ">pw", "~*", "&*", "+@all", "-zadd",
    ]);
    let url = redis.url().replace("redis://", "redis://gateway:pw@");
    let node = node_at(&url, "100ms");
    let warned = || node.log().contains("report could not be written");
    wait("the log tells", &true, PATIENCE, warned);
    assert!(!node.log().contains("panicked"), "{}", node.log());
    assert!(
        node.log()
            .contains("no permissions to run the 'zadd' command"),
        "{}",
        node.log()
    );
}

/// Redis's own words are kept, whatever it is that the user may not do.
#[test]
fn a_user_without_the_right_to_the_time_is_told_in_redis_words() {
    let redis = RedisServer::start();
    let _: () = redis.run(&[
        "ACL", "SETUSER", "gateway", "on", ">pw", "~*", "&*", "+@all", "-time",
    ]);
    let url = redis.url().replace("redis://", "redis://gateway:pw@");
    let node = node_at(&url, "100ms");
    let warned = || {
        let log = node.log();
        let mut lines = log.lines();
        lines.any(|line| {
            line.contains("report could not be written")
                && line.contains("no permissions to run the 'time' command")
        })
    };
    wait("the log tells", &true, PATIENCE, warned);
}

/// Nodes whose process ids and hosts are alike, as in containers on one host's network, go by names of their own.
#[test]
fn nodes_with_names_of_their_own_add_up() {
    let redis = RedisServer::start();
    let named = |name| {
        Process::start(&[
            ("BROKER__MODE", "redis"),
            ("REDIS__URL", &redis.url()),
            ("REDIS__REPORT_INTERVAL", "100ms"),
            ("NODE__NAME", name),
        ])
    };
    let (one, two) = (named("eu:a"), named("eu:b"));
    let open = (streams(&one, "channel=a", 1), streams(&two, "channel=a", 2));
    wait("both report", &(3, 0, 3), PATIENCE, || sums(&redis));
    let mut names = members(&redis);
    names.sort();
    assert_eq!(names, ["eu:a", "eu:b"]);
    let mut stream = Events::open(one.public, "/v1/events?channel=b", &[]);
    assert_eq!(stream.next().json()["node"], "eu:a");
    drop(open);
}

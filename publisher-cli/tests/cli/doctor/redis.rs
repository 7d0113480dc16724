//! Redis servers set up wrong, one by one, and one set up right.

use sluice_wire::publish::LIBRARY_VERSION;

use super::{doctor, proxy};
use crate::support::{Redis, eventually, run};

fn examine(redis: &Redis) -> super::Report {
    doctor(&["--redis", &redis.url()])
}

fn port(redis: &Redis) -> u16 {
    redis.url().rsplit_once(':').unwrap().1.parse().unwrap()
}

fn load(redis: &Redis, name: &str, version: &str, more: &str) {
    let library = format!(
        "#!lua name={name}\nredis.register_function{{function_name='sluice_version', \
         callback=function() return {version} end, flags={{'no-writes'}}}}\n{more}"
    );
    let () = redis.command(&["FUNCTION", "LOAD", "REPLACE", &library]);
}

#[test]
fn a_redis_set_up_right_has_nothing_to_mend() {
    let redis = Redis::start_with(&[
        "--client-output-buffer-limit",
        "pubsub",
        "256mb",
        "64mb",
        "60",
        "--appendonly",
        "yes",
        "--maxmemory",
        "512mb",
    ]);
    assert_eq!(run(redis.sluice(&["install-function"])).code, 0);
    let report = examine(&redis);
    report.is_well();
    assert_eq!(
        (report.count("ok"), report.count("note")),
        (14, 0),
        "{report:#?}"
    );
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert_eq!(keys, [""; 0]);
}

/// Each setting by itself: the finding, how bad it is, and the command that mends it, which does.
#[test]
fn a_wrong_setting_is_found_and_the_advice_mends_it() {
    let cases: [(&[&str], &str, &str, &str, &str); 5] = [
        (
            &["maxmemory-policy", "allkeys-lru"],
            "redis_eviction",
            "problem",
            "allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
        ),
        (
            &["client-output-buffer-limit", "pubsub 32mb 8mb 60"],
            "redis_pubsub_buffer",
            "warning",
            "a burst",
            "CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\"",
        ),
        (
            &["client-output-buffer-limit", "pubsub 1mb 1mb 60"],
            "redis_pubsub_buffer",
            "problem",
            "cut off",
            "CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\"",
        ),
        (
            &["save", "3600 1"],
            "redis_persistence",
            "warning",
            "rollback",
            "CONFIG SET appendonly yes",
        ),
        (
            &["min-replicas-to-write", "1"],
            "redis_replicas",
            "problem",
            "NOREPLICAS",
            "CONFIG SET min-replicas-to-write 0",
        ),
    ];
    let redis = Redis::start();
    for (setting, code, status, seen, advice) in cases {
        let () = redis.command(&["CONFIG", "SET", setting[0], setting[1]]);
        let report = examine(&redis);
        report.has(code, status, seen, advice);
        assert_eq!(report.code, i32::from(status == "problem"), "{report:#?}");
        let words = advice.trim_start_matches("CONFIG SET ");
        let (name, value) = words.split_once(' ').unwrap();
        let () = redis.command(&["CONFIG", "SET", name, value.trim_matches('"')]);
        assert_eq!(
            examine(&redis).status(code),
            "ok",
            "{setting:?} after {advice}"
        );
    }
}

#[test]
fn a_full_memory_and_no_persistence_are_told() {
    let redis = Redis::start();
    examine(&redis).has(
        "redis_persistence",
        "warning",
        "state_lost",
        "CONFIG SET appendonly yes",
    );
    examine(&redis).has(
        "redis_memory",
        "note",
        "maxmemory is not set",
        "CONFIG SET maxmemory",
    );
    let info: String = redis.command(&["INFO", "memory"]);
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .unwrap();
    let () = redis.command(&["CONFIG", "SET", "maxmemory", used.trim()]);
    examine(&redis).has("redis_memory", "problem", "(OOM)", "CONFIG SET maxmemory");
}

#[test]
fn every_state_of_the_function_is_told_apart() {
    const CODE: &str = "redis_function";
    let redis = Redis::start();
    examine(&redis).has(CODE, "warning", "not installed", "sluice install-function");
    load(&redis, "sluice", "0", "");
    examine(&redis).has(CODE, "warning", "older", "sluice install-function");
    load(&redis, "sluice", "9999", "");
    examine(&redis).has(CODE, "note", "newer", "release");
    load(&redis, "sluice", &LIBRARY_VERSION.to_string(), "");
    examine(&redis).has(
        CODE,
        "problem",
        "another text",
        "sluice install-function --replace",
    );
    load(&redis, "sluice", "'one'", "");
    examine(&redis).has(CODE, "problem", "another library", "FUNCTION DELETE");
    let () = redis.command(&["FUNCTION", "DELETE", "sluice"]);
    assert_eq!(
        run(redis.sluice(&["install-function", "--replace", "--maxlen", "7"])).code,
        0
    );
    examine(&redis).has(CODE, "note", "maxlen 7, ttl 1h", "history.max_events");
    assert_eq!(
        run(redis.sluice(&["install-function", "--replace", "--sharded"])).code,
        0
    );
    examine(&redis).has(CODE, "problem", "SPUBLISH", "without --sharded");
    assert_eq!(
        run(redis.sluice(&["install-function", "--replace"])).code,
        0
    );
    examine(&redis).has(CODE, "ok", "built-in settings", "");
    let () = redis.command(&["FUNCTION", "FLUSH"]);
    let squatter =
        "#!lua name=other\nredis.register_function('sluice_publish', function() return 1 end)";
    let () = redis.command(&["FUNCTION", "LOAD", squatter]);
    examine(&redis).has(CODE, "problem", "`other`", "FUNCTION DELETE other");
}

#[test]
fn a_replica_and_a_cluster_are_called_so() {
    let primary = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port(&primary).to_string()]);
    let report = examine(&replica);
    assert_eq!(report.code, 1);
    report.has("redis_role", "problem", "replica", &primary.url());
    assert_eq!(report.status("redis_publish_rights"), "skipped");
    eventually("the replica", || {
        let info: String = primary.command(&["INFO", "replication"]);
        info.contains("connected_slaves:1").then_some(())
    });
    examine(&primary).has(
        "redis_replicas",
        "note",
        "unnoticed",
        "CONFIG SET min-replicas-to-write 1",
    );
    let cluster = Redis::start_with(&["--cluster-enabled", "yes"]);
    let report = examine(&cluster);
    report.has("redis_mode", "problem", "not support", "cluster-enabled no");
}

/// A managed Redis: what it forbids is skipped with the reason, and is no error.
#[test]
fn forbidden_commands_are_skipped() {
    let redis = Redis::start_with(&[
        "--rename-command",
        "CONFIG",
        "",
        "--rename-command",
        "ACL",
        "",
        "--appendonly",
        "yes",
    ]);
    let report = examine(&redis);
    assert_eq!(report.code, 0, "{report:#?}");
    report.has(
        "redis_pubsub_buffer",
        "skipped",
        "not permitted",
        "provider",
    );
    for code in [
        "redis_eviction",
        "redis_persistence",
        "redis_publish_rights",
        "redis_node_rights",
    ] {
        assert_eq!(report.status(code), "ok", "{report:#?}");
    }
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert_eq!(keys, [""; 0], "the throw-away channel is still there");
}

/// Users who may not ask `ACL DRYRUN`: the attempt tells the same, and leaves nothing.
#[test]
fn rights_are_told_for_publishers_gateways_and_others() {
    const PUBLISHER: &str = "~sluice:{[^_]*}:* &sluice:{[^_]*} +fcall +evalsha +eval +get +set +del +time +xadd +pexpire +publish";
    const NODE: &str = "~sluice:{*}:* &sluice:{*} +subscribe +unsubscribe +ping +get +getex +xrange +xrevrange +unwatch \
                        +time +eval_ro +eval +evalsha +set +del +pexpire +pttl +fcall_ro +function|load \
                        +getdel +zadd +zrange +zcard +zscan +zrem +zremrangebyscore (+publish &sluice:{_probe.*} &sluice:{_ctl})";
    let redis = Redis::start();
    let examine_as = |rights: &str, may_ask: bool| {
        let mut command = vec!["ACL", "SETUSER", "someone", "reset", "on", ">secret"];
        let rights: Vec<&str> = rights.split_whitespace().collect();
        // A selector in brackets is one argument.
        let joined = rights.join(" ");
        let (plain, selector) = joined.split_once(" (").unwrap_or((&joined, ""));
        command.extend(plain.split(' '));
        let selector = format!("({selector}");
        if selector.len() > 1 {
            command.push(&selector);
        }
        if may_ask {
            command.extend(["+acl|whoami", "+acl|dryrun"]);
        }
        let () = redis.command(&command);
        let report = doctor(&[
            "--redis",
            &redis.url().replace("redis://", "redis://someone:secret@"),
        ]);
        let keys: Vec<String> = redis.command(&["KEYS", "*"]);
        assert_eq!(keys, [""; 0], "something was left behind");
        report
    };
    for may_ask in [false, true] {
        let report = examine_as(PUBLISHER, may_ask);
        assert_eq!(report.code, 0, "{report:#?}");
        assert_eq!(report.status("redis_publish_rights"), "ok", "{report:#?}");
        report.has(
            "redis_node_rights",
            "note",
            "+subscribe",
            "ACL SETUSER someone",
        );
        let report = examine_as(NODE, may_ask);
        assert_eq!(report.status("redis_node_rights"), "ok", "{report:#?}");
        report.has(
            "redis_publish_rights",
            "note",
            "+xadd",
            "ACL SETUSER someone",
        );
        let report = examine_as(&NODE.replace(" +eval_ro", ""), may_ask);
        report.has(
            "redis_node_rights",
            "problem",
            "lacks +eval_ro to",
            "ACL SETUSER someone +eval_ro",
        );
        for (right, instead, lacking) in [
            (" +xadd", "", "+xadd"),
            ("&sluice:{[^_]*}", "resetchannels", "&sluice:{[^_]*}"),
            ("~sluice:{[^_]*}:*", "~other:*", "~sluice:{[^_]*}:*"),
        ] {
            let report = examine_as(&PUBLISHER.replace(right, instead), may_ask);
            assert_eq!(report.code, 1, "{lacking}");
            report.has("redis_publish_rights", "problem", lacking, lacking);
        }
    }
    let report = examine_as(PUBLISHER, false);
    report.has("redis_version", "skipped", "not permitted", "");
    assert_eq!(report.status("redis_clock"), "ok");
}

/// What this machine has no server for, told by one that says so: an old version, a clock that is off, a long way.
#[test]
fn an_old_version_a_wrong_clock_and_a_long_way_are_told() {
    let redis = Redis::start();
    let info: String = redis.command(&["INFO", "server"]);
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap()
        .trim();
    let old = format!("6{}", &version[1..]);
    let (seconds, _): (u64, u64) = redis.command(&["TIME"]);
    let thousands = format!("$10\r\n{}", seconds / 10_000);
    let ahead = format!("$10\r\n{}", seconds / 10_000 + 1);
    let faults = [
        proxy::rewrite(&[(
            &format!("redis_version:{version}"),
            &format!("redis_version:{old}"),
        )]),
        proxy::rewrite(&[(&thousands, &ahead)]),
        proxy::Fault::Late("+PONG", std::time::Duration::from_millis(60)),
    ];
    let [old_one, ahead, far] = faults.map(|fault| {
        let port = proxy::start(port(&redis), fault);
        doctor(&["--redis", &format!("redis://127.0.0.1:{port}")])
    });
    old_one.has("redis_version", "problem", "no functions", "7.0");
    ahead.has("redis_clock", "warning", "ahead of this machine", "NTP");
    far.has("redis_latency", "warning", "a round trip takes 6", "zone");
    assert_eq!(examine(&redis).status("redis_latency"), "ok");
}

#[test]
fn a_wrong_password_is_a_problem_not_an_absence() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let report = examine(&redis);
    assert_eq!(report.code, 1);
    report.has("redis_reachable", "problem", "NOAUTH", "user and password");
}

//! `sluice channels` on a real Redis. The nodes' reports are written by the test, as the contract has them.

use crate::support::{Ran, Redis, run};

/// Puts a node's report into Redis; `left_ms` is when it expires by Redis's clock.
fn report(redis: &Redis, node: &str, channels: &str, left_out: u64, left_ms: i64) {
    let (seconds, _): (i64, i64) = redis.command(&["TIME"]);
    let expires = (seconds * 1000 + left_ms).to_string();
    let _: i64 = redis.command(&["ZADD", "sluice:{_ctl}:reports", &expires, node]);
    let text = format!(
        "{{\"node\":\"{node}\",\"version\":\"0.1.0\",\"at\":{},\"connections\":9,\"channels\":{channels},\"channels_left_out\":{left_out}}}",
        seconds * 1000
    );
    // The default name of a node has a colon.
    let key = format!("sluice:{{_ctl}}:report:{}", node.replace(':', "%3A"));
    let () = redis.command(&["SET", &key, &text, "PX", "30000"]);
}

fn channels(redis: &Redis, words: &[&str]) -> Ran {
    let ran = run(redis.sluice(&[&["channels"], words].concat()));
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

#[test]
fn subscribers_are_summed_over_the_nodes_that_report() {
    let redis = Redis::start();
    report(&redis, "n1:1", "{\"orders.eu\":12,\"user.1\":1}", 0, 30_000);
    report(
        &redis,
        "n2:1",
        "{\"orders.eu\":3,\"orders.us\":20,\"aa\":1}",
        0,
        30_000,
    );
    // Its time is over, though Redis still has its report.
    report(&redis, "gone", "{\"orders.eu\":100}", 0, -1000);
    // Listed, and its report gone.
    let _: i64 = redis.command(&["ZADD", "sluice:{_ctl}:reports", "9999999999999", "leaving"]);

    let ran = channels(&redis, &[]);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        (
            "orders.us\t20\t1\norders.eu\t15\t2\naa\t1\t1\nuser.1\t1\t1\n",
            ""
        )
    );
    let ran = channels(&redis, &["orders.*"]);
    assert_eq!(ran.stdout, "orders.us\t20\t1\norders.eu\t15\t2\n");
    assert_eq!(channels(&redis, &["nobody"]).stdout, "");
    let ran = channels(&redis, &["orders.eu", "--json"]);
    assert_eq!(
        ran.stdout,
        "{\"channel\":\"orders.eu\",\"subscribers\":15,\"nodes\":{\"n1:1\":12,\"n2:1\":3}}\n"
    );
}

#[test]
fn it_says_when_no_node_reports() {
    let redis = Redis::start();
    let ran = channels(&redis, &[]);
    assert_eq!(ran.stdout, "");
    let address = redis.url().replace("redis://", "");
    assert_eq!(
        ran.stderr.replace(&address, "ADDRESS"),
        "note: no node reports in Redis at ADDRESS under the prefix \"sluice:\": no gateway works on it, or none has for 30 s\n"
    );
    let ran = channels(&redis, &["--json"]);
    assert!(
        ran.stderr.starts_with("{\"note\":\"no node reports in "),
        "{}",
        ran.stderr
    );

    // A node to which nobody listens is a node.
    report(&redis, "n1", "{}", 0, 30_000);
    let ran = channels(&redis, &[]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn what_a_report_lacks_is_told() {
    let redis = Redis::start();
    report(&redis, "n1", "{\"orders\":2}", 17, 30_000);
    report(&redis, "n2", "[]", 0, 30_000);
    let ran = channels(&redis, &[]);
    assert_eq!(ran.stdout, "orders\t2\t1\n");
    let told: Vec<_> = ran.stderr.lines().collect();
    assert!(
        told[0].starts_with("note: n1 left out 17 channels"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("note: the report of n2 cannot be read: "),
        "{told:?}"
    );
    assert_eq!(told.len(), 2);
}

/// Reports are written under the deployment's prefix, and found there only.
#[test]
fn the_prefix_is_that_of_the_deployment() {
    let redis = Redis::start();
    report(&redis, "n1", "{\"orders\":2}", 0, 30_000);
    let ran = channels(&redis, &["--prefix", "app:"]);
    assert!(
        ran.stderr.contains("under the prefix \"app:\""),
        "{}",
        ran.stderr
    );
    let _: bool = redis.command(&["RENAMENX", "sluice:{_ctl}:reports", "app:{_ctl}:reports"]);
    let _: bool = redis.command(&[
        "RENAMENX",
        "sluice:{_ctl}:report:n1",
        "app:{_ctl}:report:n1",
    ]);
    assert_eq!(
        channels(&redis, &["--prefix", "app:"]).stdout,
        "orders\t2\t1\n"
    );
}

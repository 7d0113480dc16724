//! `sluice history` on a real Redis.

use crate::support::{Ran, Redis, run, run_with_input, sluice};

/// Runs `sluice history` and expects it to end well.
fn history(redis: &Redis, words: &[&str]) -> Ran {
    let ran = run(redis.sluice(&[&["history"], words].concat()));
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// The data of each line of the text output.
fn data(ran: &Ran) -> Vec<&str> {
    ran.lines()
        .iter()
        .map(|line| line.rsplit('\t').next().unwrap())
        .collect()
}

#[test]
fn each_event_is_a_line_of_position_type_and_data() {
    let redis = Redis::start();
    let first = redis.publish("orders", "{\"id\":1}");
    let typed = run(redis.sluice(&[
        "publish",
        "orders",
        "một\nhai\u{1b}[2J",
        "--event",
        "order.created",
        "--id",
        "ev-1",
    ]));
    let second = typed.stdout.trim_end();
    let ran = history(&redis, &["orders"]);
    assert_eq!(ran.stderr, "");
    assert_eq!(
        ran.stdout,
        format!("{first}\t-\t{{\"id\":1}}\n{second}\torder.created\tmột\\nhai\\u{{1b}}[2J\n")
    );
    let json = history(&redis, &["orders", "--json"]);
    assert_eq!(
        json.stdout,
        format!(
            "{{\"channel\":\"orders\",\"id\":\"{first}\",\"type\":null,\"event_id\":null,\"data\":\"{{\\\"id\\\":1}}\"}}\n\
             {{\"channel\":\"orders\",\"id\":\"{second}\",\"type\":\"order.created\",\"event_id\":\"ev-1\",\"data\":\"một\\nhai\\u001b[2J\"}}\n"
        )
    );
}

/// More than one page of reads, from every kind of start.
#[test]
fn it_pages_through_all_of_it_from_wherever_it_begins() {
    let redis = Redis::start();
    let lines: String = (1..=600).map(|n| format!("{{\"data\":{n}}}\n")).collect();
    let published = run_with_input(
        redis.sluice(&["publish", "a", "--ndjson"]),
        Some(lines.as_bytes()),
    );
    let positions = published.lines();
    let expect = |words: &[&str], first: usize, last: usize| {
        let ran = history(&redis, &[&["a"], words].concat());
        let expected: Vec<String> = (first..=last).map(|n| n.to_string()).collect();
        assert_eq!(data(&ran), expected, "{words:?}");
        assert_eq!(
            ran.lines()[0].split('\t').next(),
            Some(positions[first - 1])
        );
        ran.stderr
    };
    assert_eq!(expect(&[], 1, 600), "");
    assert_eq!(expect(&["--from", positions[99]], 101, 600), "");
    assert_eq!(expect(&["--last", "300"], 301, 600), "");
    assert_eq!(expect(&["--last", "9999"], 1, 600), "");
    assert_eq!(expect(&["--since", "1h"], 1, 600), "");
    assert_eq!(expect(&["--last", "300", "--limit", "300"], 301, 600), "");
    let told = expect(&["--limit", "270"], 1, 270);
    assert_eq!(
        told,
        format!(
            "note: there is more; go on with --from {}\n",
            positions[269]
        )
    );
    assert_eq!(expect(&["--from", positions[269]], 271, 600), "");
    let ran = history(&redis, &["a", "--from", positions[599]]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(history(&redis, &["a", "--last", "0"]).stdout, "");
}

#[test]
fn since_takes_an_age_or_a_time() {
    let redis = Redis::start();
    for (ms, data) in [(1_763_675_999_999, "1"), (1_763_676_000_000, "2")] {
        redis.publish_at("orders", ms, data);
    }
    redis.publish("orders", "3");
    for (since, expected) in [
        ("2025-11-20T21:59:59.999Z", vec!["1", "2", "3"]),
        ("2025-11-20T22:00:00Z", vec!["2", "3"]),
        ("2025-11-21T05:00:00+07:00", vec!["2", "3"]),
        ("2025-11-20T22:00:00.001Z", vec!["3"]),
        ("1m", vec!["3"]),
        ("9999-12-31T00:00:00Z", vec![]),
    ] {
        let ran = history(&redis, &["orders", "--since", since]);
        assert_eq!((data(&ran), ran.stderr.as_str()), (expected, ""), "{since}");
    }
}

/// Looking leaves no trace: no head, no stream, no time to live.
#[test]
fn it_writes_nothing() {
    let redis = Redis::start();
    let () = redis.command(&["CONFIG", "RESETSTAT"]);
    let ran = history(&redis, &["orders"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    for words in [&["--last", "3"][..], &["--since", "5m"]] {
        assert_eq!(history(&redis, &[&["orders"], words].concat()).stdout, "");
    }
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert!(keys.is_empty(), "{keys:?}");
    // Each look is one script that cannot write.
    let stats: String = redis.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_eval_ro:calls=3,"), "{stats}");
}

/// A user who may only read is enough.
#[test]
fn a_user_who_may_only_read_can_look() {
    let redis = Redis::start();
    redis.publish("orders", "1");
    let () = redis.command(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">pw",
        "%R~sluice:{*}:*",
        "+get",
        "+xrange",
        "+xrevrange",
        "+time",
        "+eval_ro",
    ]);
    let url = redis.url().replace("redis://", "redis://reader:pw@");
    for words in [&[][..], &["--last", "1"], &["--since", "1h"]] {
        let ran = run(sluice(
            &[&["history", "orders", "--redis", &url], words].concat(),
        ));
        assert_eq!((ran.code, data(&ran)), (0, vec!["1"]), "{ran:?}");
    }
}

/// A Redis that takes no write, since its memory is full, is read all the same.
#[test]
fn a_full_redis_is_read() {
    let redis = Redis::start();
    let first = redis.publish("orders", "1");
    redis.publish("orders", "2");
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for (words, expected) in [
        (&[][..], &["1", "2"][..]),
        (&["--last", "1"], &["2"]),
        (&["--since", "1h"], &["1", "2"]),
        (&["--from", &first], &["2"]),
    ] {
        let ran = history(&redis, &[&["orders"], words].concat());
        assert_eq!((ran.code, data(&ran)), (0, expected.to_vec()), "{ran:?}");
    }
}

/// A user who lacks a right is told which, not by a panic.
#[test]
fn a_user_without_the_right_to_look_is_told() {
    let redis = Redis::start();
    redis.publish("orders", "1");
    let () = redis.command(&[
        "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get", "+xrange",
    ]);
    let url = redis.url().replace("redis://", "redis://reader:pw@");
    let ran = run(sluice(&["history", "orders", "--redis", &url]));
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(
        ran.stderr.contains("NOPERM") && ran.stderr.contains("hint:"),
        "{ran:?}"
    );
}

/// What the cursor cannot prove is told, and all that is kept comes; the exit code stays that of a tail.
#[test]
fn a_cursor_that_is_not_proved_is_told() {
    let redis = Redis::start();
    let positions: Vec<_> = ["1", "2", "3", "4"]
        .map(|data| redis.publish("orders", data))
        .to_vec();
    let _: i64 = redis.command(&["XTRIM", "sluice:{orders}:s", "MAXLEN", "2"]);
    let ran = history(&redis, &["orders", "--from", &positions[0]]);
    assert_eq!(data(&ran), ["3", "4"]);
    assert_eq!(
        ran.stderr,
        format!(
            "reset: orders: trimmed (from {} to {}): events may be missing\n",
            positions[0], positions[1]
        )
    );
    // Without a cursor nothing is claimed, so nothing is amiss; and the place before the oldest is proved.
    assert_eq!(history(&redis, &["orders"]).stderr, "");
    assert_eq!(
        history(&redis, &["orders", "--from", &positions[1]]).stderr,
        ""
    );

    // The same id on another timeline; a place ahead of the head; and a channel that is gone.
    let other = format!("{}.00000000", positions[3].split('.').next().unwrap());
    for from in [other.as_str(), "9999999999999-0.00000000"] {
        let ran = history(&redis, &["orders", "--from", from, "--json"]);
        assert_eq!(ran.lines().len(), 2, "{ran:?}");
        assert_eq!(
            ran.stderr,
            format!(
                "{{\"reset\":{{\"channel\":\"orders\",\"reason\":\"rollback\",\"from\":\"{from}\",\"to\":\"{}\"}}}}\n",
                positions[1]
            )
        );
    }
    let () = redis.command(&["FLUSHALL"]);
    let ran = history(&redis, &["orders", "--from", &positions[3]]);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr),
        (
            "",
            format!(
                "reset: orders: state_lost (from {} to the beginning): events may be missing\n",
                positions[3]
            )
        )
    );
}

/// An event that somebody deleted in the middle, or at the end, is missed.
#[test]
fn a_hole_in_the_chain_is_told_where_it_is() {
    let redis = Redis::start();
    let positions: Vec<_> = ["1", "2", "3", "4"]
        .map(|data| redis.publish("orders", data))
        .to_vec();
    let delete = |position: &str| {
        let id = position.split('.').next().unwrap();
        let _: i64 = redis.command(&["XDEL", "sluice:{orders}:s", id]);
    };
    let told = |from: usize, to: usize| {
        format!(
            "reset: orders: trimmed (from {} to {}): events may be missing\n",
            positions[from], positions[to]
        )
    };
    delete(&positions[1]);
    let ran = history(&redis, &["orders"]);
    assert_eq!(
        (data(&ran), &ran.stderr),
        (vec!["1", "3", "4"], &told(0, 1))
    );
    delete(&positions[3]);
    let ran = history(&redis, &["orders", "--from", &positions[1]]);
    assert_eq!((data(&ran), &ran.stderr), (vec!["3"], &told(2, 3)));
}

#[test]
fn a_cursor_of_several_channels_has_a_place_for_each() {
    let redis = Redis::start();
    for (channel, data) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
        redis.publish(channel, data);
    }
    let tail = run(redis.sluice(&["tail", "a", "b", "--last", "2", "--count", "3", "--json"]));
    let last: serde_json::Value = serde_json::from_str(tail.lines()[2]).unwrap();
    let cursor = last["cursor"].as_str().unwrap();
    assert_eq!(data(&history(&redis, &["b", "--from", cursor])), ["b2"]);
    let ran = run(redis.sluice(&["history", "c", "--from", cursor]));
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr
            .starts_with("error: the cursor of --from has no place for c\nhint: "),
        "{}",
        ran.stderr
    );
}

/// `sluice history … | head -1` ends quietly.
#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let redis = Redis::start();
    let lines: String = (0..900)
        .map(|_| format!("{{\"data\":\"{}\"}}\n", "x".repeat(1000)))
        .collect();
    let batch = run_with_input(
        redis.sluice(&["publish", "a", "--ndjson"]),
        Some(lines.as_bytes()),
    );
    assert_eq!(batch.code, 0);
    let mut command = std::process::Command::new("sh");
    let line = format!(
        "{} history a --redis {} | head -n 1",
        env!("CARGO_BIN_EXE_sluice"),
        redis.url()
    );
    command.args(["-c", &line]);
    let ran = run(command);
    assert_eq!((ran.lines().len(), ran.stderr.as_str()), (1, ""));
}

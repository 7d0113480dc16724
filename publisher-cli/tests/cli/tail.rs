//! `sluice tail` on a real Redis.

use crate::support::{Redis, Running, run};

#[test]
fn history_and_live_events_come_once_and_in_order() {
    let redis = Redis::start();
    for data in ["1", "2", "3"] {
        redis.publish("orders", data);
    }
    let mut tail = Running::start(redis.sluice(&["tail", "orders", "--last", "2", "--count", "4"]));
    assert_eq!(tail.stdout.take(2), ["2", "3"]);
    redis.publish("orders", "4");
    redis.publish("orders", "5");
    assert_eq!(tail.stdout.take(2), ["4", "5"]);
    assert_eq!(tail.end(), 0);
}

/// Nobody is asked for a head, and the first event ever is not missed.
#[test]
fn a_channel_never_published_to_is_followed_from_its_first_event() {
    let redis = Redis::start();
    let mut tail = Running::start(redis.sluice(&["tail", "orders", "--count", "1"]));
    redis.await_subscribers("orders", 1);
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert!(keys.is_empty(), "{keys:?}");
    redis.publish("orders", "first");
    assert_eq!(tail.stdout.next(), "first");
    assert_eq!(tail.end(), 0);
}

#[test]
fn a_cursor_goes_on_exactly_after_its_event() {
    let redis = Redis::start();
    redis.publish("a", "1");
    let from = redis.publish("a", "2");
    // More than one page of the stream.
    let lines: String = (3..=600).map(|n| format!("{{\"data\":{n}}}\n")).collect();
    let batch = crate::support::run_with_input(
        redis.sluice(&["publish", "a", "--ndjson"]),
        Some(lines.as_bytes()),
    );
    assert_eq!(batch.code, 0);
    let ran = run(redis.sluice(&["tail", "a", "--from", &from, "--count", "598"]));
    let expected: Vec<String> = (3..=600).map(|n| n.to_string()).collect();
    assert_eq!(
        (ran.code, ran.lines()),
        (0, expected.iter().map(String::as_str).collect())
    );
    let ran = run(redis.sluice(&["tail", "a", "--since", "1h", "--count", "600"]));
    assert_eq!(
        (ran.code, ran.lines()[0], ran.lines()[599]),
        (0, "1", "600")
    );
    let ran = run(redis.sluice(&["tail", "a", "--last", "500", "--count", "500"]));
    assert_eq!(
        (ran.code, ran.lines()[0], ran.lines()[499]),
        (0, "101", "600")
    );
}

/// The cursor that --json prints is one of all channels; the id is the event's own.
#[test]
fn several_channels_go_on_from_one_cursor() {
    let redis = Redis::start();
    for (channel, data) in [("a", "a1"), ("b", "b1"), ("b", "b2")] {
        redis.publish(channel, data);
    }
    let ran = run(redis.sluice(&["tail", "a", "b", "--last", "5", "--count", "2", "--json"]));
    let objects: Vec<serde_json::Value> = ran
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = objects
        .iter()
        .map(|o| (o["channel"].as_str().unwrap(), o["data"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("a", "a1"), ("b", "b1")]);
    let position = redis.stream("b")[0].0.clone();
    assert!(objects[1]["id"].as_str().unwrap().starts_with(&position));
    let cursor = objects[1]["cursor"].as_str().unwrap();
    let ran = run(redis.sluice(&["tail", "b", "a", "--from", cursor, "--count", "1"]));
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "b2\n", "")
    );
}

/// The connection is killed again and again while events flow.
#[test]
fn a_killed_connection_loses_repeats_and_reorders_nothing() {
    let redis = Redis::start();
    let mut tail = Running::start(redis.sluice(&["tail", "orders", "--count", "200"]));
    redis.await_subscribers("orders", 1);
    let mut publisher = Running::start(redis.sluice(&["publish", "orders", "--ndjson"]));
    for n in 0..200 {
        publisher.write_line(&format!("{{\"event_id\":\"{n}\",\"data\":{n}}}"));
        publisher.stdout.next();
        if n % 40 == 20 {
            let _: i64 = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
    }
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(tail.stdout.take(200), expected);
    assert_eq!(tail.end(), 0);
    assert!(tail.stderr.next().starts_with("note: Redis at "));
}

/// A message that is lost on the way is found by the audit: here it is appended without being published.
#[test]
fn a_lost_last_message_is_found() {
    let redis = Redis::start();
    let script = run(crate::support::sluice(&["install-function", "--eval"])).stdout;
    let silent = script.replace("redis.call(PUBLISH,", "tostring(");
    assert_ne!(silent, script, "the script publishes once");
    let tail = Running::start(redis.sluice(&["tail", "orders"]));
    redis.await_subscribers("orders", 1);
    redis.publish("orders", "heard");
    assert_eq!(tail.stdout.next(), "heard");
    let () = redis.command(&[
        "EVAL",
        &silent,
        "2",
        "sluice:{orders}:s",
        "sluice:{orders}:m",
        "",
        "silent",
    ]);
    assert_eq!(tail.stdout.next(), "silent");
}

#[test]
fn what_cannot_be_proved_is_told() {
    let redis = Redis::start();
    let from = redis.publish("orders", "1");
    redis.publish("orders", "2");
    redis.publish("orders", "3");
    let _: i64 = redis.command(&["XTRIM", "sluice:{orders}:s", "MAXLEN", "1"]);
    let tail = Running::start(redis.sluice(&["tail", "orders", "--from", &from]));
    assert!(
        tail.stderr
            .next()
            .starts_with(&format!("reset: orders: trimmed (from {from} to "))
    );
    redis.publish("orders", "4");
    assert_eq!(tail.stdout.next(), "4");

    let () = redis.command(&["FLUSHALL"]);
    let told = tail.stderr.next();
    assert!(
        told.starts_with("reset: orders: state_lost (from "),
        "{told}"
    );
    redis.publish("orders", "5");
    assert_eq!(tail.stdout.next(), "5");
}

/// The same as objects, and `--since` with a time: here that of the second event.
#[test]
fn with_json_a_reset_is_an_object_and_since_takes_a_time() {
    let redis = Redis::start();
    redis.publish_at("orders", 1_763_676_000_000, "1");
    let from = redis.publish_at("orders", 1_763_676_001_000, "2");
    let to = redis.publish_at("orders", 1_763_676_002_000, "3");
    let time = "2025-11-21T05:00:01+07:00";
    let ran = run(redis.sluice(&["tail", "orders", "--since", time, "--count", "2"]));
    assert_eq!((ran.code, ran.lines()), (0, vec!["2", "3"]));

    let _: i64 = redis.command(&["DEL", "sluice:{orders}:s"]);
    let tail = Running::start(redis.sluice(&["tail", "orders", "--from", &from, "--json"]));
    assert_eq!(
        tail.stderr.next(),
        format!(
            r#"{{"reset":{{"channel":"orders","reason":"trimmed","from":"{from}","to":"{to}"}}}}"#
        )
    );
}

#[test]
fn a_plain_publish_is_printed_too() {
    let redis = Redis::start();
    let mut tail = Running::start(redis.sluice(&["tail", "orders", "--count", "1"]));
    let mut json = Running::start(redis.sluice(&["tail", "orders", "--count", "1", "--json"]));
    redis.await_subscribers("orders", 2);
    let _: i64 = redis.command(&["PUBLISH", "sluice:{orders}", "passing by"]);
    assert_eq!(tail.stdout.next(), "passing by");
    assert_eq!(tail.end(), 0);
    assert_eq!(
        json.stdout.next(),
        r#"{"cursor":null,"channel":"orders","id":null,"type":null,"event_id":null,"data":"passing by"}"#
    );
    assert_eq!(json.end(), 0);
}

#[test]
fn ctrl_c_ends_it_with_130_and_without_a_word() {
    let redis = Redis::start();
    let mut tail = Running::start(redis.sluice(&["tail", "orders"]));
    redis.await_subscribers("orders", 1);
    tail.interrupt();
    assert_eq!(tail.end(), 130);
}

/// `sluice tail … | head -1` ends with the first event after head has gone.
#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let redis = Redis::start();
    redis.publish("orders", "1");
    let mut tail = redis
        .sluice(&["tail", "orders", "--last", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    redis.await_subscribers("orders", 1);
    drop(tail.stdout.take());
    redis.publish("orders", "2");
    redis.publish("orders", "3");
    let ended = crate::support::eventually("the end", || tail.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    let mut told = String::new();
    std::io::Read::read_to_string(&mut tail.stderr.take().unwrap(), &mut told).unwrap();
    assert_eq!(told, "");
}

//! `sluice publish` on a real Redis.

use std::time::Duration;

use crate::support::{Redis, Running, run, run_with_input};

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// What is printed is where the event is.
#[test]
fn the_position_printed_is_that_of_the_stored_event() {
    let redis = Redis::start();
    let ran = run(redis.sluice(&[
        "publish",
        "orders",
        "{\"id\":1}",
        "--event",
        "order.created",
        "--id",
        "ev-1",
    ]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let stream = redis.stream("orders");
    let (id, fields) = &stream[0];
    assert_eq!(stream.len(), 1);
    assert_eq!(
        ran.stdout,
        format!("{id}.{}\n", field(fields, "t").unwrap())
    );
    assert_eq!(field(fields, "d"), Some("{\"id\":1}"));
    assert_eq!(field(fields, "e"), Some("order.created"));
    assert_eq!(field(fields, "i"), Some("ev-1"));
}

#[test]
fn data_that_begins_with_a_hyphen_is_data() {
    let redis = Redis::start();
    assert_eq!(run(redis.sluice(&["publish", "orders", "-5"])).code, 0);
    assert_eq!(field(&redis.stream("orders")[0].1, "d"), Some("-5"));
}

#[test]
fn all_of_standard_input_is_one_event() {
    let redis = Redis::start();
    let ran = run_with_input(
        redis.sluice(&["publish", "orders", "-"]),
        Some("một\nhai\n".as_bytes()),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(field(&redis.stream("orders")[0].1, "d"), Some("một\nhai\n"));

    let ran = run_with_input(redis.sluice(&["publish", "orders", "-"]), Some(b"ok\xff"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("not UTF-8 at byte 2"), "{}", ran.stderr);
    assert_eq!(redis.stream("orders").len(), 1);
}

#[test]
fn a_repeated_event_id_is_answered_with_the_first_position() {
    let redis = Redis::start();
    let publish = |data| run(redis.sluice(&["publish", "orders", data, "--id", "ev-1"]));
    let first = publish("a");
    assert_eq!(publish("a").stdout, first.stdout);
    let other = publish("b");
    assert_eq!((other.code, other.stdout.as_str()), (1, ""));
    assert!(
        other.stderr.starts_with("error: event_id_reused: "),
        "{}",
        other.stderr
    );
    assert_eq!(redis.stream("orders").len(), 1);
}

/// A bad line spoils no other, and is named by its number.
#[test]
fn a_batch_publishes_its_good_lines_and_numbers_its_bad_ones() {
    let redis = Redis::start();
    let input = br#"{"data":{"b": 1, "a": [1.50, 12345678901234567890123]}}
{"data":

{"channel":"other","type":"t","event_id":"i","data":"text"}
{"channel":"no..good","data":1}
{"type":"open","data":1}
{"data":null}
"#;
    let ran = run_with_input(
        redis.sluice(&["publish", "orders", "--ndjson", "--event", "dflt"]),
        Some(input),
    );
    assert_eq!(ran.code, 3, "{ran:?}");
    let numbers: Vec<_> = ran
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("error: line ")?.split_once(':'))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, ["2", "5", "6"], "{}", ran.stderr);
    assert!(
        ran.stderr
            .ends_with("error: 3 of 6 events were not published\n"),
        "{}",
        ran.stderr
    );

    let orders = redis.stream("orders");
    let data: Vec<_> = orders
        .iter()
        .map(|(_, fields)| field(fields, "d").unwrap())
        .collect();
    assert_eq!(
        data,
        [r#"{"b": 1, "a": [1.50, 12345678901234567890123]}"#, "null"]
    );
    assert_eq!(field(&orders[0].1, "e"), Some("dflt"));
    let other = &redis.stream("other")[0].1;
    assert_eq!(
        (field(other, "e"), field(other, "i"), field(other, "d")),
        (Some("t"), Some("i"), Some("text"))
    );
    assert_eq!(ran.lines().len(), 3);
}

#[test]
fn an_event_that_redis_refuses_is_numbered_too() {
    let redis = Redis::start();
    let big = format!(
        "{{\"data\":\"{}\"}}\n{{\"data\":1}}\n",
        "x".repeat(64 * 1024 + 1)
    );
    let ran = run_with_input(
        redis.sluice(&["publish", "orders", "--ndjson", "--json"]),
        Some(big.as_bytes()),
    );
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr
            .starts_with("{\"line\":1,\"error\":{\"code\":\"event_too_large\","),
        "{}",
        ran.stderr
    );
    let object: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&object["channel"], &object["line"]),
        (&"orders".into(), &2.into())
    );
}

/// Batches keep the order of every channel, and positions come in the order of the lines.
#[test]
fn a_long_batch_keeps_the_order_of_each_channel() {
    let redis = Redis::start();
    let input: String = (0..6000)
        .map(|n| format!("{{\"channel\":\"c{}\",\"data\":{n}}}\n", n % 3))
        .collect();
    let ran = run_with_input(
        redis.sluice(&["publish", "--ndjson"]),
        Some(input.as_bytes()),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let positions = ran.lines();
    assert_eq!(positions.len(), 6000);
    for channel in 0..3 {
        // The stream keeps about the last thousand.
        let stream = redis.stream(&format!("c{channel}"));
        let first = 2000 - stream.len();
        assert!(stream.len() >= 1000);
        for (at, (id, fields)) in stream.iter().enumerate() {
            let line = (first + at) * 3 + channel;
            assert_eq!(field(fields, "d").unwrap(), line.to_string());
            assert_eq!(
                positions[line],
                format!("{id}.{}", field(fields, "t").unwrap())
            );
        }
    }
}

/// A reader of positions learns of each event while the input goes on; a lost connection or script is made good.
#[test]
fn positions_come_at_once_and_a_killed_connection_costs_nothing() {
    let redis = Redis::start();
    let mut sluice = Running::start(redis.sluice(&["publish", "orders", "--ndjson"]));
    sluice.write_line("{\"data\":1}");
    let first = sluice.stdout.next();
    assert!(first.starts_with(&redis.stream("orders")[0].0));

    let () = redis.command(&["SCRIPT", "FLUSH"]);
    sluice.write_line("{\"data\":2}\n{\"data\":3}");
    sluice.stdout.take(2);

    assert_eq!(run(redis.sluice(&["install-function"])).code, 0);
    let _: i64 = redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    sluice.write_line("{\"event_id\":\"a\",\"data\":4}");
    sluice.stdout.next();

    // The new connection found the function; now it goes away again.
    let () = redis.command(&["FUNCTION", "FLUSH"]);
    sluice.write_line("{\"data\":5}\n{\"data\":6}");
    sluice.stdout.take(2);
    sluice.close_input();
    assert_eq!(sluice.end(), 0);
    let stream = redis.stream("orders");
    let data: Vec<_> = stream
        .iter()
        .map(|(_, fields)| field(fields, "d").unwrap())
        .collect();
    assert_eq!(data, ["1", "2", "3", "4", "5", "6"]);
}

/// The deployment's settings, rendered into the installed function, bind the command line too.
#[test]
fn the_installed_function_is_the_one_called() {
    let redis = Redis::start();
    assert_eq!(
        run(redis.sluice(&["install-function", "--event-bytes", "10B"])).code,
        0
    );
    let ran = run(redis.sluice(&["publish", "orders", "more than ten"]));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.starts_with("error: event_too_large: "),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_rate_spreads_events_over_time() {
    let redis = Redis::start();
    let input = "{\"data\":1}\n".repeat(11);
    let ran = run_with_input(
        redis.sluice(&["publish", "orders", "--ndjson", "--rate", "50/s"]),
        Some(input.as_bytes()),
    );
    assert_eq!((ran.code, ran.lines().len()), (0, 11));
    assert!(ran.took >= Duration::from_millis(200), "{:?}", ran.took);
}

/// A reader of positions that goes away does not stop the events.
#[test]
fn a_closed_standard_output_does_not_stop_the_batch() {
    let redis = Redis::start();
    let mut command = std::process::Command::new("sh");
    let line = format!(
        "for n in 1 2 3; do echo '{{\"data\":1}}'; done | {} publish orders --ndjson --redis {} | true",
        env!("CARGO_BIN_EXE_sluice"),
        redis.url()
    );
    command.args(["-c", &line]);
    let ran = run(command);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    crate::support::eventually("three events", || {
        (redis.stream("orders").len() == 3).then_some(())
    });
}

/// A history is copied by a pipe: types, ids and data arrive, positions are new.
#[test]
fn a_history_is_input_for_publish() {
    let redis = Redis::start();
    let publish = |words: &[&str]| {
        assert_eq!(
            run(redis.sluice(&[&["publish", "orders"], words].concat())).code,
            0
        );
    };
    publish(&["{ \"id\" : 1 }", "--event", "order.created", "--id", "ev-1"]);
    publish(&["một\nhai\t\"ba\""]);
    let history = run(redis.sluice(&["history", "orders", "--json"]));
    let copy = Redis::start();
    let ran = run_with_input(
        copy.sluice(&["publish", "--ndjson"]),
        Some(history.stdout.as_bytes()),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (original, copied) = (redis.stream("orders"), copy.stream("orders"));
    assert_eq!((original.len(), copied.len()), (2, 2));
    for ((_, original), (_, copied)) in original.iter().zip(&copied) {
        for name in ["d", "e", "i"] {
            assert_eq!(field(original, name), field(copied, name), "{name}");
        }
        assert_ne!(field(original, "t"), field(copied, "t"));
    }
    // The lines of a tail, which have a cursor too.
    let tail = run(redis.sluice(&[
        "tail", "orders", "gone", "--last", "9", "--count", "2", "--json",
    ]));
    let ran = run_with_input(
        copy.sluice(&["publish", "--ndjson"]),
        Some(tail.stdout.replace("ev-1", "ev-2").as_bytes()),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", tail.stdout);
    assert_eq!(copy.stream("orders").len(), 4);
}

#[test]
fn with_json_a_batch_tells_its_failures_as_objects_with_the_line() {
    let redis = Redis::start();
    let ran = run_with_input(
        redis.sluice(&["publish", "orders", "--ndjson", "--json"]),
        Some(b"{\"data\":1}\n{\"id\":\"ev-1\",\"data\":2}\n"),
    );
    assert_eq!((ran.code, ran.lines().len()), (3, 1));
    let told: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told[0]["line"], 2);
    assert!(
        told[0]["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("`event_id`"),
        "{told:?}"
    );
    assert_eq!(
        (told.len(), &told[1]["error"]["code"]),
        (2, &"some_failed".into())
    );
}

/// The option's, else the environment's; each line's own before both. What tools left in the environment stops nobody.
#[test]
fn a_traceparent_goes_with_the_event() {
    const OPTION: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const VARIABLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let redis = Redis::start();
    let publish = |arguments: &[&str], variable: Option<&str>, input: Option<&[u8]>| {
        let mut command = redis.sluice(&[&["publish", "orders"], arguments].concat());
        command.envs(variable.map(|value| ("TRACEPARENT", value)));
        run_with_input(command, input)
    };
    let option = ["x", "--traceparent", OPTION];
    let line = format!("{{\"data\":1,\"traceparent\":\"{VARIABLE}\"}}\n{{\"data\":2}}\n");
    let many = ["--ndjson", "--traceparent", OPTION];
    for ran in [
        publish(&option, Some(VARIABLE), None),
        publish(&["x"], Some(VARIABLE), None),
        publish(&["x"], Some("nonsense"), None),
        publish(&["x"], None, None),
        publish(&many, None, Some(line.as_bytes())),
    ] {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    let stream = redis.stream("orders");
    let given: Vec<_> = stream
        .iter()
        .map(|(_, fields)| field(fields, "tp"))
        .collect();
    let expected = [OPTION, VARIABLE, "", "", VARIABLE, OPTION];
    assert_eq!(
        given,
        expected.map(|text| Some(text).filter(|t| !t.is_empty()))
    );

    let zeros = OPTION.replace("b7ad6b7169203331", &"0".repeat(16));
    let ran = publish(&["x", "--traceparent", &zeros], None, None);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("is no traceparent"), "{}", ran.stderr);
    assert_eq!(redis.stream("orders").len(), stream.len());
    let history = run(redis.sluice(&["history", "orders", "--json"]));
    let first: serde_json::Value = serde_json::from_str(history.lines()[0]).unwrap();
    assert_eq!(first["traceparent"], OPTION);
}

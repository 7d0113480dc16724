//! Batches: every line has an answer of its own, each channel keeps its order, and what is wrong spoils nothing else.

use rstest::rstest;
use serde_json::{Value, json};

use crate::auth;
use crate::harness::ground::{Backend, Ground};
use crate::harness::http::{Answer, call};
use crate::harness::node::Node;

fn send(node: &Node, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    call(node.public, "POST", "/v1/publish", headers, body)
}

/// The answers to a batch that was accepted.
fn publish(node: &Node, lines: &[impl AsRef<str>]) -> Vec<Value> {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    let answer = send(node, &[], lines.join("\n").as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let lines = answer.body.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn event(channel: &str, data: impl serde::Serialize) -> String {
    json!({"channel": channel, "data": data}).to_string()
}

/// The kept events of a channel.
fn kept(node: &Node, channel: &str) -> Vec<Value> {
    let target = format!("/v1/channels/{channel}/events?limit=1000");
    let page: Value = serde_json::from_str(&node.get(&target, &[]).body).expect("JSON");
    page["events"].as_array().expect("a list").clone()
}

fn data(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["data"].as_str().expect("a text"))
        .collect()
}

fn code(answer: &Value) -> (Option<&str>, Option<u64>) {
    let error = &answer["error"];
    (error["code"].as_str(), error["status"].as_u64())
}

fn published(node: &Node, outcome: &str) -> f64 {
    node.metric(&format!("sluice_published_total{{outcome=\"{outcome}\"}}"))
}

/// Each line is answered in its place; bad lines in between spoil no other and no channel's order.
#[rstest]
fn every_line_has_its_answer_and_every_channel_its_order(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = backend.start(&[("LIMITS__EVENT_BYTES", "1KiB")]);
    let node = &ground.node;
    let mut stream = node.stream("channel=a", &[]);
    let lines = [
        r#"{"channel":"a","data":"1"}"#.to_owned(),
        String::new(),
        r#"{"channel":"b","type":"t","event_id":"ev-1","data":{"n": 1}}"#.to_owned(),
        "nonsense".to_owned(),
        r#"{"channel":"a","type":"open","data":"x"}"#.to_owned(),
        r#"{"channel":"a","data":2}"#.to_owned(),
        event("a", "x".repeat(1_025)),
        r#"{"channel":"_ctl","data":"x"}"#.to_owned(),
        r#"{"channel":"b","event_id":"ev-1","data":"other"}"#.to_owned(),
        r#"{"channel":"b","data":"2"}"#.to_owned(),
        r#"{"channel":"a","data":"3"}"#.to_owned(),
    ];
    let answers = publish(node, &lines);
    let numbers: Vec<u64> = answers
        .iter()
        .map(|a| a["line"].as_u64().expect("a number"))
        .collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let good = [0, 1, 4, 8, 9];
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["id"].is_string(), good.contains(&index), "{answer}");
        assert_eq!(
            answer.get("error").is_none(),
            good.contains(&index),
            "{answer}"
        );
    }
    assert_eq!(
        (code(&answers[2]), &answers[2]["channel"]),
        ((Some("bad_body"), Some(400)), &Value::Null)
    );
    assert_eq!(
        (code(&answers[3]), &answers[3]["channel"]),
        ((Some("bad_event_type"), Some(400)), &json!("a"))
    );
    assert_eq!(code(&answers[5]), (Some("event_too_large"), Some(413)));
    assert_eq!(code(&answers[6]), (Some("reserved_channel"), Some(400)));
    assert_eq!(code(&answers[7]), (Some("event_id_reused"), Some(409)));
    assert!(answers[7]["error"]["detail"].is_string());
    for (n, answer) in [(1, 0), (2, 4), (3, 9)] {
        let block = stream.next();
        assert_eq!(
            (block.data.as_str(), block.id()),
            (
                &*n.to_string(),
                answers[answer]["id"].as_str().expect("a position")
            )
        );
    }
    let b = kept(node, "b");
    assert_eq!(data(&b), ["{\"n\": 1}", "2"]);
    assert_eq!(
        (&b[0]["type"], &b[0]["event_id"]),
        (&json!("t"), &json!("ev-1"))
    );
    assert_eq!(
        (published(node, "accepted"), published(node, "refused")),
        (5.0, 5.0)
    );
}

/// The largest batch arrives whole and in order, though Redis knows no script of ours.
#[rstest]
fn a_thousand_lines_keep_their_order(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
    #[values(1, 40)] channels: usize,
) {
    let ground = backend.start(&[]);
    if let Some(redis) = &ground.redis {
        let _: () = redis.run(&["SCRIPT", "FLUSH"]);
    }
    let channel = |n: usize| format!("c{}", n % channels);
    let lines: Vec<String> = (0..1_000).map(|n| event(&channel(n), n)).collect();
    let answers = publish(&ground.node, &lines);
    assert_eq!(answers.len(), 1_000);
    for c in 0..channels {
        let events = kept(&ground.node, &channel(c));
        let expected: Vec<usize> = (c..1_000).step_by(channels).collect();
        let texts: Vec<String> = expected.iter().map(usize::to_string).collect();
        assert_eq!(data(&events), texts);
        for (n, event) in expected.into_iter().zip(&events) {
            assert_eq!(event["id"], answers[n]["id"]);
        }
    }
}

/// A line of history or of an NDJSON stream can be sent again as it is; another `id` is most likely a mistake.
#[test]
fn what_was_read_can_be_sent_again() {
    let Ground { node, .. } = Backend::Embedded.start(&[]);
    publish(&node, &[event("a", "one"), event("a", json!({"two": 2}))]);
    let lines: Vec<String> = kept(&node, "a").iter().map(Value::to_string).collect();
    let answers = publish(&node, &lines);
    assert!(
        answers.iter().all(|answer| answer["id"].is_string()),
        "{answers:?}"
    );
    assert_eq!(
        data(&kept(&node, "a")),
        ["one", "{\"two\":2}", "one", "{\"two\":2}"]
    );
    let answers = publish(&node, &[r#"{"channel":"a","id":"ev-1","data":"x"}"#]);
    assert_eq!(code(&answers[0]), (Some("bad_body"), Some(400)));
    let detail = answers[0]["error"]["detail"].as_str().expect("a text");
    assert!(
        detail.contains("the event's id is called `event_id`"),
        "{detail}"
    );
}

/// A batch repeated with its event ids publishes nothing twice and answers the same positions.
#[rstest]
fn a_repeated_batch_is_published_once(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = backend.start(&[]);
    let lines: Vec<String> = (0..200)
        .map(|n| json!({"channel": "a", "event_id": format!("ev-{n}"), "data": n}).to_string())
        .collect();
    let first = publish(&ground.node, &lines[..120]);
    let whole = publish(&ground.node, &lines);
    assert_eq!(first, whole[..120]);
    assert_eq!(kept(&ground.node, "a").len(), 200);
}

/// Too much is refused as a whole, before anything is published.
#[rstest]
#[case::events(4, 1, "3 events")]
#[case::bytes(1, 3_000, "2048 bytes")]
fn a_batch_over_its_limits_publishes_nothing(
    #[case] lines: usize,
    #[case] bytes: usize,
    #[case] limit: &str,
) {
    let Ground { node, .. } = Backend::Embedded.start(&[
        ("LIMITS__BATCH_EVENTS", "3"),
        ("LIMITS__BATCH_BYTES", "2KiB"),
        ("LIMITS__EVENT_BYTES", "1KiB"),
    ]);
    let body = vec![event("a", "x".repeat(bytes)); lines].join("\n\n");
    let answer = send(&node, &[], body.as_bytes());
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (413, "body_too_large")
    );
    assert!(answer.body.contains(limit), "{answer:?}");
    assert_eq!(kept(&node, "a").len(), 0);
    // Blank lines are no events.
    let most = vec![event("a", "x"); 3].join("\n\n\n");
    assert_eq!(send(&node, &[], most.as_bytes()).status, 200);
}

/// NDJSON or nothing said is taken, anything else is not; an empty batch has an empty answer.
#[rstest]
#[case(&[("Content-Type", "application/x-ndjson; charset=utf-8")], 200)]
#[case(&[("Content-Type", "Application/X-NDJSON")], 200)]
#[case(&[], 200)]
#[case(&[("Content-Type", "application/json")], 415)]
#[case(&[("Content-Type", "application/x-www-form-urlencoded")], 415)]
fn a_batch_is_ndjson(#[case] headers: &[(&str, &str)], #[case] status: u16) {
    let Ground { node, .. } = Backend::Embedded.start(&[]);
    let answer = send(&node, headers, event("a", "x").as_bytes());
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(kept(&node, "a").len(), usize::from(status == 200));
    let empty = send(&node, headers, b"");
    assert_eq!(empty.status, status);
    if status == 415 {
        assert_eq!(answer.problem(), "unsupported_media_type");
    } else {
        assert_eq!(empty.body, "");
    }
    let wrong = node.get("/v1/publish", &[]);
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
}

/// No token or a bad one refuses the whole; a channel that the token does not allow is its line's fault alone.
#[test]
fn rights_are_checked_line_by_line() {
    let node = auth::node();
    let lines = [
        event("inbox", "1"),
        event("orders.ann.new", "x"),
        event("inbox", "2"),
    ]
    .join("\n");
    let answer = send(&node, &[], lines.as_bytes());
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "token_missing")
    );
    assert!(answer.header("www-authenticate").is_some());
    let ann = auth::bearer(60);
    let answer = send(&node, &[("Authorization", &ann)], lines.as_bytes());
    let answers: Vec<Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answer.status, 200);
    assert!(
        answers[0]["id"].is_string() && answers[2]["id"].is_string(),
        "{answers:?}"
    );
    assert_eq!(
        (code(&answers[1]), &answers[1]["channel"]),
        (
            (Some("insufficient_scope"), Some(403)),
            &json!("orders.ann.new")
        )
    );
    // The whole batch without a token counts once, the line once.
    assert_eq!(
        (published(&node, "forbidden"), published(&node, "accepted")),
        (2.0, 2.0)
    );
    assert_eq!(
        node.metric("sluice_auth_failures_total{code=\"insufficient_scope\"}"),
        1.0
    );
}

/// After a failure that will pass, the later lines of that channel wait for the next try; other channels go on.
#[test]
fn nothing_overtakes_a_line_that_may_be_tried_again() {
    let Ground { node, .. } = Backend::Embedded.start(&[("LIMITS__EMBEDDED_CHANNELS", "1")]);
    let answers = publish(
        &node,
        &[
            event("a", 1),
            event("b", 1),
            event("a", 2),
            event("b", 2),
            event("a", 3),
        ],
    );
    for n in [0, 2, 4] {
        assert!(answers[n]["id"].is_string(), "{answers:?}");
    }
    for n in [1, 3] {
        assert_eq!(code(&answers[n]), (Some("broker_unavailable"), Some(503)));
    }
    let detail = |n: usize| answers[n]["error"]["detail"].as_str().expect("a text");
    assert!(detail(1).contains("unavailable"), "{}", detail(1));
    assert!(detail(3).starts_with("not tried"), "{}", detail(3));
    assert_eq!(published(&node, "unavailable"), 2.0);
}

/// A Redis that takes no writes: nothing of the batch is published, and the same batch goes in once it does.
#[test]
fn a_full_redis_takes_nothing_and_then_all() {
    let Ground { node, redis } = Backend::Redis.start(&[]);
    let redis = redis.expect("there is one");
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let lines: Vec<String> = (0..150).map(|n| event("a", n)).collect();
    let answers = publish(&node, &lines);
    assert_eq!(answers.len(), 150);
    assert!(
        answers
            .iter()
            .all(|answer| code(answer) == (Some("broker_unavailable"), Some(503))),
        "{answers:?}"
    );
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let answers = publish(&node, &lines);
    assert!(answers.iter().all(|answer| answer["id"].is_string()));
    let expected: Vec<String> = (0..150).map(|n: u32| n.to_string()).collect();
    assert_eq!(data(&kept(&node, "a")), expected);
}

/// Keys that hold something else are no outage: a record is overwritten, a head refused line by line, and nothing is held up.
#[test]
fn keys_of_another_type_hold_up_no_line() {
    let Ground { node, redis } = Backend::Redis.start(&[]);
    let redis = redis.expect("there is one");
    node.publish("a", "first");
    let _: () = redis.run(&["LPUSH", "sluice:{a}:i:ev-1", "x"]);
    let _: () = redis.run(&["LPUSH", "sluice:{b}:m", "x"]);
    let answers = publish(
        &node,
        &[
            r#"{"channel":"a","event_id":"ev-1","data":"one"}"#.to_owned(),
            event("b", "refused"),
            event("a", "two"),
            event("b", "refused too"),
        ],
    );
    for n in [0, 2] {
        assert!(answers[n]["id"].is_string(), "{answers:?}");
    }
    for n in [1, 3] {
        assert_eq!(code(&answers[n]), (Some("internal"), Some(500)));
        let detail = answers[n]["error"]["detail"].as_str().expect("a text");
        assert!(detail.contains("delete it"), "{detail}");
    }
}

/// When Redis does not answer, the lines that were sent say that they may have been published, the rest was not tried.
#[test]
fn a_lost_reply_is_told_as_unknown() {
    let Ground { node, redis } = Backend::Redis.start(&[
        ("REDIS__CONNECT_TIMEOUT", "200ms"),
        ("REDIS__RESPONSE_TIMEOUT", "200ms"),
    ]);
    let redis = redis.expect("there is one");
    // Redis lives and answers, but no write goes through.
    let _: () = redis.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let lines: Vec<String> = (0..100).map(|n| event("a", n)).collect();
    let answers = publish(&node, &lines);
    let _: () = redis.run(&["CLIENT", "UNPAUSE"]);
    assert!(
        answers
            .iter()
            .all(|answer| code(answer) == (Some("broker_unavailable"), Some(503)))
    );
    let detail = |n: usize| answers[n]["error"]["detail"].as_str().expect("a text");
    assert!(
        detail(0).contains("may have been published"),
        "{}",
        detail(0)
    );
    assert!(detail(99).starts_with("not tried"), "{}", detail(99));
    node.publish("a", "and on it goes");
}

//! A publisher's `traceparent` on its way: over HTTP or with the function, through Redis, into each JSON shape of the event.

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::http::{Events, call};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;

pub const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// What is valid for the script, and not for W3C Trace Context.
const ZEROS: &str = "00-00000000000000000000000000000000-b7ad6b7169203331-01";

pub fn fcall(redis: &RedisServer, channel: &str, data: &str, traceparent: &str) -> String {
    let keys = ["s", "m"].map(|key| format!("sluice:{{{channel}}}:{key}"));
    let words = [
        "FCALL",
        "sluice_publish",
        "2",
        &keys[0],
        &keys[1],
        "t",
        data,
        "tp",
        traceparent,
    ];
    redis.run(&words)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// Every JSON shape in which the channel's events are told, by the event's data.
fn told(node: &Node, streams: &mut [(&str, Events)], count: usize) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    for (shape, stream) in streams {
        for block in stream.take(count) {
            assert!(block.event != "sluice.reset", "{block:?}");
            told.push(((*shape).to_owned(), block.json()));
        }
    }
    let place = "/v1/channels/a/events";
    let history = json(&node.get(place, &[]).body);
    let poll = json(&node.get("/v1/poll?channel=a&last=100&timeout=5s", &[]).body);
    for (shape, answer) in [("history", history), ("poll", poll)] {
        let events = answer["events"].as_array().expect("a list").clone();
        assert_eq!(events.len(), count, "{shape}: {answer}");
        told.extend(events.into_iter().map(|event| (shape.to_owned(), event)));
    }
    let lines = [("Accept", "application/x-ndjson")];
    let target = "/v1/events?channel=a&last=100";
    let mut stream = Events::open(node.public, target, &lines);
    let mut lines = Vec::new();
    while lines.len() < count {
        let line = stream
            .line(std::time::Instant::now() + crate::harness::PATIENCE)
            .expect("a line");
        if !line.is_empty() && json(&line)["type"] != "sluice.open" {
            lines.push(("ndjson".to_owned(), json(&line)));
        }
    }
    told.extend(lines);
    told
}

/// A function call's, and that of a request, whichever way the event is read.
#[test]
fn a_traceparent_reaches_every_shape() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let live = node.stream("channel=a&envelope=json", &[]);
    fcall(&redis, "a", "function", GIVEN);
    node.post("a", &[("traceparent", GIVEN)], b"http");
    node.post("a", &[], b"without");
    fcall(&redis, "a", "zeros", ZEROS);
    fcall(&redis, "a", "later", &GIVEN.replace("00-0af", "01-0af"));
    let later = node.stream("channel=a&envelope=json&last=100", &[]);
    let told = told(&node, &mut [("live", live), ("replayed", later)], 5);
    assert_eq!(told.len(), 5 * 5);
    for (shape, event) in told {
        let expected = match event["data"].as_str().expect("data") {
            "function" | "http" | "later" => json!(GIVEN),
            "without" | "zeros" => {
                assert!(event.get("traceparent").is_none(), "{shape}: {event}");
                Value::Null
            }
            other => panic!("{shape}: {other}"),
        };
        assert_eq!(event["traceparent"], expected, "{shape}: {event}");
    }
}

/// A bad one is no reason to refuse an event.
#[rstest]
#[case(&["x"])]
#[case(&[""])]
#[case(&[ZEROS])]
#[case(&["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"])]
#[case(&["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])]
#[case(&["00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"])]
#[case(&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"])]
#[case(&[GIVEN, OTHER])]
fn a_bad_traceparent_is_left_out(#[case] values: &[&str]) {
    let node = Node::embedded(&[]).ready();
    let headers: Vec<(&str, &str)> = values.iter().map(|value| ("traceparent", *value)).collect();
    let mut stream = node.stream("channel=a&envelope=json", &[]);
    let answer = node.post("a", &headers, b"x");
    assert_eq!(answer.status, 201, "{answer:?}");
    let event = stream.next().json();
    assert_eq!(event["data"], "x");
    assert!(event.get("traceparent").is_none(), "{event}");
}

/// A line's own goes before the request's, and a line of history can be sent again as it is.
#[test]
fn each_line_of_a_batch_may_have_its_own() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let body = format!(
        "{{\"channel\":\"a\",\"data\":1}}\n{{\"channel\":\"a\",\"data\":2,\"traceparent\":\"{OTHER}\"}}\n\
         {{\"channel\":\"a\",\"data\":3,\"traceparent\":\"x\"}}\n{{\"channel\":\"a\",\"data\":4,\"traceparent\":null}}\n"
    );
    let headers = [
        ("Content-Type", "application/x-ndjson"),
        ("traceparent", GIVEN),
    ];
    let batch = |body: &str| {
        let answer = call(
            node.public,
            "POST",
            "/v1/publish",
            &headers,
            body.as_bytes(),
        );
        assert!(!answer.body.contains("\"error\""), "{answer:?}");
    };
    batch(&body);
    let kept = |channel: &str| -> Vec<Value> {
        let answer = node.get(&format!("/v1/channels/{channel}/events"), &[]);
        json(&answer.body)["events"]
            .as_array()
            .expect("a list")
            .clone()
    };
    let of = |events: &[Value]| -> Vec<String> {
        let texts = events.iter().map(|event| event["traceparent"].as_str());
        texts.map(|text| text.expect("one").to_owned()).collect()
    };
    let events = kept("a");
    assert_eq!(of(&events), [GIVEN, OTHER, GIVEN, GIVEN]);
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    batch(&lines.join("\n").replace("\"a\"", "\"copy\""));
    assert_eq!(of(&kept("copy")), of(&events));
}

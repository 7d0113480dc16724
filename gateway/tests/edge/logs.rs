//! The log as its readers find it: one line for each stream that ends, lines of requests by their ids, lines of events by
//! their traces, and each of them as docs/logs.md shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Events, call};
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find};
use crate::traces::{GIVEN, fcall};

const ADMIN: &str = "admin-of-the-tests";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
const ALL: &str = "info,sluice_gateway=debug,sluice::trace=debug,actix_server=warn,actix_http=off";

/// A node that writes JSON.
fn process(settings: &[(&str, &str)]) -> Process {
    Process::start(&[&[("LOG__FORMAT", "json")], settings].concat())
}

/// The whole lines so far, each of which is an object without another in it.
fn lines(process: &Process) -> Vec<Value> {
    let log = process.log();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let members = object.as_object().expect("an object");
        assert!(
            members.values().all(|v| !v.is_object() && !v.is_array()),
            "not flat: {line}"
        );
        for always in ["timestamp", "level", "target", "message"] {
            assert!(object[always].is_string(), "{always} is missing: {line}");
        }
        object
    });
    lines.collect()
}

/// All lines of that message which have these texts.
fn said(process: &Process, message: &str, with: &[(&str, &str)]) -> Vec<Value> {
    let all = lines(process).into_iter();
    all.filter(|line| line["message"] == message)
        .filter(|line| with.iter().all(|(name, text)| line[name] == **text))
        .collect()
}

/// Waits for one.
fn line(process: &Process, message: &str, with: &[(&str, &str)]) -> Value {
    let what = format!("a line {message:?} with {with:?}");
    find(&what, PATIENCE, || said(process, message, with).pop())
}

fn open(public: SocketAddr, query: &str, id: &str, accept: &str) -> (Events, String) {
    let headers = [
        ("X-Request-Id", id),
        ("traceparent", GIVEN),
        ("Accept", accept),
    ];
    let target = format!("/v1/events?{query}");
    let mut stream = Events::open(public, &target, &headers);
    let connection = if accept == "application/x-ndjson" {
        String::new()
    } else {
        let open = stream.next();
        open.json()["connection"]
            .as_str()
            .expect("its id")
            .to_owned()
    };
    (stream, connection)
}

fn publish(public: SocketAddr, data: &[u8]) {
    let answer = call(public, "POST", "/v1/channels/a/events", &[], data);
    assert_eq!(answer.status, 201, "{answer:?}");
}

const SSE: &str = "text/event-stream";

/// Whatever ends it; with what it has carried, and by names that other lines have too.
#[test]
fn each_stream_ends_in_one_line() {
    let mut process = process(&[
        ("STREAM__SLOW_CONSUMER_AGE", "1s"),
        ("STREAM__SEND_BUFFER", "4KiB"),
        ("DRAIN__READINESS_LEAD", "0s"),
        ("DRAIN__DEADLINE", "100ms"),
    ]);
    let public = process.public;
    let (mut gone, connection) = open(public, "channel=a&channel=b", "gone", SSE);
    publish(public, b"one");
    assert_eq!(gone.next().data, "one");
    drop(gone);
    let end = line(&process, "stream ended", &[("request_id", "gone")]);
    assert_eq!(end["level"], "INFO");
    assert_eq!(end["target"], "sluice_gateway::http::told");
    for (name, expected) in [
        ("reason", "client_gone"),
        ("shape", "event_stream"),
        ("connection_id", connection.as_str()),
        ("trace_id", TRACE_ID),
        ("span_id", SPAN_ID),
    ] {
        assert_eq!(end[name], expected, "{end}");
    }
    assert_eq!((&end["events"], &end["channels"]), (&1.into(), &2.into()));
    assert!(end["bytes"].as_u64().expect("a number") > 100, "{end}");
    let seconds = end["duration_seconds"].as_f64().expect("a number");
    assert!(seconds > 0.0 && seconds < 60.0, "{end}");

    let (stalled, _) = open(public, "channel=a&envelope=json", "stalled", SSE);
    let slow = "sluice_connections_closed_total{reason=\"slow_consumer\"}";
    let data = vec![b'x'; 60_000];
    find("it is closed", PATIENCE * 2, || {
        publish(public, &data);
        (process.metric(slow) == 1.0).then_some(())
    });
    drop(stalled);
    let (drained, _) = open(public, "channel=b", "drained", "application/x-ndjson");
    let poll = [("X-Request-Id", "polled")];
    let answer = call(public, "GET", "/v1/poll?channel=a&last=1", &poll, b"");
    assert_eq!(answer.status, 200);
    process.terminate();
    assert!(process.exit(PATIENCE).success());
    drop(drained);
    for (id, reason, shape) in [
        ("stalled", "slow_consumer", "envelope"),
        ("drained", "drain", "ndjson"),
    ] {
        let end = line(&process, "stream ended", &[("request_id", id)]);
        assert_eq!(
            (&end["reason"], &end["shape"]),
            (&reason.into(), &shape.into())
        );
    }
    assert_eq!(said(&process, "stream ended", &[]).len(), 3);
    assert_eq!(line(&process, "draining", &[])["streams"], 1);
    assert_eq!(line(&process, "drained", &[])["cut"], 0);
    // Nothing else about requests and events unless somebody asks for it.
    for quiet in [
        "poll answered",
        "published",
        "request refused",
        "event handed out",
    ] {
        assert_eq!(said(&process, quiet, &[]).len(), 0, "{quiet}");
    }
}

/// An event is one line on each node, whatever number of streams and workers it has there; none when it belongs to no trace.
#[test]
fn an_events_trace_is_one_line_a_node() {
    let redis = RedisServer::start();
    let url = redis.url();
    let node = |name| {
        process(&[
            ("BROKER__MODE", "redis"),
            ("REDIS__URL", &url),
            ("HTTP__WORKERS", "2"),
            ("NODE__NAME", name),
            ("LOG__FILTER", "sluice::trace=debug"),
        ])
    };
    let (crowded, other) = (node("n1"), node("n2"));
    let open = |process: &Process, count: usize| -> Vec<Events> {
        let one = |n: usize| open(process.public, "channel=a", &format!("r{n}"), SSE).0;
        (0..count).map(one).collect()
    };
    let (mut five, mut one) = (open(&crowded, 5), open(&other, 1));
    fcall(
        &redis,
        "a",
        "without",
        "00-00000000000000000000000000000000-0000000000000000-00",
    );
    let position = fcall(&redis, "a", "traced", GIVEN);
    for stream in five.iter_mut().chain(&mut one) {
        assert_eq!(stream.data(2), ["without", "traced"]);
    }
    for (process, streams) in [(&crowded, 5), (&other, 1)] {
        let told = line(process, "event handed out", &[]);
        assert_eq!(told["target"], "sluice::trace");
        assert_eq!(told["level"], "DEBUG");
        assert_eq!(
            (&told["trace_id"], &told["span_id"]),
            (&TRACE_ID.into(), &SPAN_ID.into())
        );
        assert_eq!(
            (&told["position"], &told["streams"]),
            (&position.clone().into(), &streams.into())
        );
        let latency = told["latency_seconds"].as_f64().expect("a number");
        assert!((0.0..30.0).contains(&latency), "{told}");
    }
    // What comes after it is on the wire, so nothing of it is under way any more.
    fcall(&redis, "a", "last", GIVEN);
    for stream in five.iter_mut().chain(&mut one) {
        assert_eq!(stream.data(1), ["last"]);
    }
    for process in [&crowded, &other] {
        find("both lines", PATIENCE, || {
            (lines(process).len() == 2).then_some(())
        });
    }
}

/// A request is found by the id that its caller chose, whatever becomes of it.
#[test]
fn lines_of_a_request_have_its_id() {
    let process = process(&[("LOG__FILTER", ALL), ("ADMIN__TOKEN", ADMIN)]);
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln";
    let ask = |address, method, target, id: &str, body: &str| {
        let bearer = format!("Bearer {ADMIN}");
        let headers = [
            ("X-Request-Id", id),
            ("traceparent", GIVEN),
            ("Authorization", &bearer),
        ];
        call(address, method, target, &headers, body.as_bytes())
    };
    let events = "/v1/channels/a/events";
    ask(process.public, "POST", events, "accepted", "x");
    let line_of = |message, id| line(&process, message, &[("request_id", id)]);
    let published = line_of("published", "accepted");
    assert_eq!(published["outcome"], "accepted");
    assert_eq!(published["trace_id"], TRACE_ID);
    assert!(published["position"].is_string(), "{published}");
    let reserved = "/v1/channels/_own/events";
    ask(process.public, "POST", reserved, "refused", "x");
    for message in ["published", "request refused"] {
        let refused = line_of(message, "refused");
        assert_eq!(refused["code"], "reserved_channel", "{refused}");
        assert_eq!(refused.get("position"), None, "{refused}");
    }
    let route = &line_of("request refused", "refused")["route"];
    assert_eq!(route, "/v1/channels/{channel}/events");
    let lines = "{\"channel\":\"a\",\"data\":1}\nx";
    ask(process.public, "POST", "/v1/publish", "batch", lines);
    let batch = line_of("batch published", "batch");
    assert_eq!(
        (&batch["lines"], &batch["accepted"]),
        (&2.into(), &1.into())
    );
    let body = r#"{"sub":"zoe-9"}"#;
    ask(process.admin, "POST", "/admin/disconnect", "order", body);
    assert_eq!(line_of("admin command", "order")["level"], "INFO");
    let answer = ask(process.public, "GET", "/nothing", token, "");
    let id = answer.header("x-request-id").expect("one");
    assert_eq!(line_of("request refused", id)["status"], 404);
    let log = process.log();
    for piece in token.split('.') {
        assert!(!log.contains(piece), "{piece}");
    }
    for unheard in ["_own", "zoe-9"] {
        let told = lines_with(&process, unheard);
        assert!(
            told.iter().all(|line| line["message"] == "admin command"),
            "{told:?}"
        );
    }
}

fn lines_with(process: &Process, text: &str) -> Vec<Value> {
    let quoted = |line: &Value| {
        let members = line.as_object().expect("an object").values();
        members.filter_map(Value::as_str).any(|v| v.contains(text))
    };
    lines(process).into_iter().filter(quoted).collect()
}

#[rstest]
#[case::human("human")]
#[case::json("json")]
fn times_are_utc_and_levels_are_names(#[case] format: &str) {
    let process = Process::start(&[("LOG__FORMAT", format)]);
    drop(open(process.public, "channel=a", "here", SSE));
    let log = find("its end", PATIENCE, || {
        Some(process.log()).filter(|log| log.contains("stream ended"))
    });
    let line = log.lines().find(|line| line.contains("stream ended"));
    let line = line.expect("found");
    assert!(!line.contains('\u{1b}'), "no colours in a file: {line}");
    let time = match format {
        "json" => serde_json::from_str::<Value>(line).expect("JSON")["timestamp"]
            .as_str()
            .expect("a text")
            .to_owned(),
        _ => {
            for part in [" INFO ", "reason=client_gone", "request_id=\"here\""] {
                assert!(line.contains(part), "{part}: {line}");
            }
            line.split(' ').next().expect("a time").to_owned()
        }
    };
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    humantime::parse_rfc3339(&time).expect("RFC 3339");
}

/// The example lines of docs/logs.md, by message.
fn page() -> (BTreeMap<String, Value>, BTreeSet<String>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logs.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let examples = text.lines().filter(|line| line.starts_with("{\""));
    let examples = examples.map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        (
            line["message"].as_str().expect("a message").to_owned(),
            line,
        )
    });
    let fields = text.lines().filter_map(|line| {
        let name = line.strip_prefix("| `")?.split('`').next()?;
        Some(name.to_owned())
    });
    (examples.collect(), fields.collect())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(n) if n.is_f64() => "fraction",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Bool(_) => "truth",
        Value::Null | Value::Array(_) | Value::Object(_) => "other",
    }
}

/// The lines that keep their names.
const SHOWN: [&str; 10] = [
    "listening",
    "stream ended",
    "poll answered",
    "published",
    "batch published",
    "request refused",
    "event handed out",
    "admin command",
    "draining",
    "drained",
];

/// Has each of them written.
fn provoke_all(process: &mut Process) {
    let bearer = format!("Bearer {ADMIN}");
    let headers = [
        ("X-Request-Id", "r1"),
        ("traceparent", GIVEN),
        ("Authorization", &bearer),
    ];
    let (public, admin) = (process.public, process.admin);
    let (stream, _) = open(public, "channel=a", "r1", SSE);
    for (method, target, body) in [
        ("POST", "/v1/channels/a/events", "x"),
        ("POST", "/v1/publish", "{\"channel\":\"a\",\"data\":1}"),
        ("GET", "/v1/events?channel=_own", ""),
        ("GET", "/v1/poll?channel=a&last=1", ""),
    ] {
        call(public, method, target, &headers, body.as_bytes());
    }
    let order = br#"{"sub":"ann"}"#;
    call(admin, "POST", "/admin/disconnect", &headers, order);
    line(process, "event handed out", &[]);
    drop(stream);
    line(process, "stream ended", &[]);
    process.terminate();
    assert!(process.exit(PATIENCE).success());
}

/// Same message, same names, same kinds of value, same level and target; and each name is explained.
#[test]
fn the_page_shows_the_lines_as_they_are() {
    let redis = RedisServer::start();
    let mut process = process(&[
        ("BROKER__MODE", "redis"),
        ("REDIS__URL", &redis.url()),
        ("NODE__NAME", "gw-1"),
        ("ADMIN__TOKEN", ADMIN),
        ("LOG__FILTER", ALL),
        ("DRAIN__READINESS_LEAD", "1s"),
        ("DRAIN__DEADLINE", "2s"),
    ]);
    provoke_all(&mut process);
    let (examples, explained) = page();
    let shape = |line: &Value| -> BTreeMap<String, &'static str> {
        let members = line.as_object().expect("an object").iter();
        members.map(|(name, v)| (name.clone(), kind(v))).collect()
    };
    for (message, example) in &examples {
        let written = said(&process, message, &[]);
        let same = |line: &&Value| {
            shape(line) == shape(example)
                && line["level"] == example["level"]
                && line["target"] == example["target"]
        };
        assert!(
            written.iter().any(|line| same(&line)),
            "docs/logs.md shows {example}, the node wrote {written:?}"
        );
        let unexplained: Vec<&String> = example
            .as_object()
            .expect("an object")
            .keys()
            .filter(|name| !explained.contains(*name))
            .collect();
        assert!(unexplained.is_empty(), "{message}: {unexplained:?}");
    }
    for message in SHOWN {
        assert!(examples.contains_key(message), "{message} has no example");
    }
    let shown: BTreeSet<String> = examples
        .values()
        .flat_map(|e| shape(e).into_keys())
        .collect();
    let idle: Vec<&String> = explained
        .iter()
        .filter(|name| !shown.contains(*name))
        .collect();
    assert!(idle.is_empty(), "explained, but in no example: {idle:?}");
}

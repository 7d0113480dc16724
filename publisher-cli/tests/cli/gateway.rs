//! `sluice` over a gateway: what it sends, and what it makes of the answers.

use crate::support::{Responder, Running, event_stream, reply, run, run_with_input};

const POSITION: &str = "1763676000123-0.9f2c41aa";

fn created(extra: &str) -> String {
    let body = format!("{{\"channel\":\"orders\",\"id\":\"{POSITION}\"{extra}}}");
    reply("201 Created", "application/json", &body)
}

fn problem(status: &str, code: &str, detail: &str) -> String {
    let body = format!("{{\"title\":\"No\",\"code\":\"{code}\",\"detail\":\"{detail}\"}}");
    reply(status, "application/problem+json", &body)
}

#[test]
fn a_publish_is_one_post_and_prints_its_position() {
    let gateway = Responder::new(vec![created(""), created(",\"repeated\":true")]);
    let mut command = gateway.sluice(&[
        "publish",
        "orders",
        "xin chào",
        "--event",
        "đơn.mới",
        "--id",
        "ev-1",
    ]);
    command.env("SLUICE_TOKEN", "t0ken");
    let ran = run(command);
    assert_eq!(
        (ran.code, ran.stdout, ran.stderr.as_str()),
        (0, format!("{POSITION}\n"), "")
    );
    let request = gateway.request();
    assert_eq!(request.line, "POST /v1/channels/orders/events");
    assert_eq!(request.body, "xin chào");
    assert_eq!(request.header("sluice-event"), Some("đơn.mới"));
    assert_eq!(request.header("idempotency-key"), Some("ev-1"));
    assert_eq!(request.header("authorization"), Some("Bearer t0ken"));

    let ran = run(gateway.sluice(&["publish", "orders", "x", "--json"]));
    assert_eq!(
        ran.stdout,
        format!("{{\"channel\":\"orders\",\"id\":\"{POSITION}\",\"repeated\":true}}\n")
    );
    let request = gateway.request();
    assert_eq!(
        (
            request.header("sluice-event"),
            request.header("idempotency-key")
        ),
        (None, None)
    );
}

#[test]
fn a_refusal_is_shown_with_its_code_and_detail() {
    let refusals = [
        ("401 Unauthorized", "invalid_token", "the token has expired"),
        ("403 Forbidden", "forbidden", "not this channel"),
        ("404 Not Found", "not_found", "no such route"),
        ("413 Content Too Large", "event_too_large", "at most 64 KiB"),
        (
            "422 Unprocessable Content",
            "event_id_reused",
            "another payload",
        ),
    ];
    let gateway = Responder::new(
        refusals
            .iter()
            .map(|(status, code, detail)| problem(status, code, detail))
            .collect(),
    );
    let mut told = String::new();
    for _ in refusals {
        let ran = run(gateway.sluice(&["publish", "orders", "x"]));
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        told += &ran.stderr;
    }
    insta::assert_snapshot!(told, @"
    error: 401 invalid_token: the token has expired
    hint: pass a valid token with --token or SLUICE_TOKEN
    error: 403 forbidden: not this channel
    hint: the token's claim `sluice` must allow this channel
    error: 404 not_found: no such route
    hint: is --gateway the gateway's public address, without a path of its own?
    error: 413 event_too_large: at most 64 KiB
    error: 422 event_id_reused: another payload
    ");
}

/// Words of a server cannot drive the terminal.
#[test]
fn control_characters_in_a_refusal_are_escaped() {
    let gateway = Responder::new(vec![problem("400 Bad Request", "bad", "\\u001b[2J")]);
    let ran = run(gateway.sluice(&["publish", "orders", "x"]));
    assert_eq!(ran.stderr, "error: 400 bad: \\u{1b}[2J\n");
}

#[test]
fn a_batch_goes_on_after_one_refusal_and_ends_at_a_bad_token() {
    let gateway = Responder::new(vec![
        problem("403 Forbidden", "forbidden", "no"),
        created(""),
        problem("401 Unauthorized", "invalid_token", "no"),
    ]);
    let lines = b"{\"data\":1}\n{\"data\":2}\n{\"data\":3}\n{\"data\":4}\n";
    let ran = run_with_input(
        gateway.sluice(&["publish", "orders", "--ndjson"]),
        Some(lines),
    );
    assert_eq!((ran.code, ran.stdout), (1, format!("{POSITION}\n")));
    assert!(
        ran.stderr.starts_with("error: line 1: 403 forbidden: no\n"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("note: stopped at line 3: 1 events were published, 1 failed before\n"),
        "{}",
        ran.stderr
    );
    let bodies: Vec<_> = (0..3).map(|_| gateway.request().body).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
}

/// Only what cannot be published twice is sent again.
#[test]
fn a_passing_failure_is_tried_again_with_an_event_id_only() {
    let away = || {
        problem(
            "503 Service Unavailable",
            "broker_unavailable",
            "Redis is away",
        )
    };
    let gateway = Responder::new(vec![away(), created(""), away()]);
    let ran = run(gateway.sluice(&["publish", "orders", "x", "--id", "1"]));
    assert_eq!((ran.code, ran.stdout), (0, format!("{POSITION}\n")));
    let ran = run(gateway.sluice(&["publish", "orders", "x"]));
    assert_eq!(ran.code, 4);
    assert!(
        ran.stderr.contains("503 broker_unavailable: Redis is away"),
        "{}",
        ran.stderr
    );
}

/// A gateway that answers is not unreachable: the line is told, and no line of its channel that has been read overtakes it.
#[test]
fn a_line_that_the_gateway_cannot_take_now_is_told_and_not_overtaken() {
    let away = problem(
        "503 Service Unavailable",
        "broker_unavailable",
        "Redis is away",
    );
    // While the first is under way, the others are read.
    let gateway = Responder::new(vec![created(""), away]);
    let lines = b"{\"data\":1}\n{\"data\":2}\n{\"data\":3}\n";
    let ran = run_with_input(
        gateway.sluice(&["publish", "orders", "--ndjson", "--json"]),
        Some(lines),
    );
    let told: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((ran.code, told.len()), (3, 3), "{ran:?}");
    for (at, detail) in [(0, "Redis is away"), (1, "not tried after")] {
        assert_eq!(told[at]["line"], at + 2);
        let error = &told[at]["error"];
        assert_eq!(
            (&error["code"], &error["status"]),
            (&"broker_unavailable".into(), &503.into())
        );
        assert!(
            error["detail"].as_str().unwrap().starts_with(detail),
            "{error}"
        );
    }
    assert_eq!(told[2]["error"]["code"], "some_failed");
    let bodies: Vec<_> = (0..2).map(|_| gateway.request().body).collect();
    assert_eq!(bodies, ["1", "2"]);
}

/// A lost connection is made good from the last id; a block cut short does not count.
#[test]
fn a_tail_comes_back_with_the_last_id() {
    let gateway = Responder::new(vec![
        event_stream(
            ":\n\nevent: sluice.open\nid: p0\nretry: 1\ndata: {}\n\nid: p1\nevent: t\ndata: one\ndata: more\n\nid: p2\ndata: cut",
        ),
        problem("503 Service Unavailable", "starting", "soon"),
        event_stream(
            "event: sluice.open\nid: p1\nretry: 1\ndata: {}\n\nid: p2\ndata: two\n\n\
             event: sluice.reset\nid: p9\ndata: {\"channel\":\"orders\",\"reason\":\"trimmed\",\"from\":\"p2\",\"to\":\"p9\"}\n\n\
             event: sluice.close\nid: p9\ndata: {\"reason\":\"drain\"}\n\n",
        ),
        event_stream("id: p10\ndata: three\n\nid: p11\ndata: too much\n\n"),
    ]);
    let mut tail = Running::start(
        gateway.sluice(&["tail", "orders", "user.1", "--since", "5m", "--count", "3"]),
    );
    assert_eq!(tail.stdout.take(4), ["one", "more", "two", "three"]);
    assert_eq!(tail.end(), 0);
    let requests: Vec<_> = (0..4).map(|_| gateway.request()).collect();
    assert_eq!(
        requests[0].line,
        "GET /v1/events?channel=orders&channel=user.1&since=PT300S"
    );
    assert_eq!(requests[0].header("accept"), Some("text/event-stream"));
    assert_eq!(requests[0].header("last-event-id"), None);
    for (request, id) in requests[1..].iter().zip(["p1", "p1", "p9"]) {
        assert_eq!(request.line, "GET /v1/events?channel=orders&channel=user.1");
        assert_eq!(request.header("last-event-id"), Some(id));
    }
    let told = tail.stderr.take(5);
    assert!(
        told[0].starts_with("note: the gateway ended the stream; coming back in "),
        "{told:?}"
    );
    assert!(told[1].contains("503 starting: soon"), "{told:?}");
    assert_eq!(
        told[2],
        "reset: orders: trimmed (from p2 to p9): events may be missing"
    );
    assert_eq!(told[3], "close: drain");
}

#[test]
fn a_tail_in_json_asks_for_envelopes_and_prints_them() {
    let envelope = r#"{"channel":"orders","id":"p1","type":null,"event_id":null,"data":"a\nb"}"#;
    let gateway = Responder::new(vec![event_stream(&format!("id: p1\ndata: {envelope}\n\n"))]);
    let ran = run(gateway.sluice(&[
        "tail", "orders", "--json", "--from", POSITION, "--count", "1",
    ]));
    let line = envelope.replacen('{', "{\"cursor\":\"p1\",", 1);
    assert_eq!((ran.code, ran.stdout), (0, format!("{line}\n")));
    let request = gateway.request();
    assert_eq!(request.line, "GET /v1/events?channel=orders&envelope=json");
    assert_eq!(request.header("last-event-id"), Some(POSITION));
}

#[test]
fn a_tail_that_is_refused_ends() {
    let gateway = Responder::new(vec![
        problem("403 Forbidden", "forbidden", "not this channel"),
        reply("200 OK", "text/html", "<p>hello"),
    ]);
    let ran = run(gateway.sluice(&["tail", "orders"]));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .starts_with("error: 403 forbidden: not this channel\n"),
        "{}",
        ran.stderr
    );
    let ran = run(gateway.sluice(&["tail", "orders"]));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("answered with text/html, not an event stream"),
        "{}",
        ran.stderr
    );
}

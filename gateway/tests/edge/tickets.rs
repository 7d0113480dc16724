//! Tickets, end to end on one node: one use each, for reading, within seconds; and who names no channel.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::http::{Answer, Block, Events, call, connect, request};
use crate::harness::node::{Node, id};
use crate::harness::tokens::{SECRET, bearer, claims, settings, sign, token};
use crate::harness::{PATIENCE, find};

fn node(more: &[(&str, &str)]) -> Node {
    Node::embedded(&settings(more)).ready()
}

fn ask(node: &Node, token: &str, body: &str) -> Answer {
    let bearer = bearer(token);
    let headers = [("Authorization", bearer.as_str())];
    call(
        node.public,
        "POST",
        "/v1/tickets",
        &headers,
        body.as_bytes(),
    )
}

/// The ticket in an answer.
fn ticket_in(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    json["ticket"].as_str().expect("a ticket").to_owned()
}

fn ticket(node: &Node) -> String {
    ticket_in(&ask(node, &token("ann", &["a", "orders.*"]), ""))
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem())
}

fn is_spent(node: &Node, ticket: &str) {
    let answer = node.get(
        &format!("/v1/poll?channel=a&timeout=0s&ticket={ticket}"),
        &[],
    );
    assert_eq!(told(&answer), (401, "bad_ticket".to_owned()));
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(
        answer.body.contains("POST /v1/tickets"),
        "it says what to do: {answer:?}"
    );
}

fn is_good(node: &Node, ticket: &str) {
    let answer = node.get(
        &format!("/v1/poll?channel=a&timeout=0s&ticket={ticket}"),
        &[],
    );
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Whatever it opens, a ticket opens once.
#[test]
fn a_ticket_opens_one_thing_once() {
    let node = node(&[]);
    let answer = ask(&node, &token("ann", &["a"]), "");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    let until = humantime::parse_rfc3339(json["expires_at"].as_str().expect("text"));
    let left = until
        .expect("a time")
        .duration_since(std::time::SystemTime::now());
    let left = left.expect("in the future");
    assert!(
        left > Duration::from_secs(25) && left <= Duration::from_secs(30),
        "{left:?}"
    );
    let first = ticket_in(&answer);
    assert_eq!(first.len(), 43);

    let mut stream = node.stream(&format!("channel=a&ticket={first}"), &[]);
    assert_eq!(
        stream.header("cache-control"),
        Some("private, no-store, no-transform")
    );
    is_spent(&node, &first);
    for target in ["/v1/poll?channel=a&timeout=0s", "/v1/channels/a/events?x"] {
        let ticket = ticket(&node);
        assert_eq!(
            node.get(&format!("{target}&ticket={ticket}"), &[]).status,
            200
        );
        is_spent(&node, &ticket);
    }
    let last = ticket(&node);
    let target = format!("/v1/events?ticket={last}");
    assert_eq!(
        posted(&node, &target, &[], r#"{"channels":["a"]}"#).event,
        "sluice.open"
    );
    is_spent(&node, &last);
    let publisher = bearer(&sign(&claims("bob", &[], &["a"], 60), SECRET));
    let id = id(&node.post("a", &[("Authorization", &publisher)], b"x"));
    assert_eq!(stream.next().id(), id, "the stream goes on");
}

/// The first block of a stream that is asked for with a body.
fn posted(node: &Node, target: &str, headers: &[(&str, &str)], body: &str) -> Block {
    let mut socket = connect(node.public).expect("a connection");
    let request = request("POST", target, headers, body.as_bytes());
    socket.write_all(&request).expect("sent");
    Events::over(socket).next()
}

/// What looks before it asks, and what could not be answered in any case, leaves the ticket as it is.
#[test]
fn a_ticket_is_not_spent_on_nothing() {
    let node = node(&[]);
    let ticket = ticket(&node);
    for target in [
        "/v1/events?channel=a",
        "/v1/poll?channel=a",
        "/v1/channels/a/events?x",
    ] {
        let head = call(
            node.public,
            "HEAD",
            &format!("{target}&ticket={ticket}"),
            &[],
            b"",
        );
        assert_eq!(head.status, 200, "{target}");
    }
    for (target, code) in [
        ("/v1/events?channel=a..b", "bad_channel"),
        ("/v1/events?channel=_ctl", "reserved_channel"),
        ("/v1/events?channel=a&since=soon", "bad_parameter"),
        ("/v1/poll?channel=a&timeout=soon", "bad_parameter"),
        ("/v1/channels/a..b/events?x", "bad_channel"),
    ] {
        let answer = node.get(&format!("{target}&ticket={ticket}"), &[]);
        assert_eq!(told(&answer), (400, code.to_owned()), "{target}");
    }
    let odd = [("Accept", "image/png")];
    let answer = node.get(&format!("/v1/events?channel=a&ticket={ticket}"), &odd);
    assert_eq!(answer.problem(), "not_acceptable");
    is_good(&node, &ticket);
    is_spent(&node, &ticket);
    let head = call(
        node.public,
        "HEAD",
        &format!("/v1/events?channel=a&ticket={ticket}"),
        &[],
        b"",
    );
    assert_eq!(head.status, 401, "HEAD says what GET would");
}

/// A leaving node sends the caller elsewhere before it spends the ticket: an EventSource comes back with the same URL.
#[test]
fn a_leaving_node_does_not_spend_tickets() {
    let mut node = node(&[("DRAIN__DEADLINE", "5s"), ("DRAIN__READINESS_LEAD", "4s")]);
    let ticket = ticket(&node);
    node.leave();
    find("the node is draining", PATIENCE, || {
        (node.readiness() != Some(200)).then_some(())
    });
    let target = format!("/v1/events?channel=a&ticket={ticket}");
    let accept = [("Accept", "text/event-stream")];
    let answer = node.get(&target, &accept);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("{\"reason\":\"drain\"}"), "{answer:?}");
    let poll = node.get(&format!("/v1/poll?channel=a&ticket={ticket}"), &[]);
    assert_eq!(told(&poll), (503, "draining".to_owned()));
    let head = call(node.public, "HEAD", &target, &[], b"");
    assert_eq!(head.status, 200, "the ticket is still good");
}

/// Unknown, malformed, empty: one answer for all, and never an anonymous caller.
#[rstest]
#[case("")]
#[case("x")]
#[case("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
#[case("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
#[case("%00%ff")]
#[case("..%2f..%2f")]
fn a_ticket_that_is_none_is_refused(#[case] ticket: &str) {
    let node = node(&[]);
    // The cookie of someone who may: a ticket comes before it.
    let bearer = bearer(&token("ann", &["a"]));
    let login = call(
        node.public,
        "POST",
        "/v1/session",
        &[("Authorization", &bearer)],
        b"",
    );
    let cookie = login
        .header("set-cookie")
        .expect("set")
        .split(';')
        .next()
        .expect("a pair");
    for headers in [&[][..], &[("Cookie", cookie)]] {
        let answer = node.get(&format!("/v1/events?channel=a&ticket={ticket}"), headers);
        assert_eq!(told(&answer), (401, "bad_ticket".to_owned()));
    }
    assert_eq!(
        node.metric("sluice_auth_failures_total{code=\"bad_ticket\"}"),
        2.0
    );
}

/// A ticket lives as long as its setting says, and never longer than its token.
#[rstest]
#[case::setting("1s", 60, "bad_ticket")]
#[case::token("1m", 2, "token_expired")]
fn a_ticket_expires(#[case] ttl: &str, #[case] token_left: u64, #[case] code: &str) {
    let node = node(&[("TICKETS__TTL", ttl)]);
    let token = sign(&claims("ann", &["a"], &[], token_left), SECRET);
    let since = Instant::now();
    let ticket = ticket_in(&ask(&node, &token, ""));
    let target = format!("/v1/events?channel=a&ticket={ticket}");
    find("the ticket is no longer good", PATIENCE, || {
        let head = call(node.public, "HEAD", &target, &[], b"");
        (head.status == 401).then_some(())
    });
    assert!(since.elapsed() > Duration::from_millis(900));
    let answer = node.get(&target, &[]);
    // The token's end is also the ticket's: whichever of the two is found first.
    let codes = [code, "bad_ticket"];
    assert!(codes.contains(&answer.problem().as_str()), "{answer:?}");
}

/// The stream that a ticket opened ends with the token that the ticket was made of.
#[test]
fn a_stream_by_ticket_ends_with_its_token() {
    let node = node(&[]);
    let token = sign(&claims("ann", &["a"], &[], 2), SECRET);
    let ticket = ticket_in(&ask(&node, &token, ""));
    let mut stream = node.stream(&format!("channel=a&ticket={ticket}"), &[]);
    let last = stream.rest().pop().expect("a close");
    assert_eq!(last.json()["reason"], "token_expired");
}

/// Narrowed to what the page needs: nothing else of the token's rights can be lost with it.
#[test]
fn a_ticket_can_be_narrowed() {
    let node = node(&[("LIMITS__CHANNELS_PER_CONNECTION", "2")]);
    let token = token("ann", &["a", "b", "orders.*", "user.{sub}"]);
    let narrowed = ask(&node, &token, r#"{"channels":["orders.eu","user.ann"]}"#);
    let stream = node.stream(&format!("ticket={}", ticket_in(&narrowed)), &[]);
    let open = stream.opened.expect("opened").json();
    assert_eq!(
        open["channels"],
        json!({"orders.eu": "live", "user.ann": "live"})
    );
    let narrowed = ask(&node, &token, r#"{"channels":["orders.eu"]}"#);
    let other = node.get(
        &format!("/v1/events?channel=a&ticket={}", ticket_in(&narrowed)),
        &[],
    );
    assert_eq!(told(&other), (403, "insufficient_scope".to_owned()));

    for (body, status, code) in [
        (r#"{"channels":["user.bob"]}"#, 403, "insufficient_scope"),
        (
            r#"{"channels":["a","user.bob"]}"#,
            403,
            "insufficient_scope",
        ),
        (r#"{"channels":["orders.*"]}"#, 400, "bad_channel"),
        (r#"{"channels":["_ctl"]}"#, 400, "reserved_channel"),
        (
            r#"{"channels":["a","b","orders.eu"]}"#,
            400,
            "too_many_channels",
        ),
        (r#"{"channels":[]}"#, 400, "no_channel"),
        (r#"{"channel":["a"]}"#, 400, "bad_body"),
        ("channels=a", 400, "bad_body"),
    ] {
        assert_eq!(
            told(&ask(&node, &token, body)),
            (status, code.to_owned()),
            "{body}"
        );
    }
    let bearer = bearer(&token);
    let form = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "text/plain"),
    ];
    let answer = call(node.public, "POST", "/v1/tickets", &form, b"{}");
    assert_eq!(told(&answer), (415, "unsupported_media_type".to_owned()));
}

/// A ticket reads. What publishes, or makes tickets and cookies, is not for it, and does not spend it.
#[test]
fn a_ticket_is_for_reading() {
    let node = node(&[]);
    let ticket = ticket(&node);
    for target in ["/v1/channels/inbox/events", "/v1/publish", "/v1/tickets"] {
        let answer = call(
            node.public,
            "POST",
            &format!("{target}?ticket={ticket}"),
            &[],
            b"x",
        );
        assert_eq!(
            told(&answer),
            (400, "bad_authorization".to_owned()),
            "{target}"
        );
    }
    let bearer = bearer(&token("ann", &["a"]));
    let both = [("Authorization", bearer.as_str())];
    let answer = node.get(&format!("/v1/events?channel=a&ticket={ticket}"), &both);
    assert_eq!(told(&answer), (400, "bad_authorization".to_owned()));
    assert!(answer.body.contains("more than one"), "{answer:?}");
    is_good(&node, &ticket);
}

/// Nobody without a good token gets one.
#[test]
fn a_ticket_needs_a_token() {
    let node = node(&[]);
    let answer = call(node.public, "POST", "/v1/tickets", &[], b"");
    assert_eq!(told(&answer), (401, "token_missing".to_owned()));
    let answer = ask(&node, "a.b.c", "");
    assert_eq!(told(&answer), (401, "invalid_token".to_owned()));
}

/// Off, a token in the URL is refused with words, rather than left unread; on, no cache may keep the answer.
#[test]
fn a_token_in_the_url_is_read_only_where_switched_on() {
    let token = token("ann", &["a"]);
    let events = format!("/v1/events?channel=a&token={token}");
    let off = node(&[]);
    let answer = off.get(&events, &[]);
    assert_eq!(told(&answer), (400, "bad_authorization".to_owned()));
    assert!(answer.body.contains("auth.query_token"), "{answer:?}");

    let on = node(&[("AUTH__QUERY_TOKEN", "true")]);
    let stream = on.stream(&format!("channel=a&token={token}"), &[]);
    assert_eq!(
        stream.header("cache-control"),
        Some("private, no-store, no-transform")
    );
    for target in ["/v1/poll?channel=a&timeout=0s", "/v1/channels/a/events?x"] {
        let answer = on.get(&format!("{target}&token={token}"), &[]);
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
    }
    let answer = on.get("/v1/events?channel=a&token=a.b.c", &[]);
    assert_eq!(told(&answer), (401, "invalid_token".to_owned()));
    let answer = on.get(&format!("{events}&ticket=x"), &[]);
    assert_eq!(told(&answer), (400, "bad_authorization".to_owned()));
    let publish = format!("/v1/channels/inbox/events?token={token}");
    let answer = call(on.public, "POST", &publish, &[], b"x");
    assert_eq!(told(&answer), (400, "bad_authorization".to_owned()));
}

/// Who names no channel reads every channel that its token names without a wildcard.
#[test]
fn channels_that_are_not_named_are_the_tokens() {
    let node = node(&[("LIMITS__CHANNELS_PER_CONNECTION", "2")]);
    let some = bearer(&token("ann", &["user.{sub}", "orders.*", "news", "_ctl"]));
    let headers = [("Authorization", some.as_str())];
    let channels = json!({"user.ann": "live", "news": "live"});
    let stream = node.stream("", &headers);
    assert_eq!(stream.opened.expect("opened").json()["channels"], channels);
    let poll = node.get("/v1/poll?timeout=0s", &headers);
    assert_eq!(poll.status, 200, "{poll:?}");
    let open = posted(&node, "/v1/events", &headers, "{}");
    assert_eq!(open.json()["channels"], channels);

    for (patterns, code) in [
        (&["orders.*", "**", "_ctl"][..], "no_channel"),
        (&[], "no_channel"),
        (&["a", "b", "c"], "too_many_channels"),
    ] {
        let bearer = bearer(&token("ann", patterns));
        for target in ["/v1/events", "/v1/poll"] {
            let answer = node.get(target, &[("Authorization", &bearer)]);
            assert_eq!(told(&answer), (400, code.to_owned()), "{patterns:?}");
        }
    }
}

//! `POST /admin/explain`: why a token may or may not, and what became of an event on a stream.

use rstest::rstest;
use serde_json::{Value, json};

use super::renewal::name;
use crate::harness::admin::{ADMIN, command, commanded};
use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::tokens::{SETTINGS, bearer_of, bearer_until, second_in};
use crate::harness::{PATIENCE, find};

fn ask(node: &Node, question: &Value) -> Answer {
    command(node, "/admin/explain", question)
}

fn answer(node: &Node, question: &Value) -> Value {
    let answer = ask(node, question);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.body).expect("JSON")
}

/// A node whose commands need their token.
fn node(settings: &[(&str, &str)]) -> Node {
    Node::embedded(&[settings, &[("ADMIN__TOKEN", ADMIN)]].concat()).ready()
}

fn token_node() -> Node {
    node(&SETTINGS)
}

/// A good token passes every check, in their order, and the pattern that allows is named.
#[test]
fn a_good_token_is_explained_check_by_check() {
    let node = token_node();
    let token = bearer_until("ann", &["orders.*", "user.{sub}"], second_in(60));
    let token = token.trim_start_matches("Bearer ");
    let told = answer(
        &node,
        &json!({"token": token, "channel": "user.ann", "action": "publish"}),
    );
    assert_eq!(
        (&told["allowed"], &told["code"]),
        (&json!(true), &Value::Null),
        "{told}"
    );
    let steps = told["steps"].as_array().expect("steps");
    let checks: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["check"].as_str())
        .collect();
    assert_eq!(
        checks,
        [
            "form",
            "header",
            "signature",
            "exp",
            "nbf",
            "iss",
            "aud",
            "claims",
            "revocation",
            "channel",
            "patterns"
        ]
    );
    assert!(steps.iter().all(|step| step["ok"] == true), "{told}");
    let last = steps.last().expect("a step")["detail"]
        .as_str()
        .expect("words");
    assert_eq!(last, "`user.ann` stands for `user.ann`");
    for part in token.split('.') {
        assert!(
            !told.to_string().contains(part),
            "no part of the token is repeated"
        );
    }
}

/// What does not pass is told with the check at which it fails, and the code that callers see.
#[rstest]
#[case::other_channel(json!({"sub": "ann", "exp": second_in(60), "sluice": {"subscribe": ["a", "b.*"]}}), "c", "patterns", "insufficient_scope")]
#[case::only_publish(json!({"sub": "ann", "exp": second_in(60), "sluice": {"publish": ["c"]}}), "c", "patterns", "insufficient_scope")]
#[case::reserved(json!({"sub": "ann", "exp": second_in(60), "sluice": {"subscribe": ["**"]}}), "_ctl", "channel", "insufficient_scope")]
#[case::expired(json!({"sub": "ann", "exp": second_in(0) - 60, "sluice": {"subscribe": ["c"]}}), "c", "exp", "token_expired")]
#[case::no_exp(json!({"sub": "ann"}), "c", "exp", "invalid_token")]
#[case::not_yet(json!({"sub": "ann", "exp": second_in(60), "nbf": second_in(30)}), "c", "nbf", "invalid_token")]
#[case::audience(json!({"sub": "ann", "exp": second_in(60), "aud": "billing"}), "c", "aud", "invalid_token")]
#[case::no_sub(json!({"exp": second_in(60)}), "c", "claims", "invalid_token")]
#[case::empty_sub(json!({"sub": "", "exp": second_in(60)}), "c", "claims", "invalid_token")]
#[case::bad_pattern(json!({"sub": "ann", "exp": second_in(60), "sluice": {"subscribe": ["c*"]}}), "c", "claims", "invalid_token")]
fn a_refusal_is_explained_by_the_check_that_fails(
    #[case] claims: Value,
    #[case] channel: &str,
    #[case] check: &str,
    #[case] code: &str,
) {
    let node = token_node();
    let token = bearer_of(&claims);
    let token = token.trim_start_matches("Bearer ");
    let told = answer(&node, &json!({"token": token, "channel": channel}));
    assert_eq!(
        (&told["allowed"], &told["code"]),
        (&json!(false), &json!(code)),
        "{told}"
    );
    let failed: Vec<&Value> = told["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|step| step["ok"] == false)
        .collect();
    assert_eq!(
        failed.first().expect("one that fails")["check"],
        check,
        "{told}"
    );
    // As its callers are told.
    let authorization = format!("Bearer {token}");
    if channel == "c" {
        let refused = node.get("/v1/events?channel=c", &[("Authorization", &authorization)]);
        assert_eq!(refused.problem(), code);
    }
}

/// A good token that was revoked is not allowed, and that is said.
#[test]
fn a_revoked_token_is_explained() {
    let node = token_node();
    let token = bearer_of(
        &json!({"sub": "ann", "jti": "t-1", "exp": second_in(60), "sluice": {"subscribe": ["c"]}}),
    );
    let token = token.trim_start_matches("Bearer ");
    let question = json!({"token": token, "channel": "c"});
    assert_eq!(answer(&node, &question)["allowed"], true);
    commanded(&node, "/admin/revoke", &json!({"jti": "t-1"}));
    let told = find("the revocation is known", PATIENCE, || {
        let told = answer(&node, &question);
        (told["allowed"] == false).then_some(told)
    });
    let steps = told["steps"].as_array().expect("steps");
    let last = steps.last().expect("a step");
    assert_eq!(
        (&last["check"], &last["ok"]),
        (&json!("revocation"), &json!(false)),
        "{told}"
    );
    assert_eq!(told["code"], "token_revoked");
    assert!(
        steps.iter().rev().skip(1).all(|step| step["ok"] == true),
        "{told}"
    );
}

/// Forged and broken tokens fail before their claims are believed: nothing that they say is repeated.
#[test]
fn a_forged_token_is_explained_without_its_claims() {
    let node = token_node();
    let good = bearer_of(
        &json!({"sub": "mallory", "exp": second_in(60), "iss": "https://evil.example", "sluice": {"subscribe": ["**"]}}),
    );
    let good = good.trim_start_matches("Bearer ");
    let parts: Vec<&str> = good.split('.').collect();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for (forged, check) in [
        (
            format!("{}.{}.{}", parts[0], parts[1], parts[1]),
            "signature",
        ),
        (format!("{none}.{}.", parts[1]), "header"),
        ("a.b.c".to_owned(), "form"),
        ("x".repeat(9_000), "form"),
    ] {
        let told = answer(&node, &json!({"token": forged, "channel": "c"}));
        let steps = told["steps"].as_array().expect("steps");
        let last = steps.last().expect("a step");
        assert_eq!(
            (&last["check"], &last["ok"]),
            (&json!(check), &json!(false)),
            "{told}"
        );
        assert_eq!(told["code"], "invalid_token");
        let text = told.to_string();
        assert!(
            !text.contains("mallory") && !text.contains("evil.example"),
            "{told}"
        );
    }
    let told = answer(&node, &json!({"channel": "c"}));
    assert_eq!(
        (&told["allowed"], &told["code"]),
        (&json!(false), &json!("token_missing"))
    );
}

/// A question that is none says so, and repeats nothing of it: it may hold a token in the wrong place.
#[rstest]
#[case(r#"{"channel":"c","action":"canary-eyJ"}"#, "bad_body")]
#[case(r#"{"channel":"c","token":["canary-eyJ"]}"#, "bad_body")]
#[case(
    r#"{"channel":"c","connection":"canary-eyJ","id":"1-0.00000001"}"#,
    "bad_body"
)]
#[case(r#"{"channel":"c","connection":"AAAAAAAAAAAAAAAAAAAAAA"}"#, "bad_body")]
#[case(
    r#"{"channel":"c","connection":"AAAAAAAAAAAAAAAAAAAAAA","id":"canary-eyJ"}"#,
    "bad_body"
)]
#[case(r#"{"channel":"canary eyJ"}"#, "bad_channel")]
#[case(r#"{"canary-eyJ":1}"#, "bad_body")]
#[case("canary-eyJ", "bad_body")]
fn a_question_that_is_none_is_refused(#[case] body: &str, #[case] code: &str) {
    let node = token_node();
    let token = format!("Bearer {ADMIN}");
    let headers = [("Authorization", token.as_str())];
    let answer = call(
        node.admin,
        "POST",
        "/admin/explain",
        &headers,
        body.as_bytes(),
    );
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, code),
        "{answer:?}"
    );
    assert!(!answer.body.contains("canary-eyJ"), "{answer:?}");
}

/// Explanations are for operators: the public listener has none.
#[test]
fn the_public_listener_explains_nothing() {
    let node = token_node();
    let answer = call(node.public, "POST", "/admin/explain", &[], b"{}");
    assert_eq!(answer.status, 404);
}

/// What became of an event on a stream, from before it was opened to after it has ended.
#[test]
fn the_way_of_an_event_to_a_stream_is_explained() {
    let node = node(&[]);
    let before = node.publish("a", "before");
    let mut stream = node.stream("channel=a", &[]);
    let name = name(stream.opened.as_ref().expect("opened"));
    let got = node.publish("a", "got");
    assert_eq!(stream.next().id(), got);
    let why = |channel: &str, id: &str| {
        let question = json!({"connection": name, "channel": channel, "id": id});
        answer(&node, &question)
    };
    let told = why("a", &got);
    assert_eq!(
        (&told["verdict"], &told["place"]),
        (&json!("delivered"), &json!(got)),
        "{told}"
    );
    assert_eq!(told["ended_at"], Value::Null);
    assert_eq!(why("a", &before)["verdict"], "opened_after");
    assert_eq!(why("b", &got)["verdict"], "not_subscribed");
    assert_eq!(why("a", "9999999999999-0.00000001")["verdict"], "not_seen");
    drop(stream);
    let told = find("the stream has ended", PATIENCE, || {
        let told = why("a", &got);
        told["ended_at"].is_string().then_some(told)
    });
    assert_eq!(
        (&told["verdict"], &told["close_reason"]),
        (&json!("delivered"), &json!("client_gone")),
        "{told}"
    );
    let later = node.publish("a", "later");
    assert_eq!(why("a", &later)["verdict"], "ended");
    let nobody = json!({"connection": "AAAAAAAAAAAAAAAAAAAAAA", "channel": "a", "id": got});
    let answer = ask(&node, &nobody);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "unknown_connection")
    );
}

/// A reader that takes nothing: the event is there and waits for it.
#[test]
fn an_event_that_waits_for_a_slow_reader_is_explained() {
    let node = node(&[
        ("STREAM__SEND_BUFFER", "4KiB"),
        ("LIMITS__EVENT_BYTES", "1MiB"),
    ]);
    let stream = node.stream("channel=a", &[]);
    let name = name(stream.opened.as_ref().expect("opened"));
    let big = "x".repeat(1_000_000);
    let published: Vec<String> = (0..12).map(|_| node.publish("a", &big)).collect();
    let last = published.last().expect("published");
    let question = json!({"connection": name, "channel": "a", "id": last});
    let told = answer(&node, &question);
    assert!(
        ["waiting", "not_seen"].contains(&told["verdict"].as_str().expect("a word")),
        "{told}"
    );
    let told = find(
        "the event is in memory and the client does not take it",
        PATIENCE,
        || {
            let told = answer(&node, &question);
            let detail = told["detail"].as_str().expect("words");
            (told["verdict"] == "waiting" && detail.contains("has not taken what is due"))
                .then_some(told)
        },
    );
    assert_eq!(told["ended_at"], Value::Null);
    drop(stream);
}

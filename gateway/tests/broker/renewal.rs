//! Renewals and explanations between nodes: asked at one, answered by the one that has the stream.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::admin::{ADMIN, commanded};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::tokens::{SETTINGS, bearer_of, bearer_until, second_in, since};

const TOPIC: &str = "sluice:{_ctl}";

fn node(redis: &RedisServer, settings: &[(&str, &str)]) -> Node {
    let quick = [
        ("ADMIN__TOKEN", ADMIN),
        ("STREAM__EXPIRING_LEAD", "0s"),
        ("REDIS__RESPONSE_TIMEOUT", "500ms"),
    ];
    Node::redis(&redis.url(), &[&SETTINGS[..], &quick, settings].concat()).ready()
}

/// Handed in anywhere, a token reaches the stream where it is. What crosses Redis says what the token allows, and is not it.
#[test]
fn a_stream_is_renewed_through_another_node() {
    let redis = RedisServer::start();
    let [here, there] = [(); 2].map(|()| node(&redis, &[("HTTP__WORKERS", "2")]));
    let mut connection = redis.connect();
    let mut listening = connection.as_pubsub();
    listening.subscribe(TOPIC).expect("subscribed");
    let exp = second_in(1);
    let ann = |exp| bearer_until("ann", &["a"], exp);
    let first = ann(exp);
    let mut stream = there.stream("channel=a", &[("Authorization", first.as_str())]);
    let open = stream.opened.as_ref().expect("opened").json();
    let name = open["connection"].as_str().expect("a name");
    let token = ann(exp + 1);
    for (other, code) in [
        (bearer_until("bob", &["a"], exp + 60), "other_subject"),
        (bearer_until("ann", &["b"], exp + 60), "insufficient_scope"),
    ] {
        let answer = here.renew(name, &other);
        assert_eq!((answer.status, answer.problem().as_str()), (403, code));
    }
    let answer = here.renew(name, &token);
    assert_eq!(answer.status, 200, "{answer:?}");
    let publisher = bearer_until("bob", &["a"], exp + 60);
    let mut sent = 0;
    while since(exp).is_none_or(|since| since < Duration::from_millis(300)) {
        let data = format!("event {sent}");
        here.post(
            "a",
            &[("Authorization", publisher.as_str())],
            data.as_bytes(),
        );
        assert_eq!(stream.next().data, data);
        sent += 1;
    }
    let close = stream.next();
    assert_eq!(close.json()["reason"], "token_expired");
    assert!(since(exp + 1).expect("not before its time") < Duration::from_secs(1));

    listening
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    let mut crossed = Vec::new();
    while crossed.len() < 6 {
        let message = listening
            .get_message()
            .expect("three questions and their answers");
        crossed.push(message.get_payload::<String>().expect("text"));
    }
    let signature = token.rsplit('.').next().expect("three parts");
    let crossed = crossed.join("\n");
    assert!(crossed.contains(r#""order":"renew""#), "{crossed}");
    assert!(
        !crossed.contains(signature) && !crossed.contains("eyJ"),
        "{crossed}"
    );
}

/// Nobody's stream is told after a bounded wait; without Redis nobody can be asked, and that is said.
#[test]
fn a_stream_that_nobody_has_and_a_redis_that_is_away_are_told_apart() {
    let redis = RedisServer::start();
    let node = node(&redis, &[]);
    let token = bearer_until("ann", &["a"], second_in(60));
    let begun = Instant::now();
    let answer = node.renew("AAAAAAAAAAAAAAAAAAAAAA", &token);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "unknown_connection")
    );
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    redis.freeze();
    let answer = node.renew("AAAAAAAAAAAAAAAAAAAAAA", &token);
    redis.thaw();
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "broker_unavailable")
    );
    assert!(answer.header("retry-after").is_some());
}

/// A revoked token renews nothing, not even one that was verified before it was revoked and comes by another node.
#[test]
fn a_revoked_token_renews_nothing() {
    let redis = RedisServer::start();
    let node = node(&redis, &[]);
    let exp = second_in(2);
    let first = bearer_until("ann", &["a"], exp);
    let mut stream = node.stream("channel=a", &[("Authorization", first.as_str())]);
    let open = stream.opened.as_ref().expect("opened").json();
    let name = open["connection"].as_str().expect("a name");
    let claims =
        json!({"sub": "ann", "jti": "t-2", "exp": exp + 60, "sluice": {"subscribe": ["a"]}});
    let token = bearer_of(&claims);
    commanded(&node, "/admin/revoke", &json!({"jti": "t-2"}));
    let answer = node.renew(name, &token);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "token_revoked")
    );

    let mut connection = redis.connect();
    let mut listening = connection.as_pubsub();
    listening.subscribe(TOPIC).expect("subscribed");
    listening
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    let order = json!({
        "order": "renew",
        "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
        "connection": name,
        "holder": {"subject": "ann", "token_id": "t-2"},
        "expires_at": (exp + 60) * 1_000,
        "subscribe": ["a"],
    });
    let heard: i64 = redis.run(&["PUBLISH", TOPIC, &order.to_string()]);
    assert_eq!(heard, 2, "the node, and this test");
    let answer = std::iter::from_fn(|| listening.get_message().ok())
        .map(|message| message.get_payload::<String>().expect("text"))
        .find(|text| text.contains(r#""order":"answer""#));
    let answer = answer.expect("an answer");
    assert!(answer.contains(r#""finding":"revoked""#), "{answer}");
    assert_eq!(stream.next().json()["reason"], "token_expired");
    assert!(since(exp).expect("not before its time") < Duration::from_secs(1));
}

/// An operator may ask any node about any stream, while it is open and after it has ended.
#[test]
fn an_event_is_explained_through_another_node() {
    let redis = RedisServer::start();
    let settings = [("AUTH__MODE", "anonymous"), ("ADMIN__TOKEN", ADMIN)];
    let [here, there] = ["here", "there"].map(|name| {
        let settings = [&settings[..], &[("NODE__NAME", name)]].concat();
        Node::redis(&redis.url(), &settings).ready()
    });
    let mut stream = there.stream("channel=a", &[]);
    let open = stream.opened.as_ref().expect("opened").json();
    let got = here.publish("a", "one");
    assert_eq!(stream.next().id(), got);
    let question = json!({"connection": open["connection"], "channel": "a", "id": got});
    let why = || commanded(&here, "/admin/explain", &question);
    let told = why();
    assert_eq!(
        (&told["verdict"], &told["node"]),
        (&json!("delivered"), &json!("there")),
        "{told}"
    );
    let disconnect = format!(
        r#"{{"order":"disconnect","connection":{}}}"#,
        open["connection"]
    );
    let heard: i64 = redis.run(&["PUBLISH", TOPIC, &disconnect]);
    assert_eq!(heard, 2);
    assert_eq!(stream.next().json()["reason"], "disconnected");
    assert!(stream.rest().is_empty());
    let told = crate::harness::find("the stream has ended", crate::harness::PATIENCE, || {
        let told = why();
        told["close_reason"].is_string().then_some(told)
    });
    assert_eq!(
        (&told["verdict"], &told["close_reason"]),
        (&json!("delivered"), &json!("disconnected")),
        "{told}"
    );
}

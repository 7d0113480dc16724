//! Tickets over nodes: made on one, used on any, by one of all who try; and what Redis knows of them.

use std::thread;

use serde_json::Value;

use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::tokens::{bearer, settings, token};

fn node(redis: &RedisServer) -> Node {
    Node::redis(&redis.url(), &settings(&[])).ready()
}

fn ask(node: &Node) -> Answer {
    let bearer = bearer(&token("ann", &["a"]));
    let headers = [("Authorization", bearer.as_str())];
    call(node.public, "POST", "/v1/tickets", &headers, b"")
}

fn ticket(node: &Node) -> String {
    let answer = ask(node);
    assert_eq!(answer.status, 201, "{answer:?}");
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    json["ticket"].as_str().expect("a ticket").to_owned()
}

fn poll(node: &Node, ticket: &str) -> Answer {
    node.get(
        &format!("/v1/poll?channel=a&timeout=0s&ticket={ticket}"),
        &[],
    )
}

/// However many try at once, on whatever nodes.
#[test]
fn one_of_all_who_bring_a_ticket_is_let_in() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis));
    for _ in 0..8 {
        let ticket = ticket(&nodes[0]);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let tries: Vec<_> = nodes
                .iter()
                .cycle()
                .take(8)
                .map(|node| scope.spawn(|| poll(node, &ticket)))
                .collect();
            tries
                .into_iter()
                .map(|one| one.join().expect("asked"))
                .collect()
        });
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((good.len(), bad.len()), (1, 7));
        assert!(bad.iter().all(|answer| answer.problem() == "bad_ticket"));
    }
    // HEAD on the other node looks, and leaves it.
    let ticket = ticket(&nodes[0]);
    let target = format!("/v1/events?channel=a&ticket={ticket}");
    assert_eq!(call(nodes[1].public, "HEAD", &target, &[], b"").status, 200);
    let stream = nodes[1].stream(&format!("channel=a&ticket={ticket}"), &[]);
    assert_eq!(stream.status, 200);
    assert_eq!(poll(&nodes[0], &ticket).status, 401);
}

/// Who reads keys and values in Redis learns what was granted, and cannot use it.
#[test]
fn redis_knows_a_ticket_by_its_digest_and_for_its_time() {
    let redis = RedisServer::start();
    let node = node(&redis);
    let ticket = ticket(&node);
    let keys = || redis.run::<Vec<String>>(&["KEYS", "sluice:{_ctl}:ticket:*"]);
    let found = keys();
    let [key] = found.as_slice() else {
        panic!("one key: {found:?}");
    };
    assert_eq!(key.len(), "sluice:{_ctl}:ticket:".len() + 43);
    let left: i64 = redis.run(&["PTTL", key]);
    assert!((25_000..=30_000).contains(&left), "{left}");
    let value: String = redis.run(&["GET", key]);
    assert!(value.contains("\"ann\""), "{value}");
    assert!(!key.contains(&ticket) && !value.contains(&ticket));
    let signature = token("ann", &["a"]);
    let signature = signature.rsplit('.').next().expect("three parts");
    assert!(!value.contains(signature), "nothing of the token is kept");
    assert_eq!(poll(&node, &ticket).status, 200);
    assert!(keys().is_empty());
    // What no node has written is no grant.
    let broken = ask(&node);
    let found = keys();
    let _: () = redis.run(&["SET", &found[0], "{}"]);
    let json: Value = serde_json::from_str(&broken.body).expect("JSON");
    let answer = poll(&node, json["ticket"].as_str().expect("text"));
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "bad_ticket")
    );
}

/// Without Redis no ticket can be looked up. That will pass: an EventSource is told so in the way it survives, others with
/// 503; nobody is let in, and nobody is told that the ticket is bad.
#[test]
fn without_redis_tickets_are_put_off() {
    let redis = RedisServer::start();
    let node = node(&redis);
    let ticket = ticket(&node);
    drop(redis);
    let target = format!("/v1/events?channel=a&ticket={ticket}");
    let answer = node.get(
        &target,
        &[
            ("Accept", "text/event-stream"),
            ("Last-Event-ID", "7-1.000000aa"),
        ],
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    for line in [
        "event: sluice.close\n",
        "data: {\"reason\":\"unavailable\"}\n",
        "id: 7-1.000000aa\n",
        "retry: ",
    ] {
        assert!(answer.body.contains(line), "{answer:?}");
    }
    for answer in [node.get(&target, &[]), poll(&node, &ticket), ask(&node)] {
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "broker_unavailable")
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(
        node.metric("sluice_connections_rejected_total{reason=\"unavailable\"}"),
        3.0
    );
    assert_eq!(
        node.metric("sluice_auth_failures_total{code=\"bad_ticket\"}"),
        0.0
    );
    // A token needs no Redis: its stream waits for its channel.
    let bearer = bearer(&token("ann", &["a"]));
    let stream = node.stream("channel=a", &[("Authorization", &bearer)]);
    assert_eq!(stream.status, 200);
}

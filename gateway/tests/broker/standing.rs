//! Orders that a node did not hear when they were given: cut off, its message lost, or without the right to read them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::admin::{SETTINGS, bearer, command, commanded, look};
use crate::harness::http::Events;
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, http, stays, wait};

const ORDERS: &str = "sluice:{_ctl}:orders";
const MARK: &str = "sluice:{_ctl}:orders:mark";
const CONNECTED: &str = "sluice_redis_connected";
/// A node looks every half second; with room for a busy machine.
const LOOKED: Duration = Duration::from_millis(1_500);

/// The address of Redis for a user of its own, who may do everything.
fn user(redis: &RedisServer, name: &str) -> String {
    redis.run::<()>(&["ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all"]);
    redis
        .url()
        .replace("redis://", &format!("redis://{name}:pw@"))
}

fn cut_off(redis: &RedisServer, name: &str) {
    redis.run::<()>(&["ACL", "SETUSER", name, "off"]);
    redis.run::<u64>(&["CLIENT", "KILL", "USER", name]);
}

fn heal(redis: &RedisServer, name: &str) {
    redis.run::<()>(&["ACL", "SETUSER", name, "on"]);
}

fn reason(stream: &mut Events) -> String {
    let close = stream.next();
    assert_eq!(close.event, "sluice.close", "{close:?}");
    close.json()["reason"]
        .as_str()
        .expect("a reason")
        .to_owned()
}

fn millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("fits")
}

/// A standing order as a node writes it.
fn written(id: &str, at: u64, order: &Value) -> (String, String) {
    let until = (millis() + 60_000).to_string();
    let mut json = json!({ "id": id, "at": at, "until": millis() + 60_000 });
    for (name, value) in order.as_object().expect("an object") {
        json[name] = value.clone();
    }
    (until, json.to_string())
}

/// Writes an order as a node does, but its message is lost.
fn silently(redis: &RedisServer, until: &str, order: &str) {
    let count: u64 = redis.run(&["ZADD", ORDERS, until, order]);
    let mark = format!("epoch:{}", redis.run::<u64>(&["ZCARD", ORDERS]));
    redis.run::<()>(&["SET", MARK, &mark]);
    assert_eq!(count, 1);
}

fn code(node: &Node, bearer: &str) -> String {
    look(node, bearer).1
}

/// What was ordered while a node was cut off is obeyed when it is back: revoked and disconnected streams end, and who
/// has come since the disconnect is spared.
#[test]
fn a_node_that_was_cut_off_obeys_when_it_is_back() {
    let redis = RedisServer::start();
    let away = Node::redis(&user(&redis, "away"), SETTINGS).ready();
    let node = Node::redis(&redis.url(), SETTINGS).ready();
    let (ann, bob) = (
        bearer("ann", &json!({ "jti": "t-1" })),
        bearer("bob", &json!({})),
    );
    let open = |bearer: &str| away.stream("channel=a", &[("Authorization", bearer)]);
    let (mut hers, mut his) = (open(&ann), open(&bob));
    cut_off(&redis, "away");
    wait("noticed", &0.0, PATIENCE, || away.metric(CONNECTED));
    commanded(&node, "/admin/revoke", &json!({ "jti": "t-1" }));
    commanded(&node, "/admin/disconnect", &json!({ "sub": "bob" }));
    stays(
        "the node cannot know",
        &2.0,
        Duration::from_millis(1_200),
        || away.metric("sluice_connections"),
    );
    let mut new = open(&bob);
    heal(&redis, "away");
    assert_eq!(reason(&mut hers), "revoked");
    assert_eq!(reason(&mut his), "disconnected");
    assert_eq!(code(&away, &ann), "token_revoked");
    wait("back", &1.0, PATIENCE, || away.metric(CONNECTED));
    let answer = node.post("a", &[("Authorization", &bob)], b"still there");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(new.next().data, "still there");
}

/// An order whose message is lost is found by the next look, and obeyed once.
#[test]
fn an_order_without_its_message_is_obeyed_within_a_second() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), SETTINGS).ready();
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    let open = || node.stream("channel=a", &[("Authorization", &ann)]);
    let mut hers = open();
    let (until, disconnect) = written(
        "one",
        millis(),
        &json!({ "order": "disconnect", "subject": "ann" }),
    );
    silently(&redis, &until, &disconnect);
    let since = Instant::now();
    assert_eq!(reason(&mut hers), "disconnected");
    assert!(since.elapsed() < LOOKED, "{:?}", since.elapsed());
    // Back again, it is not ended for the same order when the set is read for another one.
    let mut hers = open();
    let (until, revoke) = written(
        "two",
        millis(),
        &json!({ "order": "revoke", "token_id": "t-2" }),
    );
    silently(&redis, &until, &revoke);
    let t2 = bearer("ann", &json!({ "jti": "t-2" }));
    wait("obeyed", &"token_revoked".to_owned(), LOOKED, || {
        code(&node, &t2)
    });
    let answer = node.post("a", &[("Authorization", &ann)], b"still there");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(hers.next().data, "still there");
}

/// More orders at a time than are queued for a worker: none is overlooked, nor anybody hit who was not meant.
#[test]
fn a_burst_of_orders_is_obeyed_whole() {
    const COUNT: usize = 3_000;
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), SETTINGS).ready();
    let open = |subject: &str, id: usize| {
        let bearer = bearer(subject, &json!({ "jti": format!("t-{id}") }));
        node.stream("channel=a", &[("Authorization", &bearer)])
    };
    let mut meant = [0, 1, COUNT / 2, COUNT - 1].map(|id| open("ann", id));
    let mut bobs = open("bob", COUNT);
    let mut others = [COUNT, COUNT + 1].map(|id| open("carl", id));
    let order = |id: usize| json!({ "order": "revoke", "token_id": format!("t-{id}") });
    let all: Vec<_> = (0..COUNT)
        .map(order)
        .chain([json!({ "order": "disconnect", "subject": "bob" })])
        .enumerate()
        .map(|(id, order)| written(&format!("o-{id}"), millis(), &order))
        .collect();
    let words: Vec<&str> = all
        .iter()
        .flat_map(|(until, order)| [until.as_str(), order])
        .collect();
    let added: usize = redis.run(&[&["ZADD", ORDERS], words.as_slice()].concat());
    assert_eq!(added, COUNT + 1);
    redis.run::<()>(&["SET", MARK, "epoch:3001"]);
    for stream in &mut meant {
        assert_eq!(reason(stream), "revoked");
    }
    assert_eq!(reason(&mut bobs), "disconnected");
    let answer = node.post(
        "a",
        &[("Authorization", &bearer("carl", &json!({})))],
        b"still there",
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    for stream in &mut others {
        assert_eq!(stream.next().data, "still there");
    }
}

/// A disconnect ends streams by subject, channel, node or name, on all nodes; whoever it ended may come back at once,
/// and a node that starts later ends nobody for it.
#[test]
fn a_disconnect_is_obeyed_once_and_not_by_newcomers() {
    let redis = RedisServer::start();
    let named = |name| {
        let settings = [SETTINGS, &[("NODE__NAME", name)]].concat();
        Node::redis(&redis.url(), &settings).ready()
    };
    let (one, two) = (named("one"), named("two"));
    let ann = bearer("ann", &json!({}));
    let headers = [("Authorization", ann.as_str())];
    let (mut here, mut there) = (
        one.stream("channel=a", &headers),
        two.stream("channel=b", &headers),
    );
    commanded(
        &one,
        "/admin/disconnect",
        &json!({ "sub": "ann", "node": "two" }),
    );
    assert_eq!(reason(&mut there), "disconnected");
    let mut there = two.stream("channel=a&channel=b", &headers);
    commanded(
        &two,
        "/admin/disconnect",
        &json!({ "sub": "ann", "channel": "a" }),
    );
    assert_eq!(reason(&mut there), "disconnected");
    assert_eq!(reason(&mut here), "disconnected");
    let mut here = one.stream("channel=a", &headers);
    let new = named("new");
    let mut newcomer = new.stream("channel=a", &headers);
    let answer = one.post("a", &headers, b"still there");
    assert_eq!(answer.status, 201, "{answer:?}");
    for stream in [&mut here, &mut newcomer] {
        assert_eq!(stream.next().data, "still there");
    }
    commanded(&new, "/admin/disconnect", &json!({ "all": true }));
    for stream in [&mut here, &mut newcomer] {
        assert_eq!(reason(stream), "disconnected");
    }
}

/// A node that has not read the standing orders takes no token: it says that this will pass, to an EventSource in the way
/// it survives, and takes them as soon as it can.
#[test]
fn a_node_that_does_not_know_the_orders_takes_no_token() {
    let redis = RedisServer::start();
    let url = user(&redis, "node");
    redis.run::<()>(&["ACL", "SETUSER", "node", "-zscan"]);
    let node = Node::redis(&url, SETTINGS);
    let ann = bearer("ann", &json!({}));
    wait("connected", &1.0, PATIENCE, || node.metric(CONNECTED));
    let health = || http::call(node.admin, "GET", "/healthz", &[], b"").body;
    assert_eq!(node.readiness(), Some(503));
    assert!(
        health().contains(r#""revocations":"unknown""#),
        "{}",
        health()
    );
    let answer = node.get("/v1/events?channel=a", &[("Authorization", &ann)]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "broker_unavailable")
    );
    assert!(answer.header("retry-after").is_some());
    assert!(
        answer.header("www-authenticate").is_none(),
        "nothing is wrong with the token"
    );
    assert_eq!(code(&node, &ann), "broker_unavailable");
    let native = [
        ("Authorization", ann.as_str()),
        ("Accept", "text/event-stream"),
        ("Last-Event-ID", "1-0.00000001"),
    ];
    let refused = node.get("/v1/events?channel=a", &native);
    assert_eq!(refused.status, 200);
    let body = refused.body;
    assert!(
        body.contains("event: sluice.close\ndata: {\"reason\":\"unavailable\"}"),
        "{body}"
    );
    assert!(
        body.contains("id: 1-0.00000001\n") && body.contains("retry: "),
        "{body}"
    );
    assert_eq!(
        node.metric("sluice_connections_rejected_total{reason=\"unavailable\"}"),
        2.0
    );
    redis.run::<()>(&["ACL", "SETUSER", "node", "+zscan"]);
    let node = node.ready();
    assert_eq!(look(&node, &ann).0, 200);
    let health = http::call(node.admin, "GET", "/healthz", &[], b"").body;
    assert!(health.contains(r#""revocations":"known""#), "{health}");
}

/// Once known, the orders stay in force without Redis, and a command without it is refused with nothing half done.
#[test]
fn without_redis_what_is_known_holds_and_nothing_is_ordered() {
    let redis = RedisServer::start();
    let node = Node::redis(&user(&redis, "node"), SETTINGS).ready();
    let (ann, bob) = (
        bearer("ann", &json!({ "jti": "t-1" })),
        bearer("bob", &json!({})),
    );
    commanded(&node, "/admin/revoke", &json!({ "jti": "t-1" }));
    cut_off(&redis, "node");
    wait("noticed", &0.0, PATIENCE, || node.metric(CONNECTED));
    assert_eq!(code(&node, &ann), "token_revoked");
    let mut his = node.stream("channel=a", &[("Authorization", &bob)]);
    for (route, body) in [
        ("/admin/revoke", json!({ "sub": "bob" })),
        ("/admin/disconnect", json!({ "sub": "bob" })),
    ] {
        let answer = command(&node, route, &body);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "broker_unavailable")
        );
        assert!(
            answer.body.contains("nothing was ordered"),
            "{}",
            answer.body
        );
        assert!(answer.header("retry-after").is_some());
    }
    heal(&redis, "node");
    wait("back", &1.0, PATIENCE, || node.metric(CONNECTED));
    let count: u64 = redis.run(&["ZCARD", ORDERS]);
    assert_eq!(count, 1);
    // The first may still meet a connection of before.
    wait("published", &201, PATIENCE, || {
        let headers = [("Authorization", bob.as_str())];
        node.post("a", &headers, b"still there").status
    });
    let waiting = his.next();
    let event = if waiting.event == "sluice.open" {
        his.next()
    } else {
        waiting
    };
    assert_eq!(event.data, "still there");
}

/// What the node's user may not do is said, in the answer and in the log, before anything is written.
#[test]
fn a_right_that_is_lacking_is_named() {
    let redis = RedisServer::start();
    let url = user(&redis, "node");
    let mut settings = SETTINGS.to_vec();
    settings.extend([("BROKER__MODE", "redis"), ("REDIS__URL", url.as_str())]);
    let node = Process::start(&settings);
    for (rule, grant) in [
        ("-zadd", "+zadd"),
        ("resetchannels", "&sluice:{_ctl}"),
        ("-zcard", "+zcard"),
    ] {
        redis.run::<()>(&["ACL", "SETUSER", "node", "+@all", "allchannels"]);
        redis.run::<()>(&["ACL", "SETUSER", "node", rule]);
        let headers = [("Authorization", "Bearer an-admin-token-for-tests")];
        let answer = http::call(
            node.admin,
            "POST",
            "/admin/revoke",
            &headers,
            br#"{"sub":"ann"}"#,
        );
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(
            answer.body.contains("nothing was ordered"),
            "{}",
            answer.body
        );
        assert!(
            answer.body.contains(&format!("grant {grant}")) || answer.body.contains(grant),
            "{}",
            answer.body
        );
    }
    let count: u64 = redis.run(&["ZCARD", ORDERS]);
    assert_eq!(count, 0);
    let log = node.log();
    assert!(log.contains("an order does not stand"), "{log}");
    assert!(
        log.contains("may not run ZADD on sluice:{_ctl}:orders"),
        "{log}"
    );
}

/// The node's user of deploy/redis may do all that standing orders need, at a restart too.
#[test]
fn the_documented_user_may_give_and_keep_orders() {
    let redis = RedisServer::start();
    let users = include_str!("../../../deploy/redis/users.acl");
    let rule = users
        .lines()
        .find_map(|line| line.strip_prefix("user sluice-node "))
        .expect("a user for nodes");
    // A selector in parentheses is one word.
    let (words, selectors) = rule.split_once('(').expect("a selector");
    let selectors = selectors.split('(');
    let selectors: Vec<String> = selectors.map(|rest| format!("({}", rest.trim())).collect();
    let mut command = vec!["ACL", "SETUSER", "gateway", ">secret"];
    // The password is given here; `resetpass` would take it away again.
    command.extend(words.split_whitespace().filter(|word| *word != "resetpass"));
    command.extend(selectors.iter().map(String::as_str));
    redis.run::<()>(&command);
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    for round in 1..=2 {
        let node = Node::redis(&url, SETTINGS).ready();
        let wanted = if round == 1 { "" } else { "token_revoked" };
        assert_eq!(code(&node, &ann), wanted);
        commanded(&node, "/admin/revoke", &json!({ "jti": "t-1" }));
        commanded(&node, "/admin/disconnect", &json!({ "sub": "ann" }));
        assert_eq!(code(&node, &ann), "token_revoked");
        if round == 1 {
            redis.run::<u64>(&["DEL", ORDERS, MARK]);
            let stands = || redis.run::<u64>(&["ZCARD", ORDERS]);
            wait("given back", &2, Duration::from_secs(5), stands);
        }
    }
    let denied: Vec<redis::Value> = redis.run(&["ACL", "LOG"]);
    let denied = format!("{denied:?}");
    for command in ["zadd", "zcard", "zscan", "publish", "get", "set"] {
        assert!(!denied.contains(&format!("\"{command}\"")), "{denied}");
    }
}

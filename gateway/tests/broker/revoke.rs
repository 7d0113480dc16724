//! Tokens that are taken back: on every node, at once, and for as long as they live.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::admin::{SETTINGS, bearer, command, commanded, look};
use crate::harness::http::{Events, call};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::tokens::now;
use crate::harness::{PATIENCE, find, wait};

/// What an order may take from the command's answer to the end of a stream, with room for a busy machine.
const PROMISED: Duration = Duration::from_millis(1_500);

fn nodes<const COUNT: usize>(redis: &RedisServer) -> [Node; COUNT] {
    [(); COUNT].map(|()| Node::redis(&redis.url(), SETTINGS).ready())
}

fn stream(node: &Node, query: &str, bearer: &str) -> Events {
    node.stream(query, &[("Authorization", bearer)])
}

/// Reads the end of a stream: its reason, and the cursor that it leaves behind.
fn end(stream: &mut Events) -> (String, String) {
    let close = stream.next();
    assert_eq!(close.event, "sluice.close", "{close:?}");
    assert!(stream.rest().is_empty(), "nothing follows");
    let reason = close.json()["reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    (reason, close.id().to_owned())
}

fn revoked() -> (u16, String) {
    (401, "token_revoked".to_owned())
}

fn good() -> (u16, String) {
    (200, String::new())
}

/// The streams of a subject end on every node within about a second, with their place; its tokens open nothing any
/// more, and nobody else notices.
#[test]
fn a_revoked_subject_is_out_on_all_nodes_and_others_stay() {
    let redis = RedisServer::start();
    let nodes = nodes::<3>(&redis);
    let issued = json!({ "iat": now() });
    let (ann, bob) = (bearer("ann", &issued), bearer("bob", &issued));
    let mut hers: Vec<Events> = nodes
        .iter()
        .map(|node| stream(node, "channel=a", &ann))
        .collect();
    let mut his: Vec<Events> = nodes
        .iter()
        .map(|node| stream(node, "channel=a", &bob))
        .collect();
    let publish = |data: &[u8]| {
        let answer = nodes[1].post("a", &[("Authorization", &bob)], data);
        crate::harness::node::id(&answer)
    };
    let position = publish(b"before");
    for stream in hers.iter_mut().chain(&mut his) {
        assert_eq!(stream.next().id(), position);
    }
    let answer = commanded(&nodes[0], "/admin/revoke", &json!({ "sub": "ann" }));
    let since = Instant::now();
    for stream in &mut hers {
        assert_eq!(end(stream), ("revoked".to_owned(), position.clone()));
    }
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    assert_eq!(answer["id"].as_str().map(str::len), Some(22));
    let until =
        humantime::parse_rfc3339(answer["until"].as_str().expect("a time")).expect("a time");
    let lasts = until
        .duration_since(std::time::SystemTime::now())
        .expect("ahead");
    assert!(
        lasts > Duration::from_secs(86_390) && lasts <= Duration::from_secs(86_400),
        "{lasts:?}"
    );
    for node in &nodes {
        is_out(node, &ann, &bob);
    }
    // The next token of hers, issued since, is as good as any.
    let issued = now() + 2;
    let again = bearer("ann", &json!({ "iat": issued }));
    find("the next token's time has come", PATIENCE, || {
        (now() >= issued).then_some(())
    });
    let mut back = nodes[2].stream(
        "channel=a",
        &[("Authorization", &again), ("Last-Event-ID", &position)],
    );
    let position = publish(b"after");
    for stream in his.iter_mut().chain([&mut back]) {
        assert_eq!(stream.next().id(), position);
    }
}

/// On this node one bearer is refused wherever it asks, and counted; the other is not.
fn is_out(node: &Node, ann: &str, bob: &str) {
    assert_eq!(look(node, ann), revoked());
    assert_eq!(look(node, bob), good());
    let headers = [("Authorization", ann), ("Accept", "text/event-stream")];
    let refused = node.get("/v1/events?channel=a", &headers);
    assert_eq!(
        (refused.status, refused.problem()),
        revoked(),
        "it will not pass"
    );
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("invalid_token"), "{challenge}");
    let published = node.post("a", &headers, b"x");
    assert_eq!((published.status, published.problem()), revoked());
    assert_eq!(node.metric("sluice_standing_orders"), 1.0);
    let ended = "sluice_connections_closed_total{reason=\"revoked\"}";
    wait("counted", &1.0, PATIENCE, || node.metric(ended));
    assert_eq!(
        node.metric("sluice_auth_failures_total{code=\"token_revoked\"}"),
        3.0
    );
}

/// One token is taken back, and no other of the same subject; or those before some time, and those without any.
#[test]
fn a_revocation_means_what_it_names() {
    let redis = RedisServer::start();
    let [node, other] = nodes::<2>(&redis);
    let (early, late) = (now() - 2_000, now() - 1_000);
    let one = bearer("ann", &json!({ "jti": "t-1", "iat": early }));
    let two = bearer("ann", &json!({ "jti": "t-2", "iat": late }));
    let none = bearer("ann", &json!({}));
    let bob = bearer("bob", &json!({ "jti": "t-3", "iat": early }));
    let all = [&one, &two, &none, &bob];
    let mut streams = all.map(|bearer| stream(&other, "channel=a", bearer));
    let check = |wanted: [bool; 4]| {
        for node in [&node, &other] {
            let is_good = all.map(|bearer| look(node, bearer));
            let wanted = wanted.map(|is_good| if is_good { good() } else { revoked() });
            assert_eq!(is_good, wanted);
        }
    };
    // Heard by the other node by the time its stream has ended.
    let order = |body: Value, ends: &mut Events| {
        commanded(&node, "/admin/revoke", &body);
        assert_eq!(end(ends).0, "revoked");
    };
    let time = std::time::UNIX_EPOCH + Duration::from_secs(late);
    let time = humantime::format_rfc3339_seconds(time).to_string();
    let [first, second, third, fourth] = &mut streams;
    order(json!({ "jti": "t-1" }), first);
    check([false, true, true, true]);
    order(json!({ "sub": "ann", "issued_before": late }), third);
    check([false, true, false, true]);
    order(json!({ "issued_before": time.as_str() }), fourth);
    check([false, true, false, false]);
    order(json!({ "sub": "ann", "issued_before": late + 1 }), second);
    check([false, false, false, false]);
    let later = bearer("ann", &json!({ "iat": late + 1 }));
    assert_eq!(look(&node, &later), good());
}

/// A waiting poll of a revoked token is answered as a request with one would be; lines end as event streams do.
#[test]
fn polls_and_lines_end_too() {
    let redis = RedisServer::start();
    let [node] = nodes::<1>(&redis);
    let ann = bearer("ann", &json!({ "iat": now() }));
    let headers = [("Authorization", ann.as_str())];
    let opened = stream(&node, "channel=a", &ann)
        .opened
        .take()
        .expect("opened");
    let (public, token, cursor) = (node.public, ann.clone(), opened.id().to_owned());
    let poll = std::thread::spawn(move || {
        let headers = [
            ("Authorization", token.as_str()),
            ("Last-Event-ID", &cursor),
        ];
        call(
            public,
            "GET",
            "/v1/poll?channel=a&timeout=30s",
            &headers,
            b"",
        )
    });
    let lines = [headers.as_slice(), &[("Accept", "application/x-ndjson")]].concat();
    let mut lines = Events::open(node.public, "/v1/events?channel=a", &lines);
    wait("both are there", &2.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    commanded(&node, "/admin/revoke", &json!({ "sub": "ann" }));
    let since = Instant::now();
    let answer = poll.join().expect("answered");
    assert_eq!((answer.status, answer.problem()), revoked());
    let last = std::iter::from_fn(|| lines.line(since + PATIENCE)).last();
    assert!(last.expect("a line").contains("revoked"));
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
}

/// A revocation outlives the node that took it and every other: the next one knows it before it takes its first token.
#[test]
fn a_restarted_node_still_refuses() {
    let redis = RedisServer::start();
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    let [node] = nodes::<1>(&redis);
    commanded(&node, "/admin/revoke", &json!({ "jti": "t-1" }));
    drop(node);
    let [node] = nodes::<1>(&redis);
    assert_eq!(look(&node, &ann), revoked());
    assert_eq!(
        look(&node, &bearer("ann", &json!({ "jti": "t-2" }))),
        good()
    );
    assert_eq!(node.metric("sluice_standing_orders"), 1.0);
}

/// Redis forgets all it knew; the nodes that still know give it back, so that a new one refuses too.
#[test]
fn a_revocation_survives_redis_losing_it() {
    let redis = RedisServer::start();
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    let [node] = nodes::<1>(&redis);
    commanded(&node, "/admin/revoke", &json!({ "jti": "t-1" }));
    redis.run::<()>(&["FLUSHALL"]);
    let stands = || redis.run::<u64>(&["ZCARD", "sluice:{_ctl}:orders"]);
    wait("given back", &1, Duration::from_secs(5), stands);
    assert_eq!(look(&node, &ann), revoked());
    let [next] = nodes::<1>(&redis);
    assert_eq!(look(&next, &ann), revoked());
}

/// A revocation ends with the last token that it can mean: so it does not outgrow its purpose.
#[test]
fn a_revocation_ends_when_it_was_told_to() {
    let redis = RedisServer::start();
    let [node, other] = nodes::<2>(&redis);
    let ann = bearer("ann", &json!({ "jti": "t-1" }));
    let expires = now() + 2;
    let answer = commanded(
        &node,
        "/admin/revoke",
        &json!({ "jti": "t-1", "expires": expires }),
    );
    let until =
        humantime::parse_rfc3339(answer["until"].as_str().expect("a time")).expect("a time");
    assert_eq!(
        until
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after")
            .as_secs(),
        expires
    );
    wait("heard", &revoked(), PROMISED, || look(&other, &ann));
    for node in [&node, &other] {
        let late = find("it is over", PATIENCE, || {
            (look(node, &ann) == good()).then(|| std::time::SystemTime::now().duration_since(until))
        });
        late.expect("not before its time");
    }
    // Whoever orders next cleans up; then nobody holds it any more.
    commanded(&node, "/admin/revoke", &json!({ "jti": "t-2" }));
    for node in [&node, &other] {
        wait("forgotten", &1.0, PATIENCE, || {
            node.metric("sluice_standing_orders")
        });
    }
    let left: Vec<String> = redis.run(&["ZRANGE", "sluice:{_ctl}:orders", "0", "-1"]);
    assert!(
        matches!(left.as_slice(), [one] if one.contains("t-2")),
        "{left:?}"
    );
}

/// Many at once: each is obeyed, in whatever bursts they come, and the streams of others go on.
#[test]
fn a_thousand_revocations_are_all_obeyed() {
    const COUNT: usize = 1_000;
    let redis = RedisServer::start();
    let [node, other] = nodes::<2>(&redis);
    let token = |n: usize| bearer("ann", &json!({ "jti": format!("t-{n}") }));
    let mut hers: Vec<Events> = (0..COUNT)
        .step_by(50)
        .map(|n| stream(&other, "channel=a", &token(n)))
        .collect();
    let mut other_ones: Vec<Events> = (COUNT..COUNT + 20)
        .map(|n| stream(&other, "channel=a", &token(n)))
        .collect();
    for n in 0..COUNT {
        commanded(&node, "/admin/revoke", &json!({ "jti": format!("t-{n}") }));
    }
    let since = Instant::now();
    for stream in &mut hers {
        assert_eq!(end(stream).0, "revoked");
    }
    wait("all are known", &1_000.0, PROMISED, || {
        other.metric("sluice_standing_orders")
    });
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    for node in [&node, &other] {
        for n in (0..COUNT).step_by(7) {
            assert_eq!(look(node, &token(n)), revoked(), "{n}");
        }
        assert_eq!(look(node, &token(COUNT)), good());
    }
    let answer = node.post("a", &[("Authorization", &token(COUNT))], b"x");
    for stream in &mut other_ones {
        assert_eq!(stream.next().id(), crate::harness::node::id(&answer));
    }
    // A node that starts now reads them page by page.
    let [next] = nodes::<1>(&redis);
    assert_eq!(next.metric("sluice_standing_orders"), 1_000.0);
    assert_eq!(look(&next, &token(COUNT - 1)), revoked());
}

/// One more than may stand is refused with words, and nothing of it is obeyed.
#[test]
fn the_order_after_the_last_is_refused() {
    let redis = RedisServer::start();
    let settings = [SETTINGS, &[("LIMITS__STANDING_ORDERS", "2")]].concat();
    let node = Node::redis(&redis.url(), &settings).ready();
    for n in 0..2 {
        commanded(&node, "/admin/revoke", &json!({ "jti": format!("t-{n}") }));
    }
    let answer = command(&node, "/admin/revoke", &json!({ "jti": "t-2" }));
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded")
    );
    assert!(
        answer.body.contains("limits.standing_orders"),
        "{}",
        answer.body
    );
    assert_eq!(
        look(&node, &bearer("ann", &json!({ "jti": "t-2" }))),
        good()
    );
    let refused = "sluice_admin_commands_total{command=\"revoke\",outcome=\"refused\"}";
    assert_eq!(node.metric(refused), 1.0);
}

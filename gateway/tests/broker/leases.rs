//! How many streams a subject has on all nodes: counted in Redis, renewed, given back, and healed when a node dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::http::{Events, call};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;
use crate::harness::tokens::{SETTINGS, bearer_for_all};
use crate::harness::{PATIENCE, find, stays, wait};

/// Of `ann`: the base64url of the SHA-256 of her name, as `printf ann | openssl dgst -sha256 -binary | basenc --base64url`
/// gives it.
const ANN: &str = "sluice:{_ctl}:lease:SZFeDX1LQC4wF9AQvBwOg8rGx5fWwW5mNA_jJoaTpqE";

fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&SETTINGS[..], &[("REDIS__BACKOFF_MAX", "200ms")], more].concat()
}

fn node(redis: &RedisServer, more: &[(&str, &str)]) -> Node {
    Node::redis(&redis.url(), &settings(more)).ready()
}

fn status(node: &Node, token: &str) -> u16 {
    let headers = [("Authorization", token)];
    node.get("/v1/events?channel=a", &headers).status
}

/// Places of Ann, the dead ones too.
fn places(redis: &RedisServer) -> usize {
    redis.run(&["ZCARD", ANN])
}

fn connection(stream: &Events) -> String {
    let open = stream.opened.clone().expect("opened");
    open.json()["connection"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Two are let in, wherever; the third is not, wherever; one that ends makes room at once.
#[test]
fn one_more_than_a_subject_may_have_is_refused_on_every_node() {
    let redis = RedisServer::start();
    let nodes = [(); 2].map(|()| node(&redis, &[("LIMITS__CONNECTIONS_PER_SUBJECT", "2")]));
    let (ann, bob) = (bearer_for_all("ann"), bearer_for_all("bob"));
    let headers = [("Authorization", ann.as_str())];
    let first = nodes[0].stream("channel=a", &headers);
    let _second = nodes[1].stream("channel=a", &headers);
    assert_eq!(places(&redis), 2);
    for node in &nodes {
        assert_eq!(status(node, &ann), 429);
        let close = [headers[0], ("Accept", "text/event-stream")];
        let answer = node.get("/v1/events?channel=a", &close);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("{\"reason\":\"limit\"}"), "{answer:?}");
        let hits = "sluice_limit_hits_total{limit=\"connections_per_subject\"}";
        assert_eq!(node.metric(hits), 2.0);
        drop(node.stream("channel=a", &[("Authorization", bob.as_str())]));
    }
    assert_eq!(places(&redis), 2, "whoever is refused takes nothing");
    drop(first);
    wait("the place is given back", &1, PATIENCE, || places(&redis));
    drop(nodes[1].stream("channel=a", &headers));
}

/// Streams that end on a node that leaves give their places back long before those end by themselves.
#[test]
fn a_node_that_leaves_gives_its_places_back() {
    let redis = RedisServer::start();
    let mut node = node(&redis, &[("LIMITS__CONNECTIONS_PER_SUBJECT", "2")]);
    let ann = bearer_for_all("ann");
    let _stream = node.stream("channel=a", &[("Authorization", &ann)]);
    assert_eq!(places(&redis), 1);
    node.leave();
    node.ended(PATIENCE);
    assert_eq!(places(&redis), 0);
}

/// The oldest on any node makes room, is told so with a long wait, and polls are no exception.
#[test]
fn the_oldest_makes_room_on_whatever_node_it_is() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "2"),
        ("LIMITS__SUBJECT_POLICY", "evict_oldest"),
    ];
    let nodes = [(); 2].map(|()| node(&redis, &limits));
    let ann = bearer_for_all("ann");
    let headers = [("Authorization", ann.as_str())];
    let place = nodes[0].post("a", &headers, b"x");
    let place = crate::harness::node::id(&place);
    let mut first = nodes[0].stream("channel=a", &headers);
    let (public, token) = (nodes[1].public, ann.clone());
    let target = format!("/v1/poll?channel=a&timeout=60s&last_event_id={place}");
    let poll =
        thread::spawn(move || call(public, "GET", &target, &[("Authorization", &token)], b""));
    wait("the poll waits", &2, PATIENCE, || places(&redis));
    let third = nodes[1].stream("channel=a", &headers);
    let close = first.next();
    assert_eq!(close.event, "sluice.close");
    assert_eq!(close.json()["reason"], "limit");
    assert!((10_000..=30_000).contains(&close.retry.expect("a wait")));
    let _fourth = nodes[0].stream("channel=a", &headers);
    let answer = poll.join().expect("answered");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(&place), "{answer:?}");
    assert_eq!(places(&redis), 2);
    drop(third);
}

/// However many come at once, on however many nodes: no more than the limit hold a place at any time, and as many as the
/// limit get one.
#[test]
fn many_at_once_on_several_nodes_never_get_more_than_the_limit() {
    const AT_ONCE: usize = 50;
    let redis = RedisServer::start();
    let nodes = [(); 3].map(|()| node(&redis, &[("LIMITS__CONNECTIONS_PER_SUBJECT", "5")]));
    let ann = bearer_for_all("ann");
    let done = AtomicBool::new(false);
    let most = AtomicUsize::new(0);
    let opened: Vec<Option<Events>> = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                most.fetch_max(places(&redis), Ordering::AcqRel);
            }
        });
        let open = |n: usize| {
            let (public, ann) = (nodes[n % 3].public, ann.as_str());
            move || {
                // As an EventSource, which is answered 200 in any case.
                let headers = [("Authorization", ann), ("Accept", "text/event-stream")];
                let mut stream = Events::open(public, "/v1/events?channel=a", &headers);
                let is_open = stream.header("transfer-encoding") == Some("chunked")
                    && stream.next().event == "sluice.open";
                is_open.then_some(stream)
            }
        };
        let tries: Vec<_> = (0..AT_ONCE).map(|n| scope.spawn(open(n))).collect();
        let tries = tries.into_iter().map(|thread| thread.join().expect("ran"));
        let opened = tries.collect();
        done.store(true, Ordering::Release);
        watch.join().expect("ran");
        opened
    });
    assert_eq!(opened.iter().flatten().count(), 5);
    assert_eq!((places(&redis), most.into_inner()), (5, 5));
    let skipped = |node: &Node| node.metric("sluice_leases_skipped_total");
    assert_eq!(nodes.iter().map(skipped).sum::<f64>(), 0.0);
}

/// Streams live on for many times as long as a place lasts, and stay counted.
#[test]
fn places_are_renewed_for_as_long_as_their_streams_live() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "1"),
        ("LIMITS__SUBJECT_LEASE", "900ms"),
    ];
    let nodes = [(); 2].map(|()| node(&redis, &limits));
    let ann = bearer_for_all("ann");
    let stream = nodes[0].stream("channel=a", &[("Authorization", &ann)]);
    let window = Duration::from_millis(3_000);
    stays("nobody else is let in", &429, window, || {
        status(&nodes[1], &ann)
    });
    drop(stream);
    wait("the key is gone with its places", &0, PATIENCE, || {
        redis.run::<usize>(&["EXISTS", ANN])
    });
}

/// A node that is killed gives nothing back; its places end by themselves, and not before.
#[test]
fn the_places_of_a_killed_node_are_free_again() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "1"),
        ("LIMITS__SUBJECT_LEASE", "2s"),
    ];
    let node = node(&redis, &limits);
    let url = redis.url();
    let dying = [("BROKER__MODE", "redis"), ("REDIS__URL", url.as_str())];
    let dying = Process::start(&settings(&[&dying[..], &limits].concat()));
    let ann = bearer_for_all("ann");
    let headers = [("Authorization", ann.as_str())];
    let _stream = Events::open(dying.public, "/v1/events?channel=a", &headers);
    assert_eq!(status(&node, &ann), 429);
    // Dropped, the process is killed.
    drop(dying);
    let since = Instant::now();
    assert_eq!(places(&redis), 1, "nothing was given back");
    find("the place is free", Duration::from_secs(4), || {
        let headers = [headers[0], ("Accept", "text/event-stream")];
        let mut stream = Events::open(node.public, "/v1/events?channel=a", &headers);
        let is_open = stream.header("transfer-encoding") == Some("chunked");
        (is_open && stream.next().event == "sluice.open").then_some(())
    });
    assert!(since.elapsed() > Duration::from_millis(500), "it was held");
}

/// While Redis does not answer streams open all the same, within their usual wait and a second more; they are counted
/// once it does.
#[test]
fn streams_open_without_redis_and_are_counted_afterwards() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "2"),
        ("LIMITS__SUBJECT_LEASE", "1500ms"),
        ("STREAM__OPEN_WAIT", "300ms"),
    ];
    let node = node(&redis, &limits);
    let ann = bearer_for_all("ann");
    redis.freeze();
    let since = Instant::now();
    let streams = [(); 3].map(|()| node.stream("channel=a", &[("Authorization", &ann)]));
    assert!(since.elapsed() < Duration::from_secs(8), "{since:?}");
    assert_eq!(node.metric("sluice_leases_skipped_total"), 3.0);
    assert_eq!(node.metric("sluice_leases"), 3.0);
    redis.thaw();
    wait("all are counted", &3, PATIENCE, || places(&redis));
    assert_eq!(status(&node, &ann), 429);
    drop(streams);
}

/// Redis has lost everything: the places of streams that live are written anew, each under its old name.
#[test]
fn places_come_back_after_redis_has_forgotten_them() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "2"),
        ("LIMITS__SUBJECT_LEASE", "900ms"),
    ];
    let node = node(&redis, &limits);
    let ann = bearer_for_all("ann");
    let streams = [(); 2].map(|()| node.stream("channel=a", &[("Authorization", &ann)]));
    let members = || redis.run::<BTreeSet<String>>(&["ZRANGE", ANN, "0", "-1"]);
    let before = members();
    let _: () = redis.run(&["DEL", ANN]);
    wait("they are back", &before, PATIENCE, members);
    for id in streams.iter().map(connection).filter(|id| !id.is_empty()) {
        assert!(before.iter().any(|member| member.ends_with(&id)), "{id}");
    }
}

/// A key that somebody else has written to costs its own subject's limit and nobody else's.
#[test]
fn a_broken_key_disturbs_nobody_else() {
    let redis = RedisServer::start();
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "1"),
        ("LIMITS__SUBJECT_LEASE", "900ms"),
    ];
    let node = node(&redis, &limits);
    let (ann, bob) = (bearer_for_all("ann"), bearer_for_all("bob"));
    let _: () = redis.run(&["SET", ANN, "no places"]);
    let _first = node.stream("channel=a", &[("Authorization", &ann)]);
    let _second = node.stream("channel=a", &[("Authorization", &ann)]);
    assert_eq!(node.metric("sluice_leases_skipped_total"), 2.0);
    let _bobs = node.stream("channel=a", &[("Authorization", &bob)]);
    let window = Duration::from_millis(2_000);
    stays("bob's place is renewed", &429, window, || {
        status(&node, &bob)
    });
}

/// Callers without a subject are not counted by it.
#[test]
fn anonymous_callers_have_no_subject() {
    let redis = RedisServer::start();
    let limits = [("LIMITS__CONNECTIONS_PER_SUBJECT", "1")];
    let node = Node::redis(&redis.url(), &limits).ready();
    let _streams = [(); 3].map(|()| node.stream("channel=a", &[]));
    assert_eq!(node.metric("sluice_leases"), 0.0);
    let keys: Vec<String> = redis.run(&["KEYS", "*lease*"]);
    assert!(keys.is_empty(), "{keys:?}");
}

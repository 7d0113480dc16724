//! The node's canary at the edge: it goes the way of every client, and takes nothing from any.

use std::io::Write as _;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use sluice_gateway::reasons::LimitName;

use crate::clients::Certificates;
use crate::harness::admin::ADMIN;
use crate::harness::ground::Backend;
use crate::harness::http::{self, call, connect, request};
use crate::harness::node::{Node, id};
use crate::harness::process::Process;
use crate::harness::tokens::{bearer_for_all, settings};
use crate::harness::{CANARY, PATIENCE, find, stays, wait};

const OK: &str = "sluice_canary_probes_total{outcome=\"ok\"}";
const FAILED: [&str; 3] = [
    "sluice_canary_probes_total{outcome=\"timeout\"}",
    "sluice_canary_probes_total{outcome=\"publish_failed\"}",
    "sluice_canary_probes_total{outcome=\"stream_failed\"}",
];
const COUNT: &str = "sluice_canary_latency_seconds_count";
const SOME: Duration = Duration::from_millis(600);

/// Waits for so many more good probes, and for no bad one.
fn sings(node: &Node, times: f64) {
    let before = node.metric(OK);
    find("its probes come back", PATIENCE, || {
        (node.metric(OK) >= before + times).then_some(())
    });
    for failed in FAILED {
        assert_eq!(node.metric(failed), 0.0, "{failed}");
    }
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [CANARY, more].concat()
}

/// The whole way, on either broker: each probe is read back and timed, over one stream that stays open.
#[rstest]
#[case::embedded(Backend::Embedded)]
#[case::redis(Backend::Redis)]
fn probes_come_back_and_are_timed(#[case] backend: Backend) {
    let ground = backend.start(&with(&[]));
    let node = &ground.node;
    sings(node, 5.0);
    assert_eq!(node.metric("sluice_canary_enabled"), 1.0);
    // Read in this order: each probe is counted after it is timed.
    let counted = node.metric(OK);
    assert!(node.metric(COUNT) >= counted);
    let sum = node.metric("sluice_canary_latency_seconds_sum");
    assert!(sum > 0.0 && sum < 10.0 * node.metric(COUNT), "{sum}");
    assert_eq!(
        node.metric("sluice_syncs_total{cause=\"subscribe\"}"),
        1.0,
        "one stream for all probes"
    );
}

/// No number of users has it: not their streams, nor what is delivered to them, nor lists of them.
#[test]
fn no_number_of_users_has_the_canary() {
    let node = Node::embedded(&with(&[("ADMIN__TOKEN", ADMIN)])).ready();
    sings(&node, 3.0);
    for sample in [
        "sluice_connections",
        "sluice_connections_opened_total",
        "sluice_subscriptions",
        "sluice_events_delivered_total",
        "sluice_bytes_sent_total",
        "sluice_delivery_latency_seconds_count",
        "sluice_connection_duration_seconds_count",
        "sluice_published_total{outcome=\"accepted\"}",
        "sluice_replay_requests_total{outcome=\"current\"}",
    ] {
        assert_eq!(node.metric(sample), 0.0, "{sample}");
    }
    let token = format!("Bearer {ADMIN}");
    let headers = [("Authorization", token.as_str())];
    let listed = call(node.admin, "GET", "/admin/connections", &headers, b"");
    assert_eq!(listed.status, 200, "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.body).expect("JSON");
    assert_eq!(
        (&listed["connections"], &listed["left_out"]),
        (&json!([]), &json!(0))
    );
    // What the node does for it is work of the node, and counted as such.
    assert!(node.metric("sluice_events_received_total{source=\"pubsub\"}") >= 3.0);
    assert_eq!(node.metric("sluice_channels"), 1.0);
}

/// With every place of a user taken, the user has it whether the canary was there before or not; and the canary, whose
/// streams reach their greatest age again and again, comes in each time.
#[test]
fn the_canary_takes_nobodys_place_and_is_refused_by_no_limit() {
    const SOCKETS: usize = 3;
    let settings = settings(&with(&[
        ("LIMITS__CONNECTIONS", "1"),
        ("LIMITS__CONNECTIONS_PER_IP", "1"),
        ("LIMITS__SOCKETS_PER_IP", "3"),
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_BURST", "1"),
        ("LIMITS__NEW_HEADS_PER_SECOND", "1"),
        ("LIMITS__EMBEDDED_CHANNELS", "1"),
        ("HTTP__HEAD_TIMEOUT", "1m"),
        ("STREAM__MAX_AGE", "1s"),
        ("STREAM__HEARTBEAT", "1s"),
    ]));
    let node = Node::embedded(&settings).ready();
    sings(&node, 2.0);
    // A poll, since a stream would reach its greatest age, too.
    let token = bearer_for_all("u");
    let headers = [("Authorization", token.as_str())];
    let published = node.post("a", &headers, b"x");
    let target = format!(
        "/v1/poll?channel=a&timeout=50s&last_event_id={}",
        id(&published)
    );
    let mut user = connect(node.public).expect("connected");
    user.write_all(&request("GET", &target, &headers, b""))
        .expect("sent");
    wait("the user is in", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    let idle: Vec<_> = (1..SOCKETS).map(|_| connect(node.public)).collect();
    sings(&node, 30.0);
    for limit in LimitName::ALL {
        let sample = format!("sluice_limit_hits_total{{limit=\"{limit}\"}}");
        assert_eq!(node.metric(&sample), 0.0, "{limit}");
    }
    let crowd = "sluice_transport_ended_total{cause=\"crowd\"}";
    assert_eq!(node.metric(crowd), 0.0);
    assert_eq!(
        node.metric("sluice_connections"),
        1.0,
        "the user is still in"
    );
    // All the user's sockets are taken: one more is not let in.
    http::try_call(node.public, "GET", "/v1/events?channel=a", &headers, b"");
    assert_eq!(node.metric(crowd), 1.0);
    drop((user, idle));
}

/// Where even sockets are used up its stream stays as it is; ended, no other can begin, and that is told as what it is.
#[test]
fn without_a_socket_to_be_had_its_stream_fails_and_heals() {
    let node = Process::start(&[
        ("CANARY__ENABLED", "true"),
        ("CANARY__INTERVAL", "100ms"),
        ("CANARY__TIMEOUT", "1s"),
        ("LIMITS__CONNECTIONS", "1"),
        ("HTTP__HEAD_TIMEOUT", "1m"),
        ("STREAM__MAX_AGE", "2s"),
        ("STREAM__HEARTBEAT", "1s"),
    ]);
    find("it sings", PATIENCE, || {
        (node.metric(OK) >= 1.0).then_some(())
    });
    // More than a worker takes: its one stream, and 1024 sockets besides.
    let sockets: Vec<_> = (0..1_100).map(|_| connect(node.public)).collect();
    let [_, _, stream_failed] = FAILED;
    find("it has no stream", PATIENCE, || {
        (node.metric(stream_failed) >= 1.0).then_some(())
    });
    assert_eq!(call(node.admin, "GET", "/readyz", &[], b"").status, 200);
    find("the log says why", PATIENCE, || {
        let log = node.log();
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("the canary fails"))?;
        // Which of its probes was the first to fail, and over what, is chance.
        assert!(
            line.contains("why=\"") && !line.contains("why=\"\""),
            "{line}"
        );
        Some(())
    });
    drop(sockets);
    let before = node.metric(OK);
    find("it is well again", PATIENCE, || {
        (node.metric(OK) >= before + 3.0).then_some(())
    });
}

/// It believes the certificate that its own listener shows, whoever signed it and whatever its names, and no other.
#[test]
fn it_speaks_tls_where_the_listener_does() {
    let certificates = Certificates::made();
    let files = certificates.settings();
    let tls: Vec<(&str, &str)> = files
        .iter()
        .map(|(key, file)| (*key, file.as_str()))
        .collect();
    let node = Node::embedded(&with(
        &[
            &tls[..],
            &[
                ("TLS__RELOAD_INTERVAL", "100ms"),
                ("STREAM__MAX_AGE", "1s"),
                ("STREAM__HEARTBEAT", "1s"),
            ],
        ]
        .concat(),
    ))
    .ready();
    sings(&node, 3.0);
    assert_eq!(
        node.metric("sluice_transport_ended_total{cause=\"handshake_failed\"}"),
        0.0
    );
    // Another certificate in use: the next of its streams believes that one.
    certificates.renew();
    wait("the other is in use", &1.0, PATIENCE, || {
        node.metric("sluice_tls_reloads_total{outcome=\"loaded\"}")
    });
    sings(&node, 25.0);
}

/// A listener on all addresses is reached on loopback.
#[rstest]
#[case("0.0.0.0")]
#[case("[::]")]
fn it_finds_a_listener_on_all_addresses(#[case] address: &str) {
    let node = Node::bound(&format!("{address}:0"), CANARY).ready();
    sings(&node, 2.0);
}

/// Nobody reads or publishes on a canary's channel: not with the scheme and a guess, not with a token for everything, and
/// not without anything.
#[rstest]
#[case::anonymous(&[])]
#[case::jwt(&settings(&[]))]
fn nobody_else_reads_or_publishes_on_it(#[case] mode: &[(&str, &str)]) {
    let node = Node::embedded(&with(&[mode, &[("NODE__NAME", "n1")]].concat())).ready();
    sings(&node, 1.0);
    let channel = "_canary.n1-676b8bb84ce7267d";
    let guess = format!("Sluice-Canary {}", "0".repeat(64));
    let token = bearer_for_all("u");
    let is_open = mode.is_empty();
    for authorization in [None, Some("Sluice-Canary"), Some(&*guess), Some(&*token)] {
        let headers: Vec<(&str, &str)> = authorization
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        for target in [
            format!("/v1/events?channel={channel}"),
            format!("/v1/events?channel=a&channel={channel}"),
            format!("/v1/poll?channel={channel}"),
            format!("/v1/channels/{channel}/events"),
        ] {
            let answer = node.get(&target, &headers);
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (400, "reserved_channel"),
                "{target} {authorization:?}"
            );
        }
        // Without a channel's name, a token's own channels are read: here there are none.
        let answer = node.get("/v1/events", &headers);
        assert!(
            [400, 401].contains(&answer.status),
            "{authorization:?} {answer:?}"
        );
        assert_eq!(
            node.post(channel, &headers, b"x").status,
            400,
            "{authorization:?}"
        );
        let line = format!("{{\"channel\":\"{channel}\",\"data\":\"x\"}}\n");
        let batch = call(
            node.public,
            "POST",
            "/v1/publish",
            &headers,
            line.as_bytes(),
        );
        let refused = batch.status == 401 || batch.body.contains("reserved_channel");
        assert!(refused, "{authorization:?} {batch:?}");
        if is_open || authorization == Some(&*token) {
            assert_eq!(
                node.post("a", &headers, b"x").status,
                201,
                "others are as ever"
            );
        }
    }
    assert_eq!(node.metric("sluice_connections_opened_total"), 0.0);
    for failed in FAILED {
        assert_eq!(node.metric(failed), 0.0);
    }
}

/// Switched off there is no stream, no probe and no channel.
#[test]
fn switched_off_there_is_nothing() {
    let node = Node::embedded(&with(&[("CANARY__ENABLED", "false")])).ready();
    stays("no channel", &(0.0, 0.0), SOME, || {
        (node.metric("sluice_channels"), node.metric(OK))
    });
    assert_eq!(node.metric("sluice_canary_enabled"), 0.0);
}

/// A drain waits for users, not for the canary, which leaves at its beginning and counts no failure.
#[test]
fn a_drain_does_not_wait_for_it() {
    let mut process = Process::start(&with(&[
        ("DRAIN__DEADLINE", "30s"),
        ("DRAIN__READINESS_LEAD", "0s"),
        ("LOG__FORMAT", "json"),
    ]));
    find("it sings", PATIENCE, || {
        (process.metric(OK) >= 2.0).then_some(())
    });
    process.terminate();
    let ended = process.exit(Duration::from_secs(10));
    assert!(ended.success(), "{ended:?}");
    let log = process.log();
    assert!(
        log.contains("\"streams\":0") && !log.contains("the canary fails"),
        "{log}"
    );
    assert!(!log.contains("Sluice-Canary"), "{log}");
}

/// Streams that users have are drained as ever while the canary has gone.
#[test]
fn users_are_drained_as_ever() {
    let mut node = Node::embedded(&with(&[
        ("DRAIN__DEADLINE", "1s"),
        ("DRAIN__READINESS_LEAD", "0s"),
    ]))
    .ready();
    sings(&node, 2.0);
    let mut stream = node.stream("channel=a", &[]);
    node.leave();
    let close = stream.next();
    assert_eq!(
        (close.event.as_str(), &close.json()["reason"]),
        ("sluice.close", &Value::from("drain"))
    );
    node.ended(PATIENCE);
}

/// However verbose the log, the secret is not in it.
#[test]
fn its_secret_is_never_told() {
    let process = Process::start(&with(&[
        ("LOG__FILTER", "trace"),
        ("STREAM__MAX_AGE", "1s"),
        ("STREAM__HEARTBEAT", "1s"),
    ]));
    find("a stream of it has ended", PATIENCE, || {
        let told = process.log().contains("the canary's stream ended");
        (told && process.metric(OK) >= 2.0).then_some(())
    });
    let metrics = call(process.admin, "GET", "/metrics", &[], b"");
    let said = [process.log(), process.said(), metrics.body].concat();
    assert!(said.contains("TRACE"));
    assert!(!said.contains("Sluice-Canary"));
    let words = said.split(|c: char| !c.is_ascii_hexdigit());
    let secrets = words.filter(|word| word.len() == 64).count();
    assert_eq!(secrets, 0, "nothing that looks like it");
}

/// A stream that has reached its greatest age is followed by another, which goes on where it was: no probe fails for it.
#[test]
fn it_comes_back_by_cursor() {
    let process = Process::start(&with(&[
        ("STREAM__MAX_AGE", "1s"),
        ("STREAM__HEARTBEAT", "1s"),
        ("LOG__FILTER", "sluice_gateway=debug"),
    ]));
    let ends = || process.log().matches("the canary's stream ended").count();
    find("three of its streams have ended", PATIENCE, || {
        (ends() >= 3).then_some(())
    });
    let before = process.metric(OK);
    find("it sings", PATIENCE, || {
        (process.metric(OK) >= before + 2.0).then_some(())
    });
    for failed in FAILED {
        assert_eq!(process.metric(failed), 0.0, "{failed}");
    }
    let reset = process.metric("sluice_resets_told_total{reason=\"bad_cursor\"}");
    assert_eq!(reset, 0.0);
}

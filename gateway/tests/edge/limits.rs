//! What each client address and each subject may have: the last that is let in, and the one after it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::harness::http::{Answer, Events, call, connect, request};
use crate::harness::node::Node;
use crate::harness::tokens::{SETTINGS, bearer_for_all};
use crate::harness::{PATIENCE, wait};

const EVENT_SOURCE: (&str, &str) = ("Accept", "text/event-stream");
const BEHIND_A_PROXY: (&str, &str) = ("HTTP__TRUSTED_PROXIES", "127.0.0.0/8");

pub fn hits(node: &Node, limit: &str) -> f64 {
    node.metric(&format!("sluice_limit_hits_total{{limit=\"{limit}\"}}"))
}

/// What an EventSource is told that may not open: one block and the end. Gives its wait.
fn told_to_come_later(node: &Node, reason: &str, headers: &[(&str, &str)]) -> u64 {
    let headers = [headers, &[EVENT_SOURCE]].concat();
    let answer = node.get("/v1/events?channel=a", &headers);
    assert_eq!(answer.status, 200, "{answer:?}");
    let data = format!("data: {{\"reason\":\"{reason}\"}}\n");
    assert!(answer.body.contains("event: sluice.close\n"), "{answer:?}");
    assert!(answer.body.contains(&data), "{answer:?}");
    let retry = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("retry: "));
    retry.expect("a wait").parse().expect("a number")
}

/// What others are told: the limit by its name, and when to come back.
fn told_429(answer: &Answer, code: &str, limit: &str) {
    assert_eq!((answer.status, answer.problem().as_str()), (429, code));
    let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(problem["limit"], limit);
    let wait: u64 = answer
        .header("retry-after")
        .expect("told")
        .parse()
        .expect("seconds");
    assert!(wait >= 1);
}

/// Streams and polls of one address are counted together, of another apart, whatever else the client claims; one that
/// ends makes room.
#[test]
fn an_address_has_so_many_streams_and_no_more() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS_PER_IP", "2"), BEHIND_A_PROXY]).ready();
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let first = node.stream("channel=a", &from("198.51.100.7"));
    let _second = node.stream("channel=a", &from("1.1.1.1, 198.51.100.7"));
    for spoofed in [
        "198.51.100.7",
        "203.0.113.9, 198.51.100.7",
        "what?, ::ffff:198.51.100.7",
    ] {
        let wait = told_to_come_later(&node, "limit", &from(spoofed));
        // `stream.overload_retry` is 20 s: half of it to one and a half.
        assert!((10_000..=30_000).contains(&wait), "{wait}");
        for target in ["/v1/events?channel=a", "/v1/poll?channel=a"] {
            let answer = node.get(target, &from(spoofed));
            told_429(&answer, "too_many_connections", "connections_per_ip");
        }
    }
    assert_eq!(hits(&node, "connections_per_ip"), 9.0);
    let rejected = "sluice_connections_rejected_total{reason=\"limit\"}";
    assert_eq!(node.metric(rejected), 9.0);
    let _another = node.stream("channel=a", &from("198.51.100.8"));
    drop(first);
    wait("one has ended", &2.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    drop(node.stream("channel=a", &from("198.51.100.7")));
}

/// Whatever they are for: the last that is let in is answered, the next is closed unheard, and one that goes makes room. A
/// trusted proxy speaks for many.
#[test]
fn an_address_has_so_many_sockets_and_no_more() {
    let node = Node::embedded(&[("LIMITS__SOCKETS_PER_IP", "2")]).ready();
    let ask = |socket: &mut std::net::TcpStream| {
        let request = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut answer = [0; 12];
        let asked = socket
            .write_all(request)
            .and_then(|()| socket.read_exact(&mut answer));
        asked.is_ok_and(|()| answer.starts_with(b"HTTP/1.1 404"))
    };
    let mut sockets: Vec<_> = (0..2)
        .map(|_| connect(node.public).expect("connected"))
        .collect();
    assert!(sockets.iter_mut().all(&ask));
    let mut one_more = connect(node.public).expect("accepted by the system");
    assert!(!ask(&mut one_more), "not heard");
    let closed = "sluice_transport_ended_total{cause=\"crowd\"}";
    assert_eq!(node.metric(closed), 1.0);
    drop(sockets.pop());
    wait("one has gone", &true, PATIENCE, || {
        ask(&mut connect(node.public).expect("connected"))
    });
    let proxied = Node::embedded(&[("LIMITS__SOCKETS_PER_IP", "2"), BEHIND_A_PROXY]).ready();
    let mut many: Vec<_> = (0..5)
        .map(|_| connect(proxied.public).expect("connected"))
        .collect();
    assert!(many.iter_mut().all(ask));
}

/// One IPv6 host can have a whole /64 to itself, and counts as one.
#[test]
fn an_ipv6_client_counts_by_its_64_bits() {
    let node = Node::embedded(&[("LIMITS__CONNECTIONS_PER_IP", "1"), BEHIND_A_PROXY]).ready();
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let _first = node.stream("channel=a", &from("2001:db8:0:1::1"));
    let answer = node.get("/v1/events?channel=a", &from("[2001:db8:0:1:ffff::2]:443"));
    told_429(&answer, "too_many_connections", "connections_per_ip");
    drop(node.stream("channel=a", &from("2001:db8:0:2::1")));
}

/// A client that no proxy speaks for is whom its connection comes from; and only the header counts that was named.
#[rstest]
#[case::nobody_is_trusted(&[])]
#[case::others_are_trusted(&[("HTTP__TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.2")])]
#[case::the_other_header(&[BEHIND_A_PROXY, ("HTTP__FORWARDED_HEADER", "forwarded")])]
fn a_client_cannot_name_itself(#[case] settings: &[(&str, &str)]) {
    let settings = [settings, &[("LIMITS__CONNECTIONS_PER_IP", "1")]].concat();
    let node = Node::embedded(&settings).ready();
    let _first = node.stream("channel=a", &[("X-Forwarded-For", "198.51.100.7")]);
    let answer = node.get(
        "/v1/events?channel=a",
        &[("X-Forwarded-For", "198.51.100.8")],
    );
    told_429(&answer, "too_many_connections", "connections_per_ip");
}

/// With `forwarded` the header of RFC 7239 is read.
#[test]
fn the_standard_header_can_be_named_instead() {
    let settings = [
        BEHIND_A_PROXY,
        ("HTTP__FORWARDED_HEADER", "forwarded"),
        ("LIMITS__CONNECTIONS_PER_IP", "1"),
    ];
    let node = Node::embedded(&settings).ready();
    let from = |value: &'static str| [("Forwarded", value)];
    let _first = node.stream("channel=a", &from("for=198.51.100.7;proto=https"));
    let answer = node.get(
        "/v1/events?channel=a",
        &from("for=x, For=\"198.51.100.7:80\""),
    );
    told_429(&answer, "too_many_connections", "connections_per_ip");
    drop(node.stream("channel=a", &from("for=198.51.100.8")));
}

/// Calls until it is told to wait, and checks that a burst of three and one a second were let through.
fn calls_until_refused(mut call: impl FnMut() -> Answer) -> (usize, Answer) {
    let since = Instant::now();
    for count in 0.. {
        let answer = call();
        if answer.status == 429 {
            let earned = since.elapsed().as_secs() as usize + 1;
            assert!((3..=3 + earned).contains(&count), "{count} in {earned} s");
            return (count, answer);
        }
    }
    unreachable!("it is refused in the end")
}

/// The fourth try at once is refused before its token is looked at; another address is not.
#[test]
fn an_address_tries_so_often_and_no_more() {
    let limits = [
        ("LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_BURST", "3"),
        BEHIND_A_PROXY,
    ];
    let node = Node::embedded(&[&SETTINGS[..], &limits].concat()).ready();
    let headers = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("Authorization", "Bearer forged"),
    ];
    let targets = ["/v1/events?channel=a", "/v1/poll?channel=a"];
    let mut turn = 0;
    let (looked_at, refused) = calls_until_refused(|| {
        turn += 1;
        let answer = node.get(targets[turn % 2], &headers);
        assert!([401, 429].contains(&answer.status), "{answer:?}");
        answer
    });
    told_429(&refused, "too_many_attempts", "attempts_per_ip");
    let failures = "sluice_auth_failures_total{code=\"invalid_token\"}";
    assert_eq!(node.metric(failures), looked_at as f64);
    assert!(hits(&node, "attempts_per_ip") >= 1.0);
    let target = "/v1/events/AAAAAAAAAAAAAAAAAAAAAA/token";
    let renew = || call(node.public, "POST", target, &headers, b"");
    let (_, refused) = calls_until_refused_again(renew);
    told_429(&refused, "too_many_attempts", "attempts_per_ip");
    let other = [("X-Forwarded-For", "198.51.100.8"), headers[1]];
    assert_eq!(node.get(targets[0], &other).status, 401);
}

/// An EventSource survives it; POST and HEAD count as well.
#[test]
fn an_event_source_that_tries_too_often_comes_back_later() {
    let node = Node::embedded(&[
        ("LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_BURST", "3"),
    ])
    .ready();
    let (_, refused) = calls_until_refused(|| {
        let body = br#"{"channels":[]}"#;
        call(node.public, "POST", "/v1/events", &[], body)
    });
    told_429(&refused, "too_many_attempts", "attempts_per_ip");
    for method in ["HEAD", "GET"] {
        let (_, refused) = calls_until_refused_again(|| {
            call(
                node.public,
                method,
                "/v1/poll?channel=a&timeout=0s",
                &[],
                b"",
            )
        });
        assert_eq!(refused.status, 429);
    }
    let place = "1763676000123-0.9f2c41aa";
    let headers = [EVENT_SOURCE, ("Last-Event-ID", place)];
    // Whoever has just been refused may not within the same second.
    let told = (0..5).find_map(|_| {
        let answer = node.get("/v1/events?channel=no%20channel", &headers);
        assert_eq!(answer.status, 400, "what will not pass is told as such");
        let text = first_block(&node, "/v1/events?channel=a", &headers);
        text.contains("sluice.close").then_some(text)
    });
    let told = told.expect("it is refused");
    assert!(told.contains("data: {\"reason\":\"limit\"}\n"), "{told}");
    assert!(told.contains(&format!("id: {place}\n")), "{told}");
}

/// An answer up to its first block, be it a stream's or a refusal's.
fn first_block(node: &Node, target: &str, headers: &[(&str, &str)]) -> String {
    let mut socket = connect(node.public).expect("connected");
    let request = request("GET", target, headers, b"");
    socket.write_all(&request).expect("sent");
    let mut text = String::new();
    while !text.contains("\n\n") {
        let mut some = [0; 4_096];
        let count = socket.read(&mut some).expect("an answer in time");
        assert!(count > 0, "cut: {text}");
        text += std::str::from_utf8(&some[..count]).expect("UTF-8");
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// The same when the burst is used up already.
fn calls_until_refused_again(mut call: impl FnMut() -> Answer) -> (usize, Answer) {
    let tries = 0..10;
    let mut answers = tries.map(|count| (count, call()));
    answers
        .find(|(_, answer)| answer.status == 429)
        .expect("it is refused in the end")
}

/// Whose rate is not remembered is let through, and that is counted.
#[test]
fn addresses_beyond_those_that_are_remembered_go_uncounted() {
    let node = Node::embedded(&[
        ("LIMITS__ATTEMPTS_PER_IP_PER_SECOND", "1"),
        ("LIMITS__ATTEMPTS_PER_IP_BURST", "60"),
        ("LIMITS__IP_ENTRIES", "1"),
        BEHIND_A_PROXY,
    ])
    .ready();
    let poll = |address: &str| {
        let headers = [("X-Forwarded-For", address)];
        node.get("/v1/poll?channel=a&timeout=0s", &headers).status
    };
    // It is ahead of its pace for some seconds, and so remembered.
    for _ in 0..20 {
        assert_eq!(poll("198.51.100.7"), 200);
    }
    assert_eq!(hits(&node, "ip_entries"), 0.0);
    for address in ["198.51.100.8", "198.51.100.9"] {
        assert_eq!(poll(address), 200);
    }
    assert_eq!(hits(&node, "ip_entries"), 2.0);
}

const PUBLISHING: [(&str, &str); 2] = [
    ("LIMITS__PUBLISHES_PER_SUBJECT_PER_SECOND", "1"),
    ("LIMITS__PUBLISHES_PER_SUBJECT_BURST", "3"),
];

/// The fourth event at once is refused, whichever channel it is for; another subject's is not.
#[test]
fn a_subject_publishes_so_much_and_no_more() {
    let node = Node::embedded(&[&SETTINGS[..], &PUBLISHING].concat()).ready();
    let (ann, bob) = (bearer_for_all("ann"), bearer_for_all("bob"));
    let mut turn = 0;
    let (accepted, refused) = calls_until_refused(|| {
        turn += 1;
        let headers = [("Authorization", ann.as_str())];
        node.post(&format!("c{turn}"), &headers, b"x")
    });
    told_429(&refused, "too_many_publishes", "publishes_per_subject");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let outcome = |label: &str| {
        let sample = format!("sluice_published_total{{outcome=\"{label}\"}}");
        node.metric(&sample)
    };
    assert_eq!(
        (outcome("accepted"), outcome("limited")),
        (accepted as f64, 1.0)
    );
    assert_eq!(hits(&node, "publishes_per_subject"), 1.0);
    let headers = [("Authorization", bob.as_str())];
    assert_eq!(node.post("c1", &headers, b"x").status, 201);
}

/// Without tokens an address is the publisher.
#[test]
fn an_anonymous_publisher_is_its_address() {
    let node = Node::embedded(&[&PUBLISHING[..], &[BEHIND_A_PROXY]].concat()).ready();
    let post = |address: &str| node.post("a", &[("X-Forwarded-For", address)], b"x");
    calls_until_refused(|| post("198.51.100.7"));
    assert_eq!(post("198.51.100.8").status, 201);
}

/// Of a batch that is over the rate the first lines are published and all later ones are not, so that they can be sent
/// again in their order. A line that is refused for itself costs nothing.
#[test]
fn a_batch_is_published_up_to_the_rate_and_not_beyond() {
    let node = Node::embedded(&PUBLISHING).ready();
    let mut lines = vec![r#"{"channel":"a"}"#.to_owned()];
    lines.extend((0..9).map(|n| format!(r#"{{"channel":"a","data":"{n}"}}"#)));
    let body = lines.join("\n");
    let answer = call(node.public, "POST", "/v1/publish", &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let answers: Vec<Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), 10);
    assert_eq!(answers[0]["error"]["code"], "bad_body");
    let published = answers[1..]
        .iter()
        .take_while(|answer| answer["id"].is_string())
        .count();
    // One more where the batch took a second.
    assert!((3..=4).contains(&published), "{answers:?}");
    for late in &answers[1 + published..] {
        assert_eq!(late["error"]["code"], "too_many_publishes", "{late}");
        assert_eq!(late["error"]["status"], 429);
        let detail = late["error"]["detail"].as_str().expect("a text");
        assert!(detail.contains("go on with this one in 1s"), "{detail}");
    }
    assert_eq!(hits(&node, "publishes_per_subject"), (9 - published) as f64);
    let page = node.get("/v1/channels/a/events", &[]);
    let page: Value = serde_json::from_str(&page.body).expect("JSON");
    let kept = page["events"].as_array().expect("a list");
    let data: Vec<&str> = kept
        .iter()
        .filter_map(|event| event["data"].as_str())
        .collect();
    assert_eq!(data, ["0", "1", "2", "3"][..published]);
}

/// On the embedded broker the node itself counts a subject's streams.
#[test]
fn a_subject_has_so_many_streams_on_a_node_without_redis() {
    let limits = [("LIMITS__CONNECTIONS_PER_SUBJECT", "2")];
    let node = Node::embedded(&[&SETTINGS[..], &limits].concat()).ready();
    let (ann, bob) = (bearer_for_all("ann"), bearer_for_all("bob"));
    let headers = [("Authorization", ann.as_str())];
    let first = node.stream("channel=a", &headers);
    let _second = node.stream("channel=b", &headers);
    told_to_come_later(&node, "limit", &headers);
    let answer = node.get("/v1/poll?channel=a", &headers);
    told_429(&answer, "too_many_connections", "connections_per_subject");
    assert_eq!(hits(&node, "connections_per_subject"), 2.0);
    assert_eq!(node.metric("sluice_leases"), 2.0);
    drop(node.stream("channel=a", &[("Authorization", bob.as_str())]));
    drop(first);
    wait("one has ended", &1.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    drop(node.stream("channel=a", &headers));
}

/// Where the oldest makes room, it is told so, with its place and a wait long enough that two tabs do not fight.
#[test]
fn the_oldest_stream_makes_room_where_it_is_to() {
    let limits = [
        ("LIMITS__CONNECTIONS_PER_SUBJECT", "2"),
        ("LIMITS__SUBJECT_POLICY", "evict_oldest"),
    ];
    let node = Node::embedded(&[&SETTINGS[..], &limits].concat()).ready();
    let ann = bearer_for_all("ann");
    let headers = [("Authorization", ann.as_str())];
    let mut streams: Vec<Events> = Vec::new();
    for _ in 0..2 {
        streams.push(node.stream("channel=a", &headers));
    }
    let place = node.post("a", &headers, b"x");
    let place = crate::harness::node::id(&place);
    streams.push(node.stream("channel=a", &headers));
    let mut oldest = streams.remove(0);
    assert_eq!(oldest.next().id(), place);
    let close = oldest.next();
    assert_eq!(
        (close.event.as_str(), close.id()),
        ("sluice.close", place.as_str())
    );
    assert_eq!(close.json()["reason"], "limit");
    assert!((10_000..=30_000).contains(&close.retry.expect("a wait")));
    assert!(oldest.rest().is_empty());
    let closed = "sluice_connections_closed_total{reason=\"limit\"}";
    wait("it is counted", &1.0, Duration::from_secs(5), || {
        node.metric(closed)
    });
    assert_eq!(hits(&node, "connections_per_subject"), 1.0);
    node.post("a", &headers, b"y");
    assert_eq!(streams[0].data(2), ["x", "y"]);
    assert_eq!(streams[1].data(1), ["y"]);
}

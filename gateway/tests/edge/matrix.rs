//! The authorisation matrix: tokens × channels × ways to ask, each answer compared with what a matcher of its own says,
//! and nothing of a channel that is not granted in any of them. What is not granted does not reach an open stream either.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rstest::rstest;
use serde_json::{Value, json};

use self::table::{Action, CALLERS, CHANNELS, Caller, LOBBY, WAYS, Way, is_granted};
use crate::harness::ground::{Backend, Ground};
use crate::harness::http::{self, Events};
use crate::harness::node::Node;

const SECRET: &str = "a secret of the matrix, of thirty-two bytes or more";
/// The fewest pairs of a token's pattern set, an action and a channel that the matrix must have.
const PAIRS_LEAST: usize = 200;

/// The table's matcher is right where people would look.
#[rstest]
#[case("ann", Action::Subscribe, &[LOBBY, "orders.eu", "orders.eu2", "user.ann", "user.ann.inbox"])]
#[case("bob", Action::Subscribe, &[LOBBY, "orders.eu", "orders.eu2", "orders.eu.north", "orders.eu.north.1"])]
#[case("bob", Action::Publish, &[LOBBY, "orders", "orders.eu", "orders.eu2", "user", "private"])]
#[case("middle", Action::Subscribe, &[LOBBY, "orders.eu", "Orders.eu", "orders.eu.north"])]
#[case("one", Action::Subscribe, &[LOBBY, "orders", "user", "private"])]
#[case("inside", Action::Subscribe, &[LOBBY])]
#[case("inside", Action::Publish, &[])]
#[case("*", Action::Subscribe, &[LOBBY])]
#[case("**", Action::Subscribe, &[LOBBY])]
#[case("**", Action::Publish, &[])]
#[case("ann.inbox", Action::Subscribe, &[LOBBY])]
#[case("nobody", Action::Subscribe, &[])]
fn the_matrix_expects_what_people_would(
    #[case] sub: &str,
    #[case] action: Action,
    #[case] expected: &[&str],
) {
    let caller = CALLERS.iter().find(|caller| caller.sub == sub);
    let caller = caller.expect("one of the callers");
    let granted = CHANNELS.iter().copied();
    let granted: Vec<&str> = granted
        .filter(|name| is_granted(caller, action, name))
        .collect();
    assert_eq!(granted, expected);
}

fn bearer(sub: &str, subscribe: &[&str], publish: &[&str]) -> String {
    let claims = json!({
        "sub": sub,
        "exp": jsonwebtoken::get_current_timestamp() + 600,
        "sluice": {"subscribe": subscribe, "publish": publish},
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    format!("Bearer {}", token.expect("signed"))
}

/// What is in a channel before anybody asks; no other text has it.
fn canary(channel: &str) -> String {
    format!("canary-of-<{channel}>")
}

/// A node with tokens and an event in each channel that can have one.
fn stage(backend: Backend) -> Ground {
    let ground = backend.start(&[("AUTH__MODE", "jwt"), ("AUTH__JWT__SECRET", SECRET)]);
    for channel in CHANNELS.iter().filter(|name| !name.starts_with('_')) {
        let root = bearer("root", &["**"], &["**"]);
        let headers = [("Authorization", root.as_str())];
        let answer = ground
            .node
            .post(channel, &headers, canary(channel).as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    ground
}

/// The status and text of an answer; of a stream that opens, what it has said until it is open.
fn ask(node: &Node, way: Way, channel: &str, token: &str) -> (u16, String) {
    let (method, target, header, body) = way.request(channel);
    let headers = [("Authorization", token), header, ("Connection", "close")];
    let mut socket = http::connect(node.public).expect("a connection");
    socket
        .write_all(&http::request(method, &target, &headers, body.as_bytes()))
        .expect("sent");
    let mut text = Vec::new();
    let mut some = [0; 16_384];
    loop {
        let count = socket.read(&mut some).expect("an answer in time");
        text.extend_from_slice(&some[..count]);
        let said = String::from_utf8_lossy(&text);
        let is_open = way != Way::BatchLine && said.contains("sluice.open");
        if count == 0 || is_open {
            let status = said.get(9..12).and_then(|status| status.parse().ok());
            return (
                status.unwrap_or_else(|| panic!("no status: {said:?}")),
                said.into_owned(),
            );
        }
    }
}

/// The status and code that an answer tells; of a batch, those of its one line.
fn told(way: Way, status: u16, text: &str) -> (u16, Option<String>) {
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let object = body.find('{').zip(body.rfind('}'));
    let object =
        object.and_then(|(begin, end)| serde_json::from_str::<Value>(&body[begin..=end]).ok());
    let object = object.unwrap_or_default();
    let problem = if way == Way::BatchLine && status == 200 {
        &object["error"]
    } else {
        &object
    };
    let code = problem["code"].as_str().map(str::to_owned);
    let told = problem["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    (told.filter(|_| code.is_some()).unwrap_or(status), code)
}

/// The answer that a caller must get.
fn expected(caller: &Caller, way: Way, channel: &str) -> (u16, Option<String>) {
    let refused = |status, code: &str| {
        // The answer to HEAD has no body to tell a code in.
        (status, (way != Way::Head).then(|| code.to_owned()))
    };
    let names = way.names(channel);
    if caller.sub.is_empty() {
        return refused(401, "invalid_token");
    }
    if names.iter().any(|name| name.starts_with('_')) {
        return refused(400, "reserved_channel");
    }
    if names
        .iter()
        .all(|name| is_granted(caller, way.action(), name))
    {
        return (way.success(), None);
    }
    refused(403, "insufficient_scope")
}

/// Every caller asks for every channel in every way: each gets the status and code that the table says, and no answer, refusal
/// or not, has an event of a channel that is not granted. What was refused was not published.
#[rstest]
fn nobody_gets_at_a_channel_that_is_not_granted(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = stage(backend);
    let node = &ground.node;
    let (mut pairs, mut asked, mut allowed, mut refused) = (BTreeSet::new(), 0, 0, 0_u32);
    let mut published: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for caller in CALLERS {
        let token = bearer(caller.sub, caller.subscribe, caller.publish);
        for channel in CHANNELS {
            // Of two faults at once, either may be told.
            if caller.sub.is_empty() && channel.starts_with('_') {
                continue;
            }
            for way in WAYS {
                let (status, text) = ask(node, *way, channel, &token);
                let (expected, told) = (expected(caller, *way, channel), told(*way, status, &text));
                if told != expected {
                    wrong.push(format!(
                        "{:?} {way:?} {channel}: {told:?}, not {expected:?}",
                        caller.sub
                    ));
                }
                if told == (200, None) && way.brings_events() && !text.contains(&canary(channel)) {
                    wrong.push(format!("{:?} {way:?} {channel} has no event", caller.sub));
                }
                let leaked = CHANNELS.iter().filter(|name| text.contains(&canary(name)));
                wrong.extend(
                    leaked
                        .filter(|name| {
                            !is_granted(caller, Action::Subscribe, name) || told.1.is_some()
                        })
                        .map(|name| format!("{:?} {way:?} {channel} leaks {name}", caller.sub)),
                );
                pairs.insert((caller.sub, way.action(), *channel));
                asked += 1;
                if expected.1.is_none() && expected.0 < 300 {
                    allowed += 1;
                    *published.entry(channel).or_default() +=
                        usize::from(way.action() == Action::Publish);
                }
                refused += u32::from(expected.0 == 403);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(pairs.len() >= PAIRS_LEAST, "{} pairs", pairs.len());
    // Both answers are given often enough to mean something.
    assert!(
        allowed > 200 && refused > 1_000,
        "{allowed} allowed, {refused} refused"
    );
    println!(
        "{} pairs, {asked} requests, {allowed} allowed, {refused} refused for the channel",
        pairs.len()
    );
    let sample = "sluice_auth_failures_total{code=\"insufficient_scope\"}";
    assert_eq!(node.metric(sample), f64::from(refused));
    only_what_was_allowed_is_kept(node, &published);
}

/// Each channel keeps its canary and what was allowed to be published, and nothing else.
fn only_what_was_allowed_is_kept(node: &Node, published: &BTreeMap<&str, usize>) {
    let root = bearer("root", &["**"], &[]);
    for channel in CHANNELS.iter().filter(|name| !name.starts_with('_')) {
        let target = format!("/v1/channels/{channel}/events?limit=1000");
        let answer = node.get(&target, &[("Authorization", &root)]);
        let page: Value = serde_json::from_str(&answer.body).expect("JSON");
        let kept: Vec<&str> = page["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| event["data"].as_str().expect("a text"))
            .collect();
        let count = published.get(channel).copied().unwrap_or_default();
        let mut expected = vec![canary(channel)];
        expected.extend(std::iter::repeat_n(
            format!("published on {channel}"),
            count,
        ));
        assert_eq!(kept, expected, "{channel}");
    }
}

/// While streams of all callers are open on all that each is granted, every channel gets an event: each stream gets those of
/// its channels and no other.
#[rstest]
fn an_open_stream_gets_nothing_of_a_channel_that_is_not_granted(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = stage(backend);
    let node = &ground.node;
    let mut streams = Vec::new();
    for caller in CALLERS.iter().filter(|caller| !caller.sub.is_empty()) {
        let granted = CHANNELS.iter().copied();
        let granted: BTreeSet<&str> = granted
            .filter(|name| is_granted(caller, Action::Subscribe, name))
            .collect();
        if granted.is_empty() {
            continue;
        }
        let query: Vec<String> = granted
            .iter()
            .map(|name| format!("channel={name}"))
            .collect();
        let token = bearer(caller.sub, caller.subscribe, caller.publish);
        let target = format!("{}&envelope=json", query.join("&"));
        let stream = node.stream(&target, &[("Authorization", &token)]);
        streams.push((caller.sub, granted, stream));
    }
    assert!(streams.len() >= 10, "{} streams", streams.len());
    let root = bearer("root", &[], &["**"]);
    for round in ["live", "end"] {
        for channel in CHANNELS.iter().filter(|name| !name.starts_with('_')) {
            let answer = node.post(channel, &[("Authorization", &root)], round.as_bytes());
            assert_eq!(answer.status, 201);
        }
    }
    for (sub, granted, stream) in &mut streams {
        let seen = until_the_end(stream, granted);
        let expected: BTreeMap<String, Vec<String>> = granted
            .iter()
            .map(|name| {
                (
                    (*name).to_owned(),
                    vec!["live".to_owned(), "end".to_owned()],
                )
            })
            .collect();
        assert_eq!(seen, expected, "{sub:?}");
    }
}

/// What came of each channel until all of `granted` have had their last event.
fn until_the_end(stream: &mut Events, granted: &BTreeSet<&str>) -> BTreeMap<String, Vec<String>> {
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut ends = 0;
    while ends < granted.len() {
        let event = stream.next().json();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        ends += usize::from(text("data") == "end");
        seen.entry(text("channel")).or_default().push(text("data"));
    }
    seen
}

//! Pages of history: each event once, in order, with a cursor that goes on anywhere; and what cannot be proved, told.

use rstest::rstest;
use serde_json::{Value, json};

use crate::auth;
use crate::harness::ground::{Backend, Ground};
use crate::harness::http::{Answer, call};
use crate::harness::node::Node;

/// The page that `query` asks for.
fn page(node: &Node, query: &str) -> Value {
    let answer = node.get(&format!("/v1/channels/a/events?{query}"), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

fn data(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("a list");
    events
        .iter()
        .map(|event| event["data"].as_str().expect("a text"))
        .collect()
}

fn numbers(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

fn publish(node: &Node, from: u32, to: u32) -> Vec<String> {
    let data = numbers(from, to);
    data.iter().map(|n| node.publish("a", n)).collect()
}

fn text<'a>(page: &'a Value, member: &str) -> &'a str {
    page[member].as_str().unwrap_or_else(|| panic!("{page}"))
}

/// Reads on from `cursor` until there is no more, in pages of `limit`; no reset may be told.
fn walk(node: &Node, mut cursor: Option<String>, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let from = cursor.map_or(String::new(), |place| format!("&last_event_id={place}"));
        let page = page(node, &format!("limit={limit}{from}"));
        assert_eq!(page.get("reset"), None, "{page}");
        all.extend(data(&page).into_iter().map(str::to_owned));
        if page["more"] == false {
            assert_eq!(page["cursor"], page["head"]);
            return all;
        }
        assert_eq!(data(&page).len(), limit, "only the last page is short");
        cursor = Some(text(&page, "cursor").to_owned());
    }
}

/// Pages of any size give every event once and in order, and the last cursor goes on as a stream.
#[rstest]
fn pages_give_every_event_once_in_order(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let positions = publish(node, 1, 300);
    for limit in [7, 100, 300, 1_000] {
        assert_eq!(walk(node, None, limit), numbers(1, 300), "limit {limit}");
    }
    let from = Some(positions[9].clone());
    assert_eq!(walk(node, from, 64), numbers(11, 300));
    let whole = page(node, "limit=1000");
    assert_eq!(text(&whole, "head"), positions[299]);
    assert_eq!(whole["channel"], "a");
    let first = &whole["events"][0];
    let expected =
        json!({"channel": "a", "id": positions[0], "type": null, "event_id": null, "data": "1"});
    assert_eq!(*first, expected);
    let cursor = text(&whole, "cursor").to_owned();
    let mut stream = node.stream("channel=a", &[("Last-Event-ID", &cursor)]);
    let last = node.publish("a", "301");
    assert_eq!(stream.next().data, "301");
    let at_head = page(node, &format!("last_event_id={last}"));
    assert_eq!((data(&at_head).len(), &at_head["more"]), (0, &json!(false)));
    assert_eq!(at_head["cursor"], at_head["head"]);
}

/// A page is 100 events when nobody says otherwise.
#[test]
fn a_page_has_a_hundred_events_by_default() {
    let ground = Backend::Embedded.start(&[]);
    publish(&ground.node, 1, 120);
    let page = page(&ground.node, "");
    assert_eq!((data(&page).len(), &page["more"]), (100, &json!(true)));
}

/// Type and event id are in the item; the order of its members is that of the envelope.
#[test]
fn an_item_is_the_envelope() {
    let ground = Backend::Embedded.start(&[]);
    let headers = [
        ("Sluice-Event", "order.created"),
        ("Idempotency-Key", "ev-1"),
    ];
    let answer = ground.node.post("a", &headers, b"{\"a\": \"\xc4\x91\"}");
    let id: Value = serde_json::from_str(&answer.body).expect("JSON");
    let body = ground.node.get("/v1/channels/a/events", &[]).body;
    let expected = format!(
        r#"{{"channel":"a","events":[{{"channel":"a","id":{0},"type":"order.created","event_id":"ev-1","data":"{{\"a\": \"đ\"}}"}}],"cursor":{0},"head":{0},"more":false}}"#,
        id["id"]
    );
    assert_eq!(body, expected);
}

/// A page begins where its start says: the header before the query, a cursor before a time, a time before a number.
#[rstest]
fn a_page_begins_where_it_is_told(#[values(Backend::Embedded, Backend::Redis)] backend: Backend) {
    let ground = backend.start(&[]);
    let node = &ground.node;
    let positions = publish(node, 1, 200);
    assert_eq!(data(&page(node, "last=3")), numbers(198, 200));
    assert_eq!(data(&page(node, "last=150&limit=10")), numbers(51, 60));
    assert_eq!(data(&page(node, "last=500&limit=2")), numbers(1, 2));
    let head = page(node, "last=0");
    assert_eq!(
        (data(&head).len(), text(&head, "cursor")),
        (0, &*positions[199])
    );
    assert_eq!(data(&page(node, "since=PT5M&limit=3")), numbers(1, 3));
    let later = page(node, "since=2100-01-01T00:00:00Z");
    assert_eq!(
        (data(&later).len(), text(&later, "cursor")),
        (0, &*positions[199])
    );
    let after = |n: usize| format!("last_event_id={}&limit=1", positions[n - 1]);
    assert_eq!(data(&page(node, &after(7))), ["8"]);
    assert_eq!(
        data(&page(node, &format!("{}&since=1h&last=1", after(7)))),
        ["8"]
    );
    assert_eq!(data(&page(node, "since=1h&last=1&limit=1")), ["1"]);
    let target = format!("/v1/channels/a/events?{}", after(7));
    let answer = node.get(&target, &[("Last-Event-ID", &positions[49])]);
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(data(&json), ["51"]);
    // A stream of several channels has been here: its cursor knows the place.
    let mut stream = node.stream("channel=a&channel=b", &[]);
    node.publish("a", "201");
    let cursor = stream.next().id().to_owned();
    assert!(cursor.starts_with("1~"), "{cursor}");
    node.publish("a", "202");
    assert_eq!(
        data(&page(node, &format!("last_event_id={cursor}"))),
        ["202"]
    );
}

/// A channel that was never published to has an empty page, and reading it leaves no trace.
#[rstest]
fn an_unknown_channel_is_empty_and_stays_unknown(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = backend.start(&[]);
    let answer = ground.node.get("/v1/channels/a/events?last=5", &[]);
    let empty = r#"{"channel":"a","events":[],"cursor":null,"head":null,"more":false}"#;
    assert_eq!(answer.body, empty);
    for query in ["", "?since=1h", "?last=0"] {
        let answer = ground
            .node
            .get(&format!("/v1/channels/a/events{query}"), &[]);
        assert_eq!(answer.body, empty, "{query}");
    }
    let gone = page(&ground.node, "last_event_id=1763676000123-0.9f2c41aa");
    let reset = json!({"channel": "a", "reason": "state_lost", "from": "1763676000123-0.9f2c41aa", "to": null});
    assert_eq!((&gone["reset"], &gone["cursor"]), (&reset, &Value::Null));
    if let Some(redis) = &ground.redis {
        assert_eq!(
            redis.run::<u64>(&["EXISTS", "sluice:{a}:m", "sluice:{a}:s"]),
            0
        );
    }
}

/// What is no longer kept is told, and the page begins with the oldest that is.
#[rstest]
fn a_trimmed_place_is_told_and_the_page_begins_with_the_oldest(
    #[values(Backend::Embedded, Backend::Redis)] backend: Backend,
) {
    let ground = backend.start(&[("HISTORY__MAX_EVENTS", "10")]);
    let node = &ground.node;
    // Redis trims by whole nodes of its radix tree: far more than one node's entries.
    let positions = publish(node, 1, 400);
    let page = page(node, &format!("limit=5&last_event_id={}", positions[0]));
    let first: usize = data(&page)[0].parse().expect("a number");
    assert!(first > 100, "nothing was trimmed");
    let from = u32::try_from(first).expect("small");
    assert_eq!(data(&page), numbers(from, from + 4));
    let reset = json!({"channel": "a", "reason": "trimmed", "from": positions[0], "to": positions[first - 2]});
    assert_eq!(page["reset"], reset);
    let rest = walk(node, Some(text(&page, "cursor").to_owned()), 3);
    assert_eq!(rest, numbers(from + 5, 400));
    assert_eq!(
        node.metric("sluice_resets_told_total{reason=\"trimmed\"}"),
        1.0
    );
}

/// A cursor that nobody can read, or without a place for this channel, is told as such.
#[rstest]
#[case::garbage("what?")]
#[case::empty_vector("1~")]
#[case::other_version("9~AAAA")]
fn an_unreadable_cursor_is_told(#[case] cursor: &str) {
    let ground = Backend::Embedded.start(&[]);
    publish(&ground.node, 1, 3);
    let page = page(&ground.node, &format!("last_event_id={cursor}"));
    assert_eq!(data(&page), numbers(1, 3));
    let reset = &page["reset"];
    assert_eq!(
        (&reset["reason"], &reset["from"]),
        (&json!("bad_cursor"), &Value::Null)
    );
    assert!(text(reset, "to").starts_with("0-0."), "{page}");
}

/// A Redis that lost its state, went back in time, or lost the history alone: each is told as what it is.
#[test]
fn what_redis_has_lost_is_told_as_what_it_is() {
    let Ground { node, redis } = Backend::Redis.start(&[]);
    let redis = redis.expect("there is one");
    let positions = publish(&node, 1, 5);
    let stream: Vec<u8> = redis.run(&["DUMP", "sluice:{a}:s"]);
    let head: Vec<u8> = redis.run(&["GET", "sluice:{a}:m"]);
    let later = publish(&node, 6, 7);
    let asked = |place: &str| page(&node, &format!("last_event_id={place}"));

    let _: () = redis.send(&["RESTORE", "sluice:{a}:s", "0"], &[&stream, b"REPLACE"]);
    let _: () = redis.send(&["SET", "sluice:{a}:m"], &[&head]);
    let back = asked(&later[1]);
    assert_eq!(back["reset"]["reason"], "rollback", "{back}");
    assert_eq!(data(&back), numbers(1, 5));

    let _: () = redis.run(&["DEL", "sluice:{a}:s"]);
    let bare = asked(&positions[1]);
    let reset =
        json!({"channel": "a", "reason": "trimmed", "from": positions[1], "to": positions[4]});
    assert_eq!((&bare["reset"], data(&bare).len()), (&reset, 0));
    assert_eq!(
        (text(&bare, "cursor"), &bare["more"]),
        (&*positions[4], &json!(false))
    );
    assert_eq!(
        asked(&positions[4]).get("reset"),
        None,
        "the head is proved"
    );

    let _: () = redis.run(&["FLUSHALL"]);
    publish(&node, 8, 9);
    let anew = asked(&positions[1]);
    assert_eq!(anew["reset"]["reason"], "state_lost", "{anew}");
    assert_eq!(data(&anew), numbers(8, 9));
}

/// An event taken out of the middle by hand is told once where it was; what follows it is read, and paging ends.
#[test]
fn a_hole_in_the_middle_is_told_once_and_passed() {
    let Ground { node, redis } = Backend::Redis.start(&[]);
    let positions = publish(&node, 1, 9);
    let id = positions[4].split('.').next().expect("an id");
    let redis = redis.expect("there is one");
    let _: u64 = redis.run(&["XDEL", "sluice:{a}:s", id]);
    let before = page(&node, "");
    assert_eq!(
        (data(&before), &before["more"]),
        (vec!["1", "2", "3", "4"], &json!(true))
    );
    assert_eq!(before.get("reset"), None);
    let cursor = text(&before, "cursor").to_owned();
    let behind = page(&node, &format!("last_event_id={cursor}"));
    let reset = json!({"channel": "a", "reason": "trimmed", "from": cursor, "to": positions[4]});
    assert_eq!(behind["reset"], reset);
    assert_eq!(
        (data(&behind), &behind["more"]),
        (vec!["6", "7", "8", "9"], &json!(false))
    );
}

/// A page is cut before it grows over its bytes, and a single larger event is a page of its own.
#[rstest]
fn a_page_is_bounded_in_bytes(#[values(Backend::Embedded, Backend::Redis)] backend: Backend) {
    let ground = backend.start(&[("LIMITS__PAGE_BYTES", "1KiB")]);
    let node = &ground.node;
    let sizes = [300, 300, 300, 5_000, 10];
    for size in sizes {
        node.publish("a", &"x".repeat(size));
    }
    let mut cursor = String::new();
    let mut pages = Vec::new();
    loop {
        let page = page(node, &format!("limit=1000{cursor}"));
        pages.push(
            data(&page)
                .iter()
                .map(|data| data.len())
                .collect::<Vec<_>>(),
        );
        if page["more"] == false {
            break;
        }
        cursor = format!("&last_event_id={}", text(&page, "cursor"));
    }
    assert_eq!(pages, [vec![300, 300], vec![300], vec![5_000], vec![10]]);
    let cut = "sluice_limit_hits_total{limit=\"page_bytes\"}";
    assert_eq!(node.metric(cut), 3.0, "all but the last were cut");
}

/// A page is never stored by a cache; HEAD has the same head and no body; an allowed page of another origin may read it.
#[test]
fn a_page_has_its_headers_for_get_and_head() {
    let ground = Backend::Embedded.start(&[("HTTP__CORS_ORIGINS", "https://app.example")]);
    publish(&ground.node, 1, 3);
    let origin = [("Origin", "https://app.example")];
    let target = "/v1/channels/a/events";
    let ask = |method: &str| call(ground.node.public, method, target, &origin, b"");
    let (get, head) = (ask("GET"), ask("HEAD"));
    for answer in [&get, &head] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"));
        let length = get.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length));
    }
    assert!(head.body.is_empty() && !get.body.is_empty());
    let foreign = [("Origin", "https://evil.example")];
    let refused = ground.node.get(target, &foreign);
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (403, "origin_not_allowed")
    );
}

/// What is asked wrongly is refused, naming the parameter.
#[rstest]
#[case("/v1/channels/a/events?limit=0", "bad_parameter", "limit")]
#[case("/v1/channels/a/events?limit=1001", "bad_parameter", "limit")]
#[case("/v1/channels/a/events?limit=many", "bad_parameter", "limit")]
#[case("/v1/channels/a/events?since=yesterday", "bad_parameter", "since")]
#[case("/v1/channels/a/events?last=-1", "bad_parameter", "last")]
#[case("/v1/channels/a%20b/events", "bad_channel", "channel")]
#[case("/v1/channels/_ctl/events", "reserved_channel", "channel")]
fn a_wrong_question_is_refused(#[case] target: &str, #[case] code: &str, #[case] parameter: &str) {
    let ground = Backend::Embedded.start(&[]);
    let answer = ground.node.get(target, &[]);
    assert_eq!((answer.status, answer.problem().as_str()), (400, code));
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(json["parameter"], parameter);
}

/// Who may not subscribe to a channel may not read its history.
#[test]
fn a_page_needs_the_right_to_subscribe() {
    let node = auth::node();
    let ann = auth::bearer(60);
    let headers = [("Authorization", ann.as_str())];
    let told = |answer: Answer| (answer.status, answer.problem());
    let ask = |channel: &str, headers: &[(&str, &str)]| {
        node.get(&format!("/v1/channels/{channel}/events"), headers)
    };
    assert_eq!(ask("orders.ann.new", &headers).status, 200);
    // She may publish there, and that is all.
    assert_eq!(
        told(ask("inbox", &headers)),
        (403, "insufficient_scope".to_owned())
    );
    assert_eq!(
        told(ask("orders.ann.new", &[])),
        (401, "token_missing".to_owned())
    );
    let failures =
        |code: &str| node.metric(&format!("sluice_auth_failures_total{{code=\"{code}\"}}"));
    assert_eq!(
        (failures("insufficient_scope"), failures("token_missing")),
        (1.0, 1.0)
    );
}

/// With Redis away a page is a 503 that says when to come again, and once Redis answers, so does the page.
#[rstest]
#[case("")]
#[case("?since=1h")]
fn without_redis_a_page_is_a_503(#[case] query: &str) {
    let Ground { node, redis } = Backend::Redis.start(&[
        ("REDIS__CONNECT_TIMEOUT", "200ms"),
        ("REDIS__RESPONSE_TIMEOUT", "200ms"),
    ]);
    let redis = redis.expect("there is one");
    publish(&node, 1, 2);
    let target = format!("/v1/channels/a/events{query}");
    redis.freeze();
    let answer = node.get(&target, &[]);
    redis.thaw();
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "broker_unavailable")
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(data(&page(&node, "")), ["1", "2"]);
}

/// Keys that hold something else are no empty history.
#[test]
fn broken_keys_are_told() {
    let Ground { node, redis } = Backend::Redis.start(&[]);
    let redis = redis.expect("there is one");
    publish(&node, 1, 2);
    let _: () = redis.run(&["SET", "sluice:{a}:m", "nonsense"]);
    let answer = node.get("/v1/channels/a/events", &[]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (500, "internal")
    );
}

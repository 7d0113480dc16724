//! The long-poll: the same cursor, one answer at a time.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::http::{Answer, call};
use crate::harness::node::Node;
use crate::harness::redis_server::RedisServer;
use crate::harness::{PATIENCE, find, wait};

pub const CONNECTIONS: &str = "sluice_connections";
pub const DONE: &str = "sluice_connections_closed_total{reason=\"poll_done\"}";
/// Sooner than any poll here would end by itself.
pub const SOON: Duration = Duration::from_secs(5);

/// What a poll answered.
#[derive(Debug)]
pub struct Page {
    pub cursor: String,
    pub events: Vec<Value>,
    bytes: usize,
}

impl Page {
    pub fn of(answer: &Answer) -> Page {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        let events = json["events"].as_array().expect("a list").clone();
        assert!(answer.body.starts_with("{\"cursor\":\""), "{answer:?}");
        Page {
            cursor: json["cursor"].as_str().expect("a cursor").to_owned(),
            bytes: events.iter().map(|event| event.to_string().len()).sum(),
            events,
        }
    }

    pub fn data(&self) -> Vec<&str> {
        let data = self.events.iter().map(|event| &event["data"]);
        data.map(|data| data.as_str().expect("text")).collect()
    }
}

pub fn poll(node: &Node, query: &str) -> Page {
    Page::of(&node.get(&format!("/v1/poll?{query}"), &[]))
}

/// A poll on a thread of its own, once the node has taken it in.
pub fn waiting(node: &Node, query: &str) -> JoinHandle<Answer> {
    let before = node.metric(CONNECTIONS);
    let (public, target) = (node.public, format!("/v1/poll?{query}"));
    let poll = thread::spawn(move || call(public, "GET", &target, &[], b""));
    wait("the poll waits", &(before + 1.0), PATIENCE, || {
        node.metric(CONNECTIONS)
    });
    poll
}

/// Who brings no cursor gets one at once, and with it misses nothing from then on.
#[test]
fn a_poll_without_a_cursor_is_answered_at_once_with_one() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "before");
    let since = Instant::now();
    let page = poll(&node, "channel=a");
    assert!(since.elapsed() < SOON);
    assert_eq!((page.cursor.as_str(), page.events.len()), (&*place, 0));
    node.publish("a", "after");
    let page = poll(&node, &format!("channel=a&last_event_id={place}"));
    assert_eq!(page.data(), ["after"]);
    assert_eq!(node.metric(DONE), 2.0);
    // A channel that nobody has published to has a place too.
    let page = poll(&node, "channel=new");
    assert!(page.cursor.starts_with("0-0."), "{page:?}");
    node.publish("new", "first");
    let page = poll(&node, &format!("channel=new&last_event_id={}", page.cursor));
    assert_eq!(page.data(), ["first"]);
}

/// A waiting poll is answered by the first event, to the byte as promised.
#[test]
fn a_waiting_poll_is_answered_by_the_first_event() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "before");
    let waiting = waiting(&node, &format!("channel=a&last_event_id={place}"));
    let since = Instant::now();
    let headers = [("Sluice-Event", "t"), ("Idempotency-Key", "ev-1")];
    let id = crate::harness::node::id(&node.post("a", &headers, b"{\"n\":1}\n\"x\""));
    let answer = waiting.join().expect("answered");
    assert!(since.elapsed() < SOON);
    Page::of(&answer);
    assert_eq!(
        answer.body,
        format!(
            r#"{{"cursor":"{id}","events":[{{"channel":"a","id":"{id}","type":"t","event_id":"ev-1","data":"{{\"n\":1}}\n\"x\""}}]}}"#
        )
    );
    wait("its place is free", &0.0, PATIENCE, || {
        node.metric(CONNECTIONS)
    });
}

/// A channel that the cursor does not name begins live, and its place is told at once: what comes while the reader
/// is away must not be missed.
#[test]
fn a_channel_that_is_new_to_the_cursor_has_its_place_told_at_once() {
    let node = Node::embedded(&[]).ready();
    let first = poll(&node, "channel=a&channel=b").cursor;
    let bare = node.publish("a", "1");
    for (cursor, data) in [(first, vec!["1"]), (bare, vec![])] {
        node.publish("c", "before");
        let query = |cursor: &str| format!("channel=a&channel=c&last_event_id={cursor}");
        let page = poll(&node, &query(&cursor));
        assert_eq!(page.data(), data);
        node.publish("c", "after");
        assert_eq!(poll(&node, &query(&page.cursor)).data(), ["after"]);
    }
}

/// The header names a place too, and comes first.
#[test]
fn the_header_is_a_place_and_comes_first() {
    let node = Node::embedded(&[]).ready();
    let first = node.publish("a", "1");
    let second = node.publish("a", "2");
    let target = format!("/v1/poll?channel=a&last_event_id={second}");
    let page = Page::of(&node.get(&target, &[("Last-Event-ID", &first)]));
    assert_eq!(page.data(), ["2"]);
}

/// Nothing happens: the same cursor comes back when the time is over, not earlier.
#[test]
fn a_quiet_poll_gives_its_cursor_back_when_its_time_is_over() {
    let node = Node::embedded(&[]).ready();
    let place = node.publish("a", "before");
    let timeout = Duration::from_millis(700);
    let since = Instant::now();
    let page = poll(
        &node,
        &format!("channel=a&timeout=700ms&last_event_id={place}"),
    );
    let took = since.elapsed();
    assert!(took >= timeout && took < timeout + SOON, "{took:?}");
    assert_eq!((page.cursor, page.events.len()), (place, 0));
    assert_eq!(node.metric(DONE), 1.0);
}

/// The default wait is the setting's.
#[test]
fn the_wait_of_a_poll_that_does_not_say_is_a_setting() {
    let node = Node::embedded(&[("POLL__TIMEOUT", "300ms")]).ready();
    let place = node.publish("a", "before");
    let since = Instant::now();
    let page = poll(&node, &format!("channel=a&last_event_id={place}"));
    let took = since.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < SOON,
        "{took:?}"
    );
    assert_eq!(page.cursor, place);
}

/// A poll that will not wait at all still goes on from its place, read from history.
#[test]
fn a_poll_that_will_not_wait_goes_on_all_the_same() {
    let redis = RedisServer::start();
    let other = Node::redis(&redis.url(), &[]).ready();
    let place = other.publish("a", "1");
    other.publish("a", "2");
    // This node has never heard of the channel: it has to subscribe and to read.
    let node = Node::redis(&redis.url(), &[]).ready();
    let query = |cursor: &str| format!("channel=a&timeout=0s&last_event_id={cursor}");
    let page = poll(&node, &query(&place));
    assert_eq!(page.data(), ["2"]);
    let since = Instant::now();
    let page = poll(&node, &query(&page.cursor));
    assert!(page.events.is_empty() && since.elapsed() < SOON, "{page:?}");
}

/// A reader without a place may begin with what is kept, a page at a time.
#[test]
fn a_poll_may_begin_with_what_is_kept() {
    let node = Node::embedded(&[]).ready();
    for n in 0..10 {
        node.publish("a", &n.to_string());
    }
    assert_eq!(poll(&node, "channel=a&last=3").data(), ["7", "8", "9"]);
    let page = poll(&node, "channel=a&since=5m&limit=4");
    assert_eq!(page.data(), ["0", "1", "2", "3"]);
    let query = format!("channel=a&limit=4&last_event_id={}", page.cursor);
    assert_eq!(poll(&node, &query).data(), ["4", "5", "6", "7"]);
}

/// An answer holds `limit` events and no more; the rest comes with the next polls, exactly.
#[rstest]
#[case(250, 100)]
#[case(7, 1)]
#[case(100, 100)]
#[case(101, 100)]
fn the_rest_comes_with_the_next_poll(#[case] events: usize, #[case] limit: usize) {
    let node = Node::embedded(&[]).ready();
    let mut cursor = node.publish("a", "before");
    let all: Vec<String> = (0..events).map(|n| n.to_string()).collect();
    for data in &all {
        node.publish("a", data);
    }
    let (mut got, mut pages) = (Vec::new(), Vec::new());
    while got.len() < events {
        let query = format!("channel=a&limit={limit}&last_event_id={cursor}");
        let page = poll(&node, &query);
        pages.push(page.events.len());
        got.extend(page.data().into_iter().map(str::to_owned));
        cursor = page.cursor;
    }
    assert_eq!(got, all);
    let (last, full) = pages.split_last().expect("a page");
    assert!(full.iter().all(|count| *count == limit), "{pages:?}");
    assert_eq!(*last, (events - 1) % limit + 1, "{pages:?}");
}

/// The default limit is 100.
#[test]
fn a_poll_that_does_not_say_gets_a_hundred() {
    let node = Node::embedded(&[]).ready();
    for n in 0..101 {
        node.publish("a", &n.to_string());
    }
    assert_eq!(poll(&node, "channel=a&last=500").events.len(), 100);
}

/// An answer stays within its bytes: as many events as fit and not one more; an event that is larger than a page
/// comes alone.
#[test]
fn an_answer_is_bounded_in_bytes() {
    let node = Node::embedded(&[("LIMITS__PAGE_BYTES", "1KiB")]).ready();
    let mut cursor = node.publish("a", "before");
    // An element of `len` bytes altogether.
    let sized = |len: usize| {
        let id = "1763676000123-0.9f2c41aa";
        let frame = json!({"channel":"a","id":id,"type":null,"event_id":null,"data":""});
        "x".repeat(len - frame.to_string().len())
    };
    // Three fill the page to its last byte with their commas; the same with one byte more do not.
    for len in [341, 341, 340, 341, 341, 341, 5_000, 200] {
        node.publish("a", &sized(len));
    }
    let mut pages = Vec::new();
    while pages.iter().sum::<usize>() < 8 {
        let page = poll(&node, &format!("channel=a&last_event_id={cursor}"));
        let bytes = page.bytes + page.events.len() - 1;
        assert!(bytes <= 1_024 || page.events.len() == 1, "{bytes}");
        pages.push(page.events.len());
        cursor = page.cursor;
    }
    assert_eq!(pages, [3, 2, 1, 1, 1]);
    let cut = "sluice_limit_hits_total{limit=\"page_bytes\"}";
    assert_eq!(node.metric(cut), 4.0, "all but the last were cut");
}

/// Several channels are one poll with one cursor; a small limit starves none of them.
#[test]
fn no_channel_starves_behind_a_small_limit() {
    let node = Node::embedded(&[]).ready();
    let mut cursor = poll(&node, "channel=a&channel=b").cursor;
    assert!(cursor.starts_with("1~"));
    for n in 0..40 {
        node.publish("a", &format!("a{n}"));
        node.publish("b", &format!("b{n}"));
    }
    let mut got: Vec<(String, String)> = Vec::new();
    for _ in 0..80 {
        let query = format!("channel=a&channel=b&limit=1&last_event_id={cursor}");
        let page = poll(&node, &query);
        let [event] = page.events.as_slice() else {
            panic!("not one: {page:?}")
        };
        let text = |name: &str| event[name].as_str().expect("text").to_owned();
        got.push((text("channel"), text("data")));
        cursor = page.cursor;
    }
    for channel in ["a", "b"] {
        let mine: Vec<&str> = got
            .iter()
            .filter(|(name, _)| name == channel)
            .map(|(_, data)| data.as_str())
            .collect();
        let all: Vec<String> = (0..40).map(|n| format!("{channel}{n}")).collect();
        assert_eq!(mine, all);
        // By chance alone the first 40 answers are one channel's in one of 10^12 runs.
        let early = got[..40].iter().filter(|(name, _)| name == channel).count();
        assert!((1..40).contains(&early), "{early} of {channel}");
    }
}

/// What cannot be continued is told in its place, and the cursor with it goes on.
#[test]
fn a_reset_is_an_element_in_its_place() {
    let node = Node::embedded(&[("HISTORY__MAX_EVENTS", "2")]).ready();
    let old = node.publish("a", "1");
    let mut head = String::new();
    for n in 0..300 {
        head = node.publish("a", &n.to_string());
    }
    let page = poll(&node, &format!("channel=a&last_event_id={old}"));
    let [reset] = page.events.as_slice() else {
        panic!("{page:?}")
    };
    assert_eq!(page.cursor, head);
    assert_eq!(reset["channel"], "a");
    assert_eq!(reset["id"], head.as_str());
    assert_eq!(reset["type"], "sluice.reset");
    assert_eq!(reset["event_id"], Value::Null);
    let data: Value = serde_json::from_str(reset["data"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        data,
        json!({"channel": "a", "reason": "trimmed", "from": old, "to": head})
    );
    node.publish("a", "next");
    let page = poll(&node, &format!("channel=a&last_event_id={}", page.cursor));
    assert_eq!(page.data(), ["next"]);
}

/// A cursor that nobody can read resets every channel in one answer, whatever the limit: with the cursor of a part,
/// the others would begin live in silence.
#[rstest]
#[case("what%3F")]
#[case("1~")]
#[case("0-0.00000001")]
#[case("wh%22at%0A")]
fn an_unreadable_cursor_resets_all_channels_at_once(#[case] cursor: &str) {
    let node = Node::embedded(&[]).ready();
    let heads = [("a", node.publish("a", "1")), ("b", node.publish("b", "2"))];
    let page = poll(
        &node,
        &format!("channel=a&channel=b&limit=1&last_event_id={cursor}"),
    );
    if cursor == "1~" {
        // A cursor of no channel: both are new to it, and begin live.
        assert!(page.events.is_empty(), "{page:?}");
    } else {
        let mut told: Vec<(&str, &str)> = page
            .events
            .iter()
            .map(|event| {
                assert_eq!(event["type"], "sluice.reset");
                assert!(event["data"].as_str().expect("text").contains("bad_cursor"));
                let text = |name: &str| event[name].as_str().expect("text");
                (text("channel"), text("id"))
            })
            .collect();
        told.sort_unstable();
        assert_eq!(
            told,
            heads.each_ref().map(|(name, id)| (*name, id.as_str()))
        );
    }
    node.publish("b", "3");
    let query = format!("channel=a&channel=b&last_event_id={}", page.cursor);
    assert_eq!(poll(&node, &query).data(), ["3"]);
}

/// An event without a place ends a poll too, and leaves its cursor where it was.
#[test]
fn an_ephemeral_event_answers_with_the_same_cursor() {
    let redis = RedisServer::start();
    let node = Node::redis(&redis.url(), &[]).ready();
    let place = node.publish("a", "before");
    let waiting = waiting(&node, &format!("channel=a&last_event_id={place}"));
    // It reaches the polls that wait at that moment, and when this one does is not to be seen from outside.
    find("the poll is answered", PATIENCE, || {
        let _: u64 = redis.run(&["PUBLISH", "sluice:{a}", "hello"]);
        waiting.is_finished().then_some(())
    });
    let page = Page::of(&waiting.join().expect("answered"));
    assert_eq!(page.cursor, place);
    let hello =
        json!({"channel": "a", "id": null, "type": null, "event_id": null, "data": "hello"});
    assert_eq!(page.events.first(), Some(&hello));
    assert!(page.events.iter().all(|event| *event == hello));
}

/// What a poll says of itself is checked before anything waits.
#[rstest]
#[case("channel=a&limit=1000&timeout=2s&last=1", None)]
#[case("channel=a&limit=1001", Some("limit"))]
#[case("channel=a&limit=0", Some("limit"))]
#[case("channel=a&timeout=2001ms", Some("timeout"))]
#[case("channel=a&timeout=25", Some("timeout"))]
#[case("channel=a&since=yesterday", Some("since"))]
#[case("", Some("channel"))]
fn a_wrong_poll_is_told_what_is_wrong(#[case] query: &str, #[case] wrong: Option<&str>) {
    let node = Node::embedded(&[("POLL__TIMEOUT", "1s"), ("POLL__MAX_TIMEOUT", "2s")]).ready();
    let target = format!("/v1/poll?{query}");
    let answer = node.get(&target, &[]);
    let head = call(node.public, "HEAD", &target, &[], b"");
    assert_eq!((head.status, head.body.as_str()), (answer.status, ""));
    match wrong {
        None => {
            Page::of(&answer);
            assert_eq!(head.header("content-type"), Some("application/json"));
        }
        Some(parameter) => {
            assert_eq!(answer.status, 400, "{answer:?}");
            let json: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!(json["parameter"], parameter);
            let rejected = "sluice_connections_rejected_total{reason=\"bad_request\"}";
            assert_eq!(node.metric(rejected), 2.0);
        }
    }
    let answer = call(node.public, "POST", &target, &[], b"");
    assert_eq!(answer.problem(), "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

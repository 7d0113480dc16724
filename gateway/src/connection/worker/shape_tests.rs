//! Streams in their shapes, step by step: what a poll waits for and how it
//! ends, and whose bytes a line is.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use sluice_wire::cursor::Cursor;
use sluice_wire::event::Event;
use sluice_wire::position::Position;

use super::*;
use crate::connection::shapes::PollTerms;
use crate::connection::{Expiry, StartAt};
use crate::hub::exchange::{Placed, Ticket};
use crate::hub::frame::EventFrame;
use crate::hub::ring::RingLimits;

#[path = "own_tests.rs"]
mod own;
#[path = "token_tests.rs"]
mod token;

const TIMEOUT: Duration = Duration::from_secs(20);
const OPEN_WAIT: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct Peer(Rc<Cell<bool>>);

impl Transport for Peer {
    fn notify(&mut self) {}

    fn abort(&mut self) {
        self.0.set(true);
    }
}

fn worker() -> Worker<Peer> {
    let limits = StreamLimits {
        node: "n".to_owned(),
        ring: RingLimits {
            entries: 16,
            bytes: 1 << 20,
        },
        ring_age: TIMEOUT,
        heartbeat: Duration::from_secs(15),
        retry: SECOND,
        limit_retry: SECOND * 20,
        max_age: Duration::from_secs(3_600),
        open_wait: OPEN_WAIT,
        slow_consumer_age: Duration::from_secs(5),
        backfill_events: 100,
        chunk_bytes: 64 * 1_024,
        expiring_lead: Duration::from_secs(60),
        ended_streams: 2,
    };
    Worker::new(limits, 1)
}

fn name(name: &str) -> Channel {
    Channel::parse(name).expect("valid")
}

fn place(n: u64) -> Position {
    format!("{n}-0.00000001").parse().expect("a position")
}

/// A poll over these channels, from the place of the one there is, or from nowhere.
fn polled(channels: &[&str], cursor: Option<u64>) -> Opening {
    let shape = Shape::Poll(PollTerms {
        timeout: TIMEOUT,
        events: 2,
        bytes: 1_024,
    });
    Opening {
        id: ConnectionId::default(),
        holder: Arc::default(),
        channels: channels.iter().map(|channel| name(channel)).collect(),
        start: cursor.map_or(StartAt::Live, |n| StartAt::Cursor(Cursor::Bare(place(n)))),
        incoming: cursor.map(|n| place(n).to_string()),
        shape,
        expires_at: None,
    }
}

/// Answers every question of the worker: the channel stands at `at`.
fn answer(worker: &mut Worker<Peer>, channel: &str, at: u64, now: Duration) {
    let asked: Vec<Ticket> = worker
        .outbox()
        .iter()
        .filter_map(|question| match question {
            ToNode::Attach {
                channel: asked,
                ticket,
                ..
            } if asked.as_str() == channel => Some(*ticket),
            ToNode::Attach { .. } | ToNode::Withdraw { .. } | ToNode::Leave { .. } => None,
        })
        .collect();
    assert!(!asked.is_empty(), "nothing was asked about {channel}");
    let (channel, at) = (name(channel), place(at));
    worker.hear(ToWorker::Stand { channel, at }, now);
    for ticket in asked {
        let placed = Placed::At(at);
        worker.hear(ToWorker::Placed { ticket, placed }, now);
    }
}

/// The event at `n`, right after `n - 1`.
fn publish(worker: &mut Worker<Peer>, channel: &str, n: u64, now: Duration) {
    let event = Event {
        position: place(n),
        prev: place(n - 1),
        event_type: None,
        event_id: None,
        traceparent: None,
        data: Bytes::from_static(b"x"),
    };
    let channel = name(channel);
    let entry = Entry::Event(EventFrame::new(&channel, event));
    let at = now;
    worker.hear(ToWorker::Next { channel, entry, at }, now);
}

fn pull(worker: &mut Worker<Peer>, key: usize, now: Duration) -> Pull {
    worker.pull(key, now)
}

fn text(pull: Pull) -> String {
    match pull {
        Pull::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        Pull::Pending | Pull::End => panic!("no bytes: {pull:?}"),
    }
}

fn ended(worker: &mut Worker<Peer>, key: usize, now: Duration) -> (CloseReason, u64) {
    let ended = worker.remove(key, now).expect("it was there");
    (ended.reason, ended.events)
}

#[test]
fn a_poll_is_answered_once_by_its_first_event() {
    let (mut worker, now) = (worker(), SECOND);
    let key = worker.open(&polled(&["a"], Some(7)), Peer::default(), now);
    assert_eq!(pull(&mut worker, key, now), Pull::Pending);
    answer(&mut worker, "a", 7, now);
    assert_eq!(pull(&mut worker, key, now), Pull::Pending);
    publish(&mut worker, "a", 8, now);
    let body = text(pull(&mut worker, key, now));
    assert!(
        body.starts_with(r#"{"cursor":"8-0.00000001","events":[{"#),
        "{body}"
    );
    publish(&mut worker, "a", 9, now);
    assert_eq!(pull(&mut worker, key, now), Pull::End);
    assert_eq!(ended(&mut worker, key, now), (CloseReason::PollDone, 1));
    assert_eq!((worker.streams(), worker.seats()), (0, 0));
}

#[test]
fn a_quiet_poll_is_over_at_its_time_and_not_before() {
    let (mut worker, now) = (worker(), SECOND);
    let key = worker.open(&polled(&["a"], Some(7)), Peer::default(), now);
    answer(&mut worker, "a", 7, now);
    assert_eq!(pull(&mut worker, key, now), Pull::Pending);
    let late = now + TIMEOUT;
    worker.tick(late - Duration::from_millis(1));
    assert_eq!(
        pull(&mut worker, key, late - Duration::from_millis(1)),
        Pull::Pending
    );
    worker.tick(late);
    assert_eq!(
        text(pull(&mut worker, key, late)),
        r#"{"cursor":"7-0.00000001","events":[]}"#
    );
    assert_eq!(ended(&mut worker, key, late), (CloseReason::PollDone, 0));
}

/// Its time over, a poll still waits for an answer that it has asked for, but no longer than `stream.open_wait`.
#[test]
fn a_poll_that_would_not_wait_is_given_its_answer() {
    let (mut worker, now) = (worker(), SECOND);
    let mut opening = polled(&["a"], Some(7));
    opening.shape = Shape::Poll(PollTerms {
        timeout: Duration::ZERO,
        events: 2,
        bytes: 1_024,
    });
    let key = worker.open(&opening, Peer::default(), now);
    worker.tick(now);
    assert_eq!(pull(&mut worker, key, now), Pull::Pending);
    answer(&mut worker, "a", 7, now);
    assert!(text(pull(&mut worker, key, now)).contains("[]"));
    let key = worker.open(&polled(&["b"], Some(7)), Peer::default(), now);
    worker.tick(now + TIMEOUT.max(OPEN_WAIT));
    assert!(text(pull(&mut worker, key, now + TIMEOUT)).contains("[]"));
}

/// With the place of one channel alone the reader would lose what comes on the other: it gets none.
#[test]
fn a_reader_without_a_place_waits_for_all_channels_or_gets_nothing() {
    let (mut worker, now) = (worker(), SECOND);
    let key = worker.open(&polled(&["a", "b"], None), Peer::default(), now);
    answer(&mut worker, "a", 7, now);
    let mut n = 8;
    let mut later = now;
    // Long enough and more than enough to be a slow consumer, were it reading.
    while later < now + TIMEOUT - SECOND {
        later += SECOND;
        publish(&mut worker, "a", n, later);
        publish(&mut worker, "a", n + 1, later);
        n += 2;
        worker.tick(later);
        assert_eq!(pull(&mut worker, key, later), Pull::Pending);
    }
    let late = now + TIMEOUT;
    worker.tick(late);
    assert_eq!(pull(&mut worker, key, late), Pull::End);
    assert_eq!(worker.close_reason(key), Some(CloseReason::PollDone));
    assert_eq!(ended(&mut worker, key, late), (CloseReason::PollDone, 0));
}

#[test]
fn a_poll_ends_early_for_a_drain_and_with_its_token() {
    let (mut worker, now) = (worker(), SECOND);
    let mut opening = polled(&["a"], Some(7));
    opening.expires_at = Some(Expiry {
        at: now + SECOND,
        unix_ms: 0,
    });
    let expiring = worker.open(&opening, Peer::default(), now);
    let drained = worker.open(&polled(&["a"], Some(7)), Peer::default(), now);
    let homeless = worker.open(&polled(&["b"], None), Peer::default(), now);
    answer(&mut worker, "a", 7, now);
    worker.tick(now + SECOND);
    let quiet = r#"{"cursor":"7-0.00000001","events":[]}"#;
    assert_eq!(text(pull(&mut worker, expiring, now + SECOND)), quiet);
    assert_eq!(pull(&mut worker, drained, now + SECOND), Pull::Pending);
    worker.drain(now + SECOND, SECOND);
    let late = now + SECOND * 2;
    worker.tick(late);
    assert_eq!(text(pull(&mut worker, drained, late)), quiet);
    assert_eq!(pull(&mut worker, homeless, late), Pull::End);
    for (key, reason) in [
        (expiring, CloseReason::TokenExpired),
        (drained, CloseReason::Drain),
        (homeless, CloseReason::Drain),
    ] {
        assert_eq!(ended(&mut worker, key, late), (reason, 0));
    }
}

/// The end of an answer that nobody fetches: the peer is cut off, after the time that any slow reader has.
#[test]
fn an_answer_that_is_not_fetched_is_cut_off() {
    let (mut worker, now) = (worker(), SECOND);
    let peer = Peer::default();
    let key = worker.open(&polled(&["a"], None), peer.clone(), now);
    answer(&mut worker, "a", 7, now);
    assert!(text(pull(&mut worker, key, now)).contains("[]"));
    worker.tick(now + SECOND * 4);
    assert!(!peer.0.get());
    worker.tick(now + SECOND * 5);
    assert!(peer.0.get());
    let reason = ended(&mut worker, key, now + SECOND * 5);
    assert_eq!(reason, (CloseReason::SlowConsumer, 0));
}

/// Streams of one channel write the same bytes, not the same text twice: encoded once, shared by all.
#[test]
fn a_line_of_one_channel_is_shared_whole() {
    for shape in [Shape::Ndjson, Shape::EventStream { envelope: true }] {
        let (mut worker, now) = (worker(), SECOND);
        let mut opening = polled(&["a"], Some(7));
        opening.shape = shape;
        let keys = [(); 2].map(|()| worker.open(&opening, Peer::default(), now));
        answer(&mut worker, "a", 7, now);
        for key in keys {
            assert!(text(pull(&mut worker, key, now)).contains("sluice.open"));
        }
        publish(&mut worker, "a", 8, now);
        let pointers = keys.map(|key| match pull(&mut worker, key, now) {
            Pull::Bytes(bytes) => bytes.as_ptr(),
            Pull::Pending | Pull::End => panic!("no bytes in {shape:?}"),
        });
        assert_eq!(pointers[0], pointers[1], "{shape:?}");
    }
}

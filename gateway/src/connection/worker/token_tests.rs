//! The token during the stream, and what a worker can say of an event: step by step.

use super::*;
use crate::auth::patterns::Patterns;
use crate::orders::asking::{Finding, Nonce};
use crate::orders::explain::{Question, Verdict};
use crate::orders::renewal::Fresh;

const MINUTE: Duration = Duration::from_secs(60);
/// Unix time in milliseconds at the start of each test's clock.
const START_MS: u64 = 1_763_676_000_000;

fn expiry(at: Duration) -> Expiry {
    Expiry {
        at,
        unix_ms: START_MS + u64::try_from(at.as_millis()).expect("fits"),
    }
}

fn id(n: u8) -> ConnectionId {
    ConnectionId::from_bytes([n; 16])
}

fn holder(subject: &str) -> Holder {
    Holder {
        subject: Some(subject.to_owned()),
        session: Some("s1".to_owned()),
        ..Holder::default()
    }
}

/// Ann's stream number `n` of these channels, from the place 7 of a single one.
fn stream(n: u8, channels: &[&str], shape: Shape, expires_at: Option<Duration>) -> Opening {
    Opening {
        id: id(n),
        holder: Arc::new(holder("ann")),
        shape,
        expires_at: expires_at.map(expiry),
        ..polled(channels, (channels.len() == 1).then_some(7))
    }
}

const EVENTS: Shape = Shape::EventStream { envelope: false };

fn fresh(subject: &str, patterns: &[&str]) -> Fresh {
    let texts: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    Fresh {
        holder: holder(subject),
        expires_at: 0,
        subscribe: Patterns::parse(&texts, subject).expect("patterns"),
    }
}

/// A stream on `a` that has said `sluice.open` at its place 7.
fn opened(worker: &mut Worker<Peer>, expires_at: Duration, now: Duration) -> usize {
    let key = worker.open(
        &stream(1, &["a"], EVENTS, Some(expires_at)),
        Peer::default(),
        now,
    );
    if worker
        .outbox()
        .iter()
        .any(|ask| matches!(ask, ToNode::Attach { .. }))
    {
        answer(worker, "a", 7, now);
    }
    let open = text(pull(worker, key, now));
    assert!(open.contains("event: sluice.open"), "{open}");
    key
}

/// The name that others may refer to it by is the stream's first word.
#[test]
fn a_stream_tells_its_name() {
    let mut worker = worker();
    for (shape, written) in [
        (EVENTS, "\"connection\":\""),
        (Shape::Ndjson, "\\\"connection\\\":\\\""),
    ] {
        let key = worker.open(&stream(5, &["a"], shape, None), Peer::default(), SECOND);
        answer(&mut worker, "a", 7, SECOND);
        let open = text(pull(&mut worker, key, SECOND));
        assert!(open.contains(&format!("{written}{}", id(5))), "{open}");
        worker.remove(key, SECOND).expect("there");
        worker.outbox().clear();
    }
}

/// Even where the sweep has not come round: what is due at the end of the token stays behind, and the place with it.
#[test]
fn nothing_is_delivered_after_the_tokens_end() {
    for shape in [EVENTS, Shape::Ndjson] {
        let (mut worker, now) = (worker(), SECOND);
        let ends = now + MINUTE * 2;
        let key = worker.open(&stream(1, &["a"], shape, Some(ends)), Peer::default(), now);
        answer(&mut worker, "a", 7, now);
        pull(&mut worker, key, now);
        publish(&mut worker, "a", 8, now);
        let before = ends - Duration::from_millis(1);
        assert!(text(pull(&mut worker, key, before)).contains("8-0.00000001"));
        publish(&mut worker, "a", 9, before);
        let last = text(pull(&mut worker, key, ends));
        assert!(
            last.contains("sluice.close") && last.contains("token_expired"),
            "{last}"
        );
        assert!(
            last.contains("8-0.00000001") && !last.contains("9-0.00000001"),
            "{last}"
        );
        assert_eq!(pull(&mut worker, key, ends), Pull::End);
        assert_eq!(
            ended(&mut worker, key, ends),
            (CloseReason::TokenExpired, 1)
        );
    }
}

/// A poll that waits over its token's end is answered with its place and no event.
#[test]
fn a_poll_gets_no_event_after_the_tokens_end() {
    let (mut worker, now) = (worker(), SECOND);
    let mut opening = polled(&["a"], Some(7));
    opening.expires_at = Some(expiry(now + SECOND));
    let key = worker.open(&opening, Peer::default(), now);
    answer(&mut worker, "a", 7, now);
    assert_eq!(pull(&mut worker, key, now), Pull::Pending);
    publish(&mut worker, "a", 8, now + SECOND);
    assert_eq!(
        text(pull(&mut worker, key, now + SECOND)),
        r#"{"cursor":"7-0.00000001","events":[]}"#
    );
    assert_eq!(
        ended(&mut worker, key, now + SECOND),
        (CloseReason::TokenExpired, 0)
    );
}

/// Of the token's end and another the earlier one is told, whichever the worker sees first.
#[test]
fn the_earlier_end_is_the_reason() {
    for (drained_at, reason) in [(50, CloseReason::Drain), (70, CloseReason::TokenExpired)] {
        let (mut worker, now) = (worker(), SECOND);
        let key = opened(&mut worker, now + MINUTE * 2, now);
        worker.drain(
            now + MINUTE * 2 + Duration::from_secs(drained_at) - MINUTE,
            Duration::ZERO,
        );
        let late = now + MINUTE * 3;
        text(pull(&mut worker, key, late));
        assert_eq!(worker.close_reason(key), Some(reason));
    }
}

/// Once, so long ahead; a quiet stream as well, which only the sweep wakes.
#[test]
fn the_end_is_told_ahead_of_time_and_once() {
    let (mut worker, now) = (worker(), SECOND);
    let key = opened(&mut worker, now + MINUTE * 2, now);
    let early = now + MINUTE - Duration::from_millis(1);
    worker.tick(early);
    let heartbeats = pull(&mut worker, key, early);
    assert!(
        !matches!(&heartbeats, Pull::Bytes(bytes) if bytes.len() > 2),
        "{heartbeats:?}"
    );
    worker.tick(now + MINUTE);
    let warning = text(pull(&mut worker, key, now + MINUTE));
    assert_eq!(
        warning,
        "id: 7-0.00000001\nevent: sluice.expiring\n\
         data: {\"expires_at\":\"2025-11-20T22:02:01Z\",\"seconds\":60}\n\n"
    );
    worker.tick(now + MINUTE + SECOND);
    assert_eq!(pull(&mut worker, key, now + MINUTE + SECOND), Pull::Pending);
}

/// With less left than the lead it is the first thing after `sluice.open`; a lead of nothing is never.
#[test]
fn a_short_token_is_told_at_once_and_a_lead_of_nothing_never() {
    for (lead, told) in [(MINUTE, true), (Duration::ZERO, false)] {
        let (mut worker, now) = (worker(), SECOND);
        worker.limits.expiring_lead = lead;
        let opening = stream(1, &["a"], EVENTS, Some(now + SECOND * 30));
        let key = worker.open(&opening, Peer::default(), now);
        answer(&mut worker, "a", 7, now);
        publish(&mut worker, "a", 8, now);
        let first = text(pull(&mut worker, key, now));
        let kinds: Vec<&str> = first
            .lines()
            .filter_map(|line| line.strip_prefix("event: "))
            .collect();
        let expected: &[&str] = if told {
            &["sluice.open", "sluice.expiring"]
        } else {
            &["sluice.open"]
        };
        assert_eq!(kinds, expected, "{first}");
        assert!(
            first.ends_with("data: x\n\n"),
            "the event comes after them: {first}"
        );
    }
}

/// A new token carries the stream over the old one's end, and is warned of and ends like any.
#[test]
fn a_renewed_stream_goes_on_until_the_new_tokens_end() {
    let (mut worker, now) = (worker(), SECOND);
    let key = opened(&mut worker, now + SECOND * 30, now);
    let ends = now + MINUTE * 10;
    let found = worker.renew(id(1), &fresh("ann", &["a"]), expiry(ends), now);
    assert_eq!(found, Some(Finding::Renewed));
    worker.tick(now + MINUTE);
    publish(&mut worker, "a", 8, now + MINUTE);
    assert!(text(pull(&mut worker, key, now + MINUTE)).contains("8-0.00000001"));
    worker.tick(ends - MINUTE);
    let warning = text(pull(&mut worker, key, ends - MINUTE));
    assert!(warning.contains("\"seconds\":60"), "{warning}");
    worker.tick(ends);
    assert!(text(pull(&mut worker, key, ends)).contains("token_expired"));
    // It is ending: a token comes too late.
    let found = worker.renew(id(1), &fresh("ann", &["a"]), expiry(ends + MINUTE), ends);
    assert_eq!(found, None);
}

/// Another subject's token, or one that allows less, changes nothing.
#[test]
fn a_token_that_does_not_fit_changes_nothing() {
    let (mut worker, now) = (worker(), SECOND);
    let ends = now + MINUTE * 2;
    let opening = stream(1, &["a", "b"], EVENTS, Some(ends));
    let key = worker.open(&opening, Peer::default(), now);
    let renew = |worker: &mut Worker<Peer>, n, fresh: &Fresh| {
        worker.renew(id(n), fresh, expiry(now + MINUTE * 9), now)
    };
    assert_eq!(
        renew(&mut worker, 1, &fresh("bob", &["**"])),
        Some(Finding::OtherSubject)
    );
    let missing = Finding::MissingChannel {
        channel: "b".to_owned(),
    };
    assert_eq!(renew(&mut worker, 1, &fresh("ann", &["a"])), Some(missing));
    assert_eq!(renew(&mut worker, 2, &fresh("ann", &["**"])), None);
    assert!(text(pull(&mut worker, key, ends)).contains("token_expired"));
}

/// All streams of a browser session, and nobody else's.
#[test]
fn a_session_renews_its_own_streams() {
    let (mut worker, now) = (worker(), SECOND);
    let ends = now + MINUTE * 2;
    let mut keys = Vec::new();
    for (n, session, channels) in [
        (1, "s1", &["a"][..]),
        (2, "s1", &["a", "b"]),
        (3, "s1", &["c"]),
        (4, "s2", &["a"]),
    ] {
        let mut opening = stream(n, channels, EVENTS, Some(ends));
        opening.holder = Arc::new(Holder {
            session: Some(session.to_owned()),
            ..holder("ann")
        });
        keys.push(worker.open(&opening, Peer::default(), now));
    }
    let token = fresh("ann", &["a", "b"]);
    assert_eq!(worker.renew_session(&token, expiry(ends + MINUTE), now), 2);
    let over: Vec<bool> = keys
        .iter()
        .map(|key| {
            pull(&mut worker, *key, ends);
            worker.close_reason(*key).is_some()
        })
        .collect();
    assert_eq!(
        over,
        [false, false, true, true],
        "`c` is not allowed, `s2` is another session"
    );
    assert_eq!(
        worker.renew_session(&fresh("bob", &["**"]), expiry(ends + MINUTE), now),
        0
    );
    for key in keys {
        worker.remove(key, ends);
    }
    assert!(
        worker.index.is_empty(),
        "streams that have gone are forgotten"
    );
}

fn why(worker: &Worker<Peer>, n: u8, channel: &str, event: u64, now: Duration) -> Option<Verdict> {
    let question = Question {
        nonce: Nonce::from_bytes([0; 16]),
        connection: id(n),
        channel: channel.to_owned(),
        id: place(event).to_string(),
    };
    // The positions of these tests are small numbers: the stream opens at the Unix time 8 ms.
    let wall = 8 + u64::try_from((now.saturating_sub(SECOND)).as_millis()).expect("fits");
    worker.explain(&question, now, wall).map(|why| why.verdict)
}

/// Each step of an event's way has its own answer.
#[test]
fn what_became_of_an_event_is_said_as_far_as_it_is_known() {
    let (mut worker, now) = (worker(), SECOND);
    let key = worker.open(&stream(1, &["a"], EVENTS, None), Peer::default(), now);
    let ask = |worker: &Worker<Peer>, event| why(worker, 1, "a", event, now);
    assert_eq!(ask(&worker, 8), Some(Verdict::WaitingForPlace));
    assert_eq!(why(&worker, 1, "b", 8, now), Some(Verdict::NotSubscribed));
    assert_eq!(why(&worker, 2, "a", 8, now), None, "nobody has it");
    answer(&mut worker, "a", 7, now);
    pull(&mut worker, key, now);
    assert_eq!(ask(&worker, 8), Some(Verdict::NotSeen));
    assert_eq!(
        ask(&worker, 7),
        Some(Verdict::BeforeStart),
        "it resumed there"
    );
    publish(&mut worker, "a", 8, now);
    publish(&mut worker, "a", 9, now);
    assert_eq!(ask(&worker, 8), Some(Verdict::Waiting));
    pull(&mut worker, key, now);
    assert_eq!(ask(&worker, 8), Some(Verdict::Delivered));
    worker.remove(key, now).expect("there");
    assert_eq!(ask(&worker, 9), Some(Verdict::Delivered));
    assert_eq!(ask(&worker, 10), Some(Verdict::Ended));
}

#[test]
fn what_a_live_start_or_a_reset_skipped_is_said() {
    let (mut worker, now) = (worker(), SECOND);
    let mut opening = stream(1, &["a"], EVENTS, None);
    opening.start = StartAt::Live;
    let key = worker.open(&opening, Peer::default(), now);
    answer(&mut worker, "a", 7, now);
    pull(&mut worker, key, now);
    assert_eq!(why(&worker, 1, "a", 6, now), Some(Verdict::OpenedAfter));
    let reset = crate::hub::exchange::Reset {
        from: Some(place(7)),
        to: place(20),
        reason: crate::reasons::ResetReason::Trimmed,
    };
    let channel = name("a");
    worker.hear(
        ToWorker::Next {
            channel,
            entry: Entry::Reset(reset),
            at: now,
        },
        now,
    );
    pull(&mut worker, key, now);
    assert_eq!(why(&worker, 1, "a", 12, now), Some(Verdict::Reset));
    assert_eq!(
        why(&worker, 1, "a", 7, now),
        Some(Verdict::OpenedAfter),
        "before the reset"
    );
}

/// The oldest is forgotten first, and polls are not remembered.
#[test]
fn ended_streams_are_remembered_up_to_their_limit() {
    let (mut worker, now) = (worker(), SECOND);
    for n in 1..=3 {
        let key = worker.open(&stream(n, &["a"], EVENTS, None), Peer::default(), now);
        worker.remove(key, now).expect("there");
    }
    let mut poll = polled(&["a"], Some(7));
    poll.id = id(4);
    let key = worker.open(&poll, Peer::default(), now);
    worker.remove(key, now).expect("there");
    let known = [1, 2, 3, 4].map(|n| why(&worker, n, "a", 9, now).is_some());
    assert_eq!(known, [false, true, true, false]);
}

/// However many streams a worker has, each is looked at within a second of its token's end.
#[test]
fn among_very_many_an_expired_stream_ends_within_a_second() {
    let (mut worker, now) = (worker(), SECOND);
    let ends = now + SECOND * 2;
    let count = SWEPT_AT_ONCE + 10;
    for _ in 0..count {
        let opening = stream(1, &["a"], EVENTS, Some(ends));
        worker.open(&opening, Peer::default(), now);
    }
    let tick = Duration::from_millis(100);
    for n in 0..10 {
        worker.tick(ends + tick * n);
    }
    let open = (0..count).filter(|key| worker.close_reason(*key).is_none());
    assert_eq!(open.count(), 0);
    assert_eq!(worker.close_reason(0), Some(CloseReason::TokenExpired));
}

/// What a stream of one channel costs in memory while nothing happens on it, its way out aside.
#[test]
fn a_stream_and_its_seat_stay_small() {
    let (stream, seat) = (size_of::<Stream<()>>(), size_of::<Seat>());
    assert!(stream <= 344 && seat <= 136, "{stream} and {seat} bytes");
}

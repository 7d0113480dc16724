//! Positions: how events link, where ids come from, and what becomes of a lost head or stream.

use std::{collections::HashSet, time::Duration};

use redis::Connection;
use sluice_wire::{Head, Position, Publish, Refusal, StreamId};

use crate::support::script::{Redis, command, in_each_form};

const FUTURE: u64 = 9_000_000_000_000;

/// Makes the chain stand at `id` in the future, head and stream alike: to the script, its clock was set back.
fn stand_at(redis: &mut Redis, id: StreamId) -> Head {
    let head = Head {
        position: Position::new(id, 0xaa),
        genesis: Position::genesis(0xbb),
    };
    let (stream, key) = (redis.stream_key(), redis.head_key());
    redis.run::<()>(&[
        "XADD",
        &stream,
        &id.to_string(),
        "p",
        "0-0.000000bb",
        "t",
        "000000aa",
        "d",
        "first",
    ]);
    redis.run::<()>(&["SET", &key, &format!("{} {}", head.position, head.genesis)]);
    head
}

/// Time of the server in milliseconds.
fn server_ms(connection: &mut Connection) -> u64 {
    let (seconds, micros): (u64, u64) = command(&["TIME"]).query(connection).expect("the time");
    seconds * 1000 + micros / 1000
}

#[test]
fn the_first_event_begins_a_chain_and_later_ones_link() {
    in_each_form(|redis| {
        let before = server_ms(&mut redis.connection);
        let first = redis.append("one");
        let second = redis.append("two");
        let after = server_ms(&mut redis.connection);
        let events = redis.events();
        assert_eq!([events[0].position, events[1].position], [first, second]);
        assert!(events[0].prev.is_genesis());
        assert_eq!(events[1].prev, first);
        assert_eq!(
            redis.head(),
            Some(Head {
                position: second,
                genesis: events[0].prev
            })
        );
        assert!(
            (before..=after).contains(&first.id().ms),
            "ids are the server's time"
        );
        assert_eq!(redis.all_keys(), [redis.head_key(), redis.stream_key()]);
    });
}

#[test]
fn a_clock_set_back_never_sets_ids_back() {
    in_each_form(|redis| {
        let head = stand_at(redis, StreamId { ms: FUTURE, seq: 7 });
        let event = redis.append("x");
        assert_eq!(event.id(), StreamId { ms: FUTURE, seq: 8 });
        assert_eq!(redis.events()[1].prev, head.position);
        assert_eq!(
            redis.head(),
            Some(Head {
                position: event,
                genesis: head.genesis
            })
        );
    });
}

#[test]
fn the_sequence_carries_past_65535() {
    in_each_form(|redis| {
        stand_at(
            redis,
            StreamId {
                ms: FUTURE,
                seq: 65_534,
            },
        );
        assert_eq!(
            redis.append("x").id(),
            StreamId {
                ms: FUTURE,
                seq: 65_535
            }
        );
        assert_eq!(
            redis.append("x").id(),
            StreamId {
                ms: FUTURE + 1,
                seq: 0
            }
        );
        assert_eq!(
            redis.append("x").id(),
            StreamId {
                ms: FUTURE + 1,
                seq: 1
            }
        );
    });
}

#[test]
fn ids_that_are_used_up_are_refused_and_nothing_is_written() {
    in_each_form(|redis| {
        let head = stand_at(
            redis,
            StreamId {
                ms: StreamId::MAX_MS,
                seq: 65_535,
            },
        );
        let refusal = redis.append_once("a", "x").expect_err("refused");
        assert_eq!(refusal.code(), "bad_head");
        assert_eq!((redis.events().len(), redis.head()), (1, Some(head)));
    });
}

#[test]
fn a_lost_head_deletes_the_stale_stream_and_begins_a_distinct_chain() {
    in_each_form(|redis| {
        let mut seen = HashSet::new();
        for n in 0..50 {
            let key = redis.head_key();
            redis.delete(&key);
            if n % 2 == 0 {
                redis.append("x");
                let events = redis.events();
                assert_eq!(events.len(), 1, "the stale stream is gone");
                assert_eq!(redis.head().map(|head| head.genesis), Some(events[0].prev));
                assert!(seen.insert(events[0].prev), "a genesis never repeats");
            } else {
                assert!(seen.insert(redis.ensure_head()), "a genesis never repeats");
                assert_eq!(redis.events(), [], "the stale stream is gone");
            }
        }
    });
}

#[test]
fn a_stale_stream_in_the_future_cannot_stop_a_new_chain() {
    in_each_form(|redis| {
        stand_at(redis, StreamId { ms: FUTURE, seq: 0 });
        let key = redis.head_key();
        redis.delete(&key);
        let event = redis.append("x");
        assert!(event.id().ms < FUTURE);
        assert_eq!(redis.events().len(), 1);
    });
}

#[test]
fn a_lost_stream_leaves_the_chain_whole() {
    in_each_form(|redis| {
        let first = redis.append("one");
        let key = redis.stream_key();
        redis.delete(&key);
        redis.append("two");
        assert_eq!(redis.events()[0].prev, first);
    });
}

#[test]
fn a_foreign_entry_ahead_of_the_head_is_refused_not_overwritten() {
    in_each_form(|redis| {
        let first = redis.append("one");
        let key = redis.stream_key();
        redis.run::<()>(&["XADD", &key, &format!("{FUTURE}-0"), "what", "ever"]);
        assert_eq!(redis.append_once("a", "x"), Err(Refusal::BadStream));
        assert_eq!(redis.head().map(|head| head.position), Some(first));
        assert_eq!(
            redis.all_keys(),
            [redis.head_key(), key],
            "no record of the refused event"
        );
    });
}

#[test]
fn a_head_that_is_no_head_is_refused() {
    in_each_form(|redis| {
        let key = redis.head_key();
        let keys = [redis.stream_key(), redis.head_key()];
        for bad in [
            "",
            "x",
            "1-1.0000000a x",
            "1-1.0000000a 1-1.0000000a",
            "01-1.0000000a 0-0.0000000a",
            "1-65536.0000000a",
        ] {
            redis.run::<()>(&["SET", &key, bad]);
            assert_eq!(
                redis.append_once("a", "x").map_err(|r| r.code()),
                Err("bad_head"),
                "{bad:?}"
            );
            assert_eq!(
                redis.ensure_head_raw(&keys, &[]).map_err(|r| r.code()),
                Err("bad_head"),
                "{bad:?}"
            );
            assert!(Head::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        redis.run::<()>(&["DEL", &key]);
        redis.run::<()>(&["LPUSH", &key, "x"]);
        assert_eq!(
            (
                redis.append_once("a", "x").map_err(|r| r.code()),
                redis.ensure_head_raw(&keys, &[]).map_err(|r| r.code())
            ),
            (Err("bad_head"), Err("bad_head")),
            "a list"
        );
        redis.run::<()>(&["SET", &key, "1-1.0000000a"]);
        redis.append("x");
        assert_eq!(
            redis.head().map(|head| head.genesis),
            Some(Position::genesis(0)),
            "a position alone is taken"
        );
    });
}

#[test]
fn ensure_head_makes_one_head_and_keeps_it_alive() {
    in_each_form(|redis| {
        let head_key = redis.head_key();
        let genesis = redis.ensure_head();
        assert!(genesis.is_genesis());
        assert_eq!(
            redis.head(),
            Some(Head {
                position: genesis,
                genesis
            })
        );
        assert_eq!(redis.ensure_head(), genesis);
        assert_eq!(redis.all_keys(), std::slice::from_ref(&head_key));
        let day = Duration::from_secs(86_400);
        assert!(redis.ttl(&head_key) > day * 29);
        redis.run::<()>(&["PEXPIRE", &head_key, "60000"]);
        redis.ensure_head();
        assert!(redis.ttl(&head_key) > day * 29, "renewed");
        redis.run::<()>(&["PERSIST", &head_key]);
        redis.ensure_head();
        assert!(redis.ttl(&head_key) > day * 29, "a head always has a TTL");
        let event = redis.append("x");
        assert_eq!(redis.events()[0].prev, genesis);
        assert_eq!(
            redis.ensure_head(),
            event,
            "the head of a channel in use is its last event"
        );
        assert_eq!(redis.events().len(), 1, "whose stream is not stale");
    });
}

#[test]
fn a_tag_is_the_given_one_or_differs_each_time() {
    in_each_form(|redis| {
        let channel = redis.channel.clone();
        let given = redis.publish(&Publish {
            tag: Some(0x00c0_ffee),
            ..Publish::new(&channel, b"x")
        });
        assert_eq!(given.map(Position::tag), Ok(0x00c0_ffee));
        let tags: HashSet<u32> = (0..100).map(|_| redis.append("x").tag()).collect();
        assert!(tags.len() >= 99, "{} of 100 tags differ", tags.len());
        let rewind = |redis: &mut Redis| {
            redis.run::<()>(&["FLUSHALL"]);
            stand_at(redis, StreamId { ms: FUTURE, seq: 0 });
            redis.append("x")
        };
        let (one, other) = (rewind(redis), rewind(redis));
        assert_eq!(one.id(), other.id());
        assert_ne!(one, other, "the same id on two timelines is two positions");
    });
}

//! Each rule of `publish.lua` on a real Redis, in each of its forms.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use redis::Connection;
use sluice_wire::{
    Channel, Defaults, Head, Position, Publish, Refusal, StreamId,
    publish::{
        FUNCTION_PUBLISH, FUNCTION_VERSION, LIBRARY_VERSION, needs_install, parse_reply, script,
    },
};
use support::script::{
    Form, Redis, call, command, in_each_form, in_each_form_with, next_event, next_message,
    subscribe,
};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
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
fn the_message_is_the_stored_event_and_comes_last() {
    in_each_form(|redis| {
        let mut listener = redis.server.connect();
        let topic = redis.keys.topic(&redis.channel);
        let mut subscription = subscribe(&mut listener, &topic);
        let mut monitor = Monitor::start(redis.server.port);
        let channel = redis.channel.clone();
        let publish = Publish {
            event_type: Some("đơn.hàng"),
            event_id: Some("a b/%=é\u{1f980}"),
            traceparent: Some(TRACEPARENT),
            ..Publish::new(&channel, "a\r\nb\0\u{feff}\n".as_bytes())
        };
        let position = redis.publish(&publish).expect("published");
        let message = next_message(&mut subscription);
        let stored = redis.events().remove(0);
        assert_eq!(message, stored.encode());
        assert_eq!(stored.position, position);
        assert_eq!(stored.event_type.as_deref(), publish.event_type);
        assert_eq!(stored.event_id.as_deref(), publish.event_id);
        assert_eq!(stored.traceparent.as_deref(), publish.traceparent);
        assert_eq!(stored.data, publish.data);
        let commands = monitor.script_commands_until("PUBLISH");
        let order = [
            "GET", "TIME", "DEL", "XADD", "PEXPIRE", "SET", "SET", "PUBLISH",
        ];
        assert_eq!(
            commands, order,
            "a new chain: reads, then writes, then the message"
        );
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
fn a_repeated_event_id_answers_the_first_position_and_does_nothing() {
    in_each_form(|redis| {
        let mut listener = redis.server.connect();
        let topic = redis.keys.topic(&redis.channel);
        let mut subscription = subscribe(&mut listener, &topic);
        let first = redis.append_once("ev-1", "x").expect("published");
        let second = redis.append("y");
        assert_eq!(redis.append_once("ev-1", "x"), Ok(first));
        assert_eq!(redis.append_once("ev-1", "x"), Ok(first));
        let third = redis
            .append_once("ev-2", "x")
            .expect("another id is another event");
        assert_eq!(
            redis
                .events()
                .iter()
                .map(|e| e.position)
                .collect::<Vec<_>>(),
            [first, second, third]
        );
        let sent = [(); 3].map(|()| next_event(&mut subscription).position);
        assert_eq!(sent, [first, second, third], "a repetition sends nothing");
    });
}

#[test]
fn an_event_id_with_another_type_or_data_is_refused() {
    in_each_form(|redis| {
        redis.append_once("ev-1", "x").expect("published");
        assert_eq!(redis.append_once("ev-1", "y"), Err(Refusal::EventIdReused));
        let channel = redis.channel.clone();
        let other = Publish {
            event_id: Some("ev-1"),
            event_type: Some("t"),
            ..Publish::new(&channel, b"x")
        };
        assert_eq!(redis.publish(&other), Err(Refusal::EventIdReused));
        assert_eq!(redis.events().len(), 1);
    });
}

#[test]
fn an_event_id_of_an_earlier_genesis_is_forgotten() {
    in_each_form(|redis| {
        let first = redis.append_once("ev-1", "x").expect("published");
        let key = redis.head_key();
        redis.delete(&key);
        let again = redis.append_once("ev-1", "other data").expect("published");
        assert_ne!(first, again);
        assert_eq!(redis.events().len(), 1);
        assert_eq!(redis.append_once("ev-1", "other data"), Ok(again));
    });
}

#[test]
fn an_event_id_outlives_trimming_and_the_stream() {
    in_each_form(|redis| {
        let first = redis.append_once("ev-1", "x").expect("published");
        let key = redis.stream_key();
        redis.delete(&key);
        assert_eq!(redis.append_once("ev-1", "x"), Ok(first));
    });
}

/// Every call that must be refused, with its code.
fn refused_calls(redis: &Redis) -> Vec<(Vec<String>, Vec<Vec<u8>>, &'static str)> {
    let keys = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let args = |words: &[&str]| {
        words
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    let good = vec![redis.stream_key(), redis.head_key()];
    let mut calls = Vec::new();
    for bad in [
        &[][..],
        &["sluice:{a}:s"],
        &["sluice:{a}:s", "sluice:{b}:m"],
        &["sluice:{a}:m", "sluice:{a}:s"],
        &["sluice:a:s", "sluice:a:m"],
        &["sluice:{}:s", "sluice:{}:m"],
        &["sluice:{a..b}:s", "sluice:{a..b}:m"],
        &["sluice:{.a}:s", "sluice:{.a}:m"],
        &["sluice:{a.}:s", "sluice:{a.}:m"],
        &["sluice:{đ}:s", "sluice:{đ}:m"],
        &["sluice:{a b}:s", "sluice:{a b}:m"],
        &["s{x}:{a}:s", "s{x}:{a}:m"],
        &["sluice:{a}:s", "sluice:{a}:m", "sluice:{b}:i:1"],
        &["sluice:{a}:s", "sluice:{a}:m", "sluice:{a}:j:1"],
        &[
            "sluice:{a}:s",
            "sluice:{a}:m",
            "sluice:{a}:i:1",
            "sluice:{a}:x",
        ],
    ] {
        calls.push((keys(bad), args(&["", "x"]), "bad_keys"));
    }
    let long = "c".repeat(129);
    calls.push((
        vec![
            format!("sluice:{{{long}}}:s"),
            format!("sluice:{{{long}}}:m"),
        ],
        args(&["", "x"]),
        "bad_keys",
    ));
    for bad in [
        "",
        "a\nb",
        "a\rb",
        "\0",
        "\u{7f}",
        "\u{9f}",
        &"é".repeat(129),
    ] {
        let record = redis.keys.idempotency(&redis.channel, bad);
        calls.push((
            [good.clone(), vec![record]].concat(),
            args(&["", "x"]),
            "bad_event_id",
        ));
    }
    for bad in [
        "open",
        "error",
        "sluice.open",
        "sluice.",
        "a\nb",
        "a\rb",
        "\0",
        "\u{7f}",
        "\u{80}",
        &"é".repeat(129),
    ] {
        calls.push((good.clone(), args(&[bad, "x"]), "bad_event_type"));
    }
    calls.push((
        good.clone(),
        vec![b"\xff".to_vec(), b"x".to_vec()],
        "bad_event_type",
    ));
    calls.push((
        good.clone(),
        vec![vec![], vec![b'x'; 65_537]],
        "event_too_large",
    ));
    for bad in [
        &[][..],
        &["t"],
        &["t", "x", "maxlen"],
        &["t", "x", "what", "1"],
        &["t", "x", "tag", "0000000a", "tag", "0000000a"],
    ] {
        calls.push((good.clone(), args(bad), "bad_argument"));
    }
    for (name, values) in [
        (
            "maxlen",
            &["", "0", "-1", "1.5", "1e3", "01", "1000001", "x", " 1"][..],
        ),
        ("ttl", &["0", "315360000001", "9999999999999999999"]),
        ("idem_ttl", &["0", "x"]),
        ("tag", &["", "0000000", "000000000", "0000000A", "0000000g"]),
        (
            "tp",
            &[
                "",
                "x",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\n",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            ],
        ),
    ] {
        for value in values {
            calls.push((good.clone(), args(&["t", "x", name, value]), "bad_argument"));
        }
    }
    calls
}

#[test]
fn a_refused_call_has_a_code_and_leaves_nothing_written() {
    in_each_form(|redis| {
        for (keys, args, code) in refused_calls(redis) {
            let outcome = redis
                .publish_raw(&keys, &args)
                .map_err(|refusal| refusal.code());
            assert_eq!(
                outcome,
                Err(code),
                "{keys:?} {:?}",
                Bytes::from(args.join(&b' '))
            );
            assert_eq!(
                redis.all_keys(),
                [""; 0],
                "validation comes before the first write"
            );
        }
        let stale = redis.stream_key();
        redis.run::<()>(&["XADD", &stale, "1-1", "a", "b"]);
        for (keys, args, _) in refused_calls(redis) {
            redis.publish_raw(&keys, &args).expect_err("refused");
        }
        assert_eq!(
            redis.run::<u64>(&["XLEN", &stale]),
            1,
            "not even a stale stream is deleted"
        );
    });
}

#[test]
fn an_unknown_argument_is_told_the_accepted_ones() {
    in_each_form(|redis| {
        let keys = [redis.stream_key(), redis.head_key()];
        let words = ["t", "x", "max\r\nlen", "1"].map(|word| word.as_bytes().to_vec());
        let refusal = redis.publish_raw(&keys, &words).expect_err("refused");
        assert_eq!(
            refusal.to_string(),
            "unknown argument max??len; accepted are maxlen, ttl, idem_ttl, tag, tp"
        );
        let refusal = redis
            .ensure_head_raw(&keys, &[b"ttl".to_vec(), b"1".to_vec()])
            .expect_err("refused");
        assert_eq!(
            refusal.to_string(),
            "unknown argument ttl; accepted are tag"
        );
        assert_eq!(redis.all_keys(), [""; 0]);
    });
}

#[test]
fn the_script_and_the_local_check_refuse_alike() {
    in_each_form(|redis| {
        let channel = redis.channel.clone();
        let base = Publish::new(&channel, b"x");
        let many = "é".repeat(128);
        for publish in [
            base,
            Publish {
                event_type: Some("open"),
                ..base
            },
            Publish {
                event_type: Some(&many),
                event_id: Some(&many),
                ..base
            },
            Publish {
                event_type: Some("sluice.x"),
                event_id: Some("\n"),
                ..base
            },
            Publish {
                event_id: Some(""),
                ..base
            },
            Publish {
                data: b"\xc3",
                ..base
            },
            Publish {
                data: &[b'x'; 65_536],
                ..base
            },
            Publish {
                data: &[0xff; 65_537],
                ..base
            },
            Publish {
                maxlen: Some(0),
                ..base
            },
            Publish {
                maxlen: Some(1_000_001),
                ..base
            },
            Publish {
                ttl: Some(Duration::from_micros(1)),
                ..base
            },
            Publish {
                idem_ttl: Some(Duration::MAX),
                ..base
            },
            Publish {
                traceparent: Some("x"),
                ..base
            },
            Publish {
                traceparent: Some(TRACEPARENT),
                ..base
            },
        ] {
            let local = publish
                .check(redis.defaults.event_bytes)
                .map_err(|refusal| refusal.to_string());
            let script = redis
                .publish(&publish)
                .map(|_| ())
                .map_err(|refusal| refusal.to_string());
            assert_eq!(script, local, "{publish:?}");
        }
    });
}

#[test]
fn data_is_utf8_as_rust_understands_it() {
    let mut samples: Vec<Vec<u8>> = vec![b"".to_vec(), "aé€🦀đ\u{10ffff}\u{d7ff}\u{e000}".into()];
    let edges = [
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
        0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    ];
    for a in edges {
        samples.push(vec![a]);
        for b in edges {
            samples.push(vec![a, b]);
            for c in edges {
                samples.push(vec![a, b, c]);
                // Fourth bytes matter after four-byte leads only.
                samples.extend(
                    [0x41, 0x80, 0xbf, 0xc2]
                        .map(|d| vec![a, b, c, d])
                        .into_iter()
                        .filter(|_| a >= 0xee),
                );
            }
        }
    }
    in_each_form(|redis| {
        let channel = redis.channel.clone();
        for sample in &samples {
            let outcome = redis.publish(&Publish::new(&channel, sample));
            assert_eq!(
                outcome.is_ok(),
                std::str::from_utf8(sample).is_ok(),
                "{sample:02x?}"
            );
            assert!(
                outcome.is_ok() || outcome == Err(Refusal::DataNotUtf8),
                "{sample:02x?}"
            );
        }
    });
}

#[test]
fn the_stream_is_trimmed_to_about_maxlen() {
    in_each_form_with(
        Defaults::default(),
        &["--stream-node-max-entries", "10"],
        |redis| {
            let channel = redis.channel.clone();
            for _ in 0..100 {
                redis
                    .publish(&Publish {
                        maxlen: Some(20),
                        ..Publish::new(&channel, b"x")
                    })
                    .expect("published");
            }
            let events = redis.events();
            assert!(
                (20..=30).contains(&events.len()),
                "{} events kept",
                events.len()
            );
            assert!(
                events
                    .windows(2)
                    .all(|pair| pair[1].prev == pair[0].position)
            );
        },
    );
}

#[test]
fn every_key_has_its_time_to_live() {
    let (minute, hour, day) = (
        Duration::from_secs(60),
        Duration::from_secs(3600),
        Duration::from_secs(86_400),
    );
    let near = |found: Duration, expected: Duration| {
        assert!(
            found <= expected && found + minute / 2 > expected,
            "{found:?} is not just below {expected:?}"
        );
    };
    in_each_form(|redis| {
        let (stream, head, record) = (
            redis.stream_key(),
            redis.head_key(),
            redis.keys.idempotency(&redis.channel, "ev-1"),
        );
        redis.append_once("ev-1", "x").expect("published");
        near(redis.ttl(&stream), hour);
        near(redis.ttl(&head), day * 30);
        near(redis.ttl(&record), minute * 5);
        let channel = redis.channel.clone();
        let given = Publish {
            event_id: Some("ev-2"),
            ttl: Some(minute * 2),
            idem_ttl: Some(minute),
            ..Publish::new(&channel, b"x")
        };
        redis.publish(&given).expect("published");
        let record = redis.keys.idempotency(&redis.channel, "ev-2");
        near(redis.ttl(&stream), minute * 2);
        near(redis.ttl(&head), day * 30);
        near(redis.ttl(&record), minute);
        redis
            .publish(&Publish {
                ttl: Some(day * 60),
                ..given
            })
            .expect("repeated");
        near(redis.ttl(&stream), minute * 2);
        redis
            .publish(&Publish {
                ttl: Some(day * 60),
                event_id: None,
                ..given
            })
            .expect("published");
        near(redis.ttl(&head), day * 60);
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
        assert_eq!(redis.all_keys(), [head_key.clone()]);
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

#[test]
fn only_declared_keys_are_touched() {
    in_each_form(|redis| {
        let record = redis.keys.idempotency(&redis.channel, "ev-1");
        let topic = redis.keys.topic(&redis.channel);
        let keys = [redis.stream_key(), redis.head_key(), record].map(|key| format!("~{key}"));
        let commands = "+eval +evalsha +fcall +get +set +del +time +xadd +pexpire +pttl +publish";
        let mut words = vec!["ACL", "SETUSER", "publisher", "reset", "on", ">secret"];
        words.extend(keys.iter().map(String::as_str));
        let topic = format!("&{topic}");
        words.push(&topic);
        words.extend(commands.split(' '));
        redis.run::<()>(&words);
        redis.run::<()>(&["AUTH", "publisher", "secret"]);
        redis
            .append_once("ev-1", "x")
            .expect("published with exactly the declared keys");
        redis.append_once("ev-1", "x").expect("repeated");
        redis.ensure_head();
        let error = command(&["GET", "sluice:{other}:m"])
            .query::<()>(&mut redis.connection)
            .expect_err("refused");
        assert!(
            error.to_string().contains("NoPerm"),
            "the limits are in force: {error}"
        );
        redis.connection = redis.server.connect();
        redis.run::<()>(&["ACL", "DELUSER", "publisher"]);
    });
}

#[test]
fn on_a_cluster_events_are_published_to_shards() {
    let defaults = Defaults {
        sharded: true,
        ..Defaults::default()
    };
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-require-full-coverage",
        "no",
    ];
    in_each_form_with(defaults, &options, |redis| {
        command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .query::<()>(&mut redis.connection)
            .ok();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !redis
            .run::<String>(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
        {
            assert!(std::time::Instant::now() < deadline, "the cluster is up");
            std::thread::yield_now();
        }
        let topic = redis.keys.topic(&redis.channel);
        let mut subscriber = RawConnection::open(redis.server.port);
        subscriber.send(&format!("SSUBSCRIBE {topic}"));
        subscriber.read_until(":1");
        let first = redis.append_once("ev-1", "x").expect("published");
        assert_eq!(redis.append_once("ev-1", "x"), Ok(first));
        let genesis = redis.head().expect("a head").genesis;
        subscriber.read_until(&format!("sluice/1 {first} {genesis} i=ev-1"));
    });
}

#[test]
fn evalsha_falls_back_to_eval() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    redis.run::<()>(&["SCRIPT", "FLUSH"]);
    let (text, keys) = (
        script(&redis.defaults),
        [redis.stream_key(), redis.head_key()],
    );
    let args = [b"t".to_vec(), b"x".to_vec()];
    let mut run = |form| {
        call(form, &text, FUNCTION_PUBLISH, &keys, &args).query::<Vec<u8>>(&mut redis.connection)
    };
    let error = run(Form::Evalsha).expect_err("not cached");
    assert_eq!(error.code(), Some("NOSCRIPT"));
    run(Form::Eval).expect("published");
    let reply = run(Form::Evalsha).expect("EVAL leaves the script in the cache");
    assert!(parse_reply(&reply).is_ok());
    assert_eq!(redis.events().len(), 2);
}

#[test]
fn the_library_tells_its_version_without_writing() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    let found: i64 = redis.run(&["FCALL_RO", FUNCTION_VERSION, "0"]);
    assert_eq!(found, i64::from(LIBRARY_VERSION));
    assert!(!needs_install(Some(found)));
    redis.run::<()>(&["FUNCTION", "FLUSH"]);
    let error = command(&["FCALL_RO", FUNCTION_VERSION, "0"])
        .query::<i64>(&mut redis.connection)
        .expect_err("absent");
    assert!(error.to_string().contains("Function not found"), "{error}");
}

#[test]
fn redis_own_errors_are_not_taken_for_refusals() {
    in_each_form(|redis| {
        let keys = [redis.stream_key(), redis.head_key()];
        let args = [b"t".to_vec(), b"x".to_vec()];
        redis.append("one");
        redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let text = script(&redis.defaults);
        let error = call(redis.form, &text, FUNCTION_PUBLISH, &keys, &args)
            .query::<()>(&mut redis.connection);
        redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        let error = error.expect_err("out of memory");
        assert_eq!(error.code(), Some("OOM"));
        assert_eq!(Refusal::from_redis_error(&error.to_string()), None);
        assert_eq!(redis.events().len(), 1, "nothing was written");
    });
}

#[test]
fn the_most_text_is_validated_in_a_few_milliseconds() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    let channel = Channel::parse("big").expect("valid");
    for sample in ["a", "é", "đơn hàng ", "日本語", "🦀", "a\u{301}b日🦀 "] {
        let data = sample.repeat(65_536 / sample.len());
        redis.run::<()>(&["CONFIG", "RESETSTAT"]);
        for _ in 0..20 {
            redis
                .publish(&Publish::new(&channel, data.as_bytes()))
                .expect("published");
        }
        let stats: String = redis.run(&["INFO", "commandstats"]);
        let eval = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_eval:"))
            .expect("EVAL's statistics");
        let micros: f64 = eval
            .split("usec_per_call=")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("a number")
            .parse()
            .expect("a number");
        eprintln!("64 KiB of {sample:?}: {micros} µs");
        assert!(
            micros < 30_000.0,
            "64 KiB of {sample:?} took Redis {micros} µs"
        );
    }
}

/// A connection without a client library, for what the library does not offer blocking.
struct RawConnection {
    lines: BufReader<TcpStream>,
}

impl RawConnection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("redis-server answers");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        Self {
            lines: BufReader::new(stream),
        }
    }

    fn send(&mut self, command: &str) {
        write!(self.lines.get_mut(), "{command}\r\n").expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self
            .lines
            .read_line(&mut line)
            .expect("a line before the timeout");
        assert!(bytes > 0, "Redis closed the connection");
        line.trim_end().to_owned()
    }

    fn read_until(&mut self, expected: &str) {
        while self.line() != expected {}
    }
}

/// `MONITOR`: every command in the order in which Redis runs it.
struct Monitor(RawConnection);

impl Monitor {
    fn start(port: u16) -> Self {
        let mut connection = RawConnection::open(port);
        connection.send("MONITOR");
        connection.read_until("+OK");
        Self(connection)
    }

    /// The names of the commands that scripts ran, up to and with the first `last`.
    fn script_commands_until(&mut self, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        while names.last().map(String::as_str) != Some(last) {
            let line = self.0.line();
            if let Some((_, command)) = line.split_once(" lua] ") {
                names.push(command.split('"').nth(1).expect("a quoted name").to_owned());
            }
        }
        names
    }
}

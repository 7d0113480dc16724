//! What is refused: with which code, in agreement with the local check, and without a trace.

use std::time::Duration;

use bytes::Bytes;
use sluice_wire::{Defaults, Publish, Refusal};

use crate::{
    TRACEPARENT,
    support::script::{Form, Redis, in_each_form},
};

/// A call that must be refused: keys, arguments and the refusal's code.
type RefusedCall = (Vec<String>, Vec<Vec<u8>>, &'static str);

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn calls_with_bad_keys(redis: &Redis) -> Vec<RefusedCall> {
    let long = "c".repeat(129);
    let (long_s, long_m) = (
        format!("sluice:{{{long}}}:s"),
        format!("sluice:{{{long}}}:m"),
    );
    let keys: [&[&str]; 16] = [
        &[],
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
        &[&long_s, &long_m],
    ];
    let bad_keys = keys.iter().map(|keys| {
        (
            keys.iter().map(|key| (*key).to_owned()).collect(),
            words(&["", "x"]),
            "bad_keys",
        )
    });
    let ids = [
        "",
        "a\nb",
        "a\rb",
        "\0",
        "\u{7f}",
        "\u{9f}",
        &"é".repeat(129),
    ];
    let bad_ids = ids.map(|id| {
        let keys = vec![
            redis.stream_key(),
            redis.head_key(),
            redis.keys.idempotency(&redis.channel, id),
        ];
        (keys, words(&["", "x"]), "bad_event_id")
    });
    bad_keys.chain(bad_ids).collect()
}

fn calls_with_bad_arguments(redis: &Redis) -> Vec<RefusedCall> {
    let call = |args, code| (vec![redis.stream_key(), redis.head_key()], args, code);
    let long = "é".repeat(129);
    let types = [
        "open",
        "error",
        "sluice.open",
        "sluice.",
        "a\nb",
        "a\rb",
        "\0",
        "\u{7f}",
        "\u{80}",
        &long,
    ];
    let mut calls: Vec<_> = types
        .iter()
        .map(|name| call(words(&[name, "x"]), "bad_event_type"))
        .collect();
    calls.push(call(
        vec![b"\xff".to_vec(), b"x".to_vec()],
        "bad_event_type",
    ));
    calls.push(call(vec![vec![], vec![b'x'; 65_537]], "event_too_large"));
    calls.push(call(vec![vec![], vec![b'x', 0xc3]], "data_not_utf8"));
    let shapes: [&[&str]; 5] = [
        &[],
        &["t"],
        &["t", "x", "maxlen"],
        &["t", "x", "what", "1"],
        &["t", "x", "tag", "0000000a", "tag", "0000000a"],
    ];
    calls.extend(shapes.map(|args| call(words(args), "bad_argument")));
    let parent = &TRACEPARENT[..52];
    let options: [(&str, &[&str]); 5] = [
        (
            "maxlen",
            &["", "0", "-1", "1.5", "1e3", "01", "1000001", "x", " 1"],
        ),
        ("ttl", &["0", "315360000001", "9999999999999999999"]),
        ("idem_ttl", &["0", "x"]),
        ("tag", &["", "0000000", "000000000", "0000000A", "0000000g"]),
        ("tp", &["", "x", parent, &parent.to_uppercase()]),
    ];
    for (name, values) in options {
        calls.extend(
            values
                .iter()
                .map(|value| call(words(&["t", "x", name, value]), "bad_argument")),
        );
    }
    calls
}

fn refused_calls(redis: &Redis) -> Vec<RefusedCall> {
    [calls_with_bad_keys(redis), calls_with_bad_arguments(redis)].concat()
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

/// Calls on both sides of the rules; `longest` is the longest name there may be.
fn awkward_publishes<'a>(base: Publish<'a>, longest: &'a str) -> Vec<Publish<'a>> {
    vec![
        base,
        Publish {
            event_type: Some("open"),
            ..base
        },
        Publish {
            event_type: Some(longest),
            event_id: Some(longest),
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
    ]
}

#[test]
fn the_script_and_the_local_check_refuse_alike() {
    in_each_form(|redis| {
        let channel = redis.channel.clone();
        let base = Publish::new(&channel, b"x");
        let many = "é".repeat(128);
        for publish in awkward_publishes(base, &many) {
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
    let mut redis = Redis::start(Defaults::default(), &[]);
    redis.form = Form::Fcall;
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
}

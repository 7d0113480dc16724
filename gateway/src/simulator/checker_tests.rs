//! The checker judges logs that were tampered with: each kind of damage must be
//! noticed, and a log as it was recorded must pass.

use rstest::rstest;

use super::checker::{Bounds, Reader, Seen};
use super::eventsource::{Block, Parser};
use super::past::{Past, Time};
use super::run::finish;
use super::world::Simulation;
use crate::hub::frame::Format;

/// What one client saw.
type Log = Vec<(Time, Seen)>;

/// A recorded run: one that loses history and tells resets, or one without either.
fn recorded(lossy: bool) -> (Simulation, Vec<Log>) {
    let mut simulation = (0..100)
        .map(|seed| Simulation::new(seed, 600))
        .filter(|simulation| {
            let settings = &simulation.settings;
            settings.lossy == lossy && settings.stream.backfill_events > 1_000
        })
        .find_map(|mut simulation| {
            simulation.log = Some(Vec::new());
            let outcome = finish(&mut simulation);
            assert_eq!(outcome.violation, None);
            (!lossy || outcome.counters.get("client resets") > 20).then_some(simulation)
        })
        .expect("such a seed");
    let mut logs = vec![Log::new(); simulation.clients.len()];
    for (at, client, seen) in simulation.log.take().expect("recorded") {
        logs[client].push((at, seen));
    }
    (simulation, logs)
}

fn judge(simulation: &Simulation, log: &[(Time, Seen)]) -> Result<(), String> {
    let names = simulation.redis.channels.iter();
    let names = names.map(|stored| stored.name.to_string()).collect();
    let stream = simulation.settings.stream.backfill_events;
    let mut reader = Reader::new(names, Bounds { backfill: stream });
    let pasts: Vec<&Past> = simulation.redis.channels.iter().map(|s| &s.past).collect();
    log.iter()
        .try_for_each(|(at, seen)| reader.see(seen, &pasts, *at))
}

fn block(seen: &Seen) -> Option<&Block> {
    match seen {
        Seen::Block(block) => Some(block),
        Seen::Connected(_) | Seen::Renewed(_) | Seen::Gone => None,
    }
}

fn is_event(seen: &Seen) -> bool {
    block(seen)
        .is_some_and(|block| !block.event_type.starts_with("sluice.") && !block.data.contains('~'))
}

/// Where a stream of one channel has three events in a row.
fn three_events(logs: &[Log]) -> (usize, usize) {
    let single = |log: &Log, at: usize| {
        let asked = log[..at].iter().rev().find_map(|(_, seen)| match seen {
            Seen::Connected(asked) => Some(asked.channels.len()),
            Seen::Block(_) | Seen::Renewed(_) | Seen::Gone => None,
        });
        asked == Some(1)
    };
    let places = logs.iter().enumerate().flat_map(|(client, log)| {
        let three = |at: &usize| log[*at..at + 3].iter().all(|(_, seen)| is_event(seen));
        let starts = (0..log.len().saturating_sub(3)).filter(three);
        starts
            .filter(|at| single(log, *at))
            .map(move |at| (client, at))
    });
    places.into_iter().next().expect("three events in a row")
}

fn edit(log: &mut Log, at: usize, edit: impl FnOnce(&mut Block)) {
    match &mut log[at].1 {
        Seen::Block(block) => edit(block),
        Seen::Connected(_) | Seen::Renewed(_) | Seen::Gone => panic!("not a block"),
    }
}

type Damage = fn(&mut Log, usize);

/// What was recorded passes, with and without losses.
#[rstest]
#[case(true)]
#[case(false)]
fn a_true_log_passes(#[case] lossy: bool) {
    let (simulation, logs) = recorded(lossy);
    for log in &logs {
        assert_eq!(judge(&simulation, log), Ok(()));
    }
}

/// What a damage is called, what the checker says of it, and how it is done at
/// the first of three events in a row.
const DAMAGES: [(&str, &str, Damage); 18] = [
    ("dropped", "a gap", |log, at| drop(log.remove(at + 1))),
    ("swapped", "a gap", |log, at| log.swap(at, at + 1)),
    ("repeated", "a duplicate", |log, at| {
        log.insert(at + 1, log[at].clone())
    }),
    ("repeated later", "a gap", |log, at| {
        log.insert(at + 2, log[at].clone())
    }),
    ("altered", "corrupt", |log, at| {
        edit(log, at, |b| b.data = b.data.replacen('/', "/9", 1))
    }),
    ("retyped", "corrupt", |log, at| {
        edit(log, at, |b| b.event_type = "other".to_owned())
    }),
    ("of another channel", "nobody asked for", |log, at| {
        edit(log, at, |b| b.data = "99/1".to_owned())
    }),
    ("not of Sluice", "nobody sent", |log, at| {
        edit(log, at, |b| b.data = "x".to_owned())
    }),
    ("invented", "a phantom", |log, at| {
        edit(log, at, |b| b.id = Some("7-0.0000000a".to_owned()))
    }),
    ("without an id", "without an id", |log, at| {
        edit(log, at, |b| b.id = None)
    }),
    ("with a bad id", "without a place", |log, at| {
        edit(log, at, |b| b.id = Some("x".to_owned()))
    }),
    ("out of thin air", "out of thin air", |log, at| {
        let channel = channel_at(log, at);
        edit(log, at, |b| b.data = format!("~{channel}/0"));
    }),
    ("before the open", "before sluice.open", |log, at| {
        let start = log[..at]
            .iter()
            .rposition(|(_, seen)| matches!(seen, Seen::Connected(_)));
        log.insert(start.expect("connected") + 1, log[at].clone());
    }),
    ("after the close", "after the end", |log, at| {
        close(log, at, at)
    }),
    ("moved by a close", "cursor says", |log, at| {
        close(log, at, at + 1)
    }),
    ("false trim", "a false reset", |log, at| {
        reset(log, at, "trimmed")
    }),
    ("false bad cursor", "a false reset", |log, at| {
        reset(log, at, "bad_cursor")
    }),
    ("false limit", "a false reset", |log, at| {
        reset(log, at, "backfill_limit")
    }),
];

/// Each kind of damage is noticed for what it is.
#[test]
fn damage_is_noticed() {
    let (simulation, logs) = recorded(false);
    let plain = logs.iter().zip(&simulation.clients);
    let plain = plain.filter(|(_, client)| client.format == Format::Plain);
    let logs: Vec<Log> = plain.map(|(log, _)| log.clone()).collect();
    let (client, at) = three_events(&logs);
    for (name, verdict, damage) in DAMAGES {
        let mut log = logs[client].clone();
        damage(&mut log, at);
        let told = judge(&simulation, &log).expect_err(name);
        assert!(told.contains(verdict), "{name}: {told}");
    }
}

/// Closes the stream after the event at `at`, with the id of the event at `id_at`.
fn close(log: &mut Log, at: usize, id_at: usize) {
    let close = Block {
        event_type: "sluice.close".to_owned(),
        id: block(&log[id_at].1).and_then(|block| block.id.clone()),
        data: "{\"reason\":\"drain\"}".to_owned(),
    };
    let time = log[at].0;
    log.insert(at + 1, (time, Seen::Block(close)));
}

/// A reset that is left out is a gap.
#[test]
fn an_unreported_reset_is_noticed() {
    let (simulation, logs) = recorded(true);
    let mut noticed = 0;
    for log in &logs {
        let resets = (0..log.len()).filter(|at| {
            block(&log[*at].1).is_some_and(|block| block.event_type == "sluice.reset")
                && log
                    .get(at + 1)
                    .is_some_and(|(_, seen)| block(seen).is_some())
        });
        for at in resets {
            let mut log = log.clone();
            log.remove(at);
            assert!(judge(&simulation, &log).is_err(), "reset {at} left out");
            noticed += 1;
        }
    }
    assert!(noticed > 0, "no reset was recorded");
}

/// The channel of the stream that is open at this place of the log.
fn channel_at(log: &Log, at: usize) -> usize {
    let asked = log[..at].iter().rev().find_map(|(_, seen)| match seen {
        Seen::Connected(asked) => asked.channels.first().copied(),
        Seen::Block(_) | Seen::Renewed(_) | Seen::Gone => None,
    });
    asked.expect("connected")
}

/// Tells a reset from the event at `at` to the one after the next.
fn reset(log: &mut Log, at: usize, reason: &str) {
    let id = |at: usize| block(&log[at].1).and_then(|block| block.id.clone());
    let (from, to) = (id(at).expect("an id"), id(at + 2).expect("an id"));
    let channel = channel_at(log, at);
    let time = log[at + 2].0;
    let told = Block {
        event_type: "sluice.reset".to_owned(),
        id: Some(to.clone()),
        data: format!(
            r#"{{"channel":"c{channel}","reason":"{reason}","from":"{from}","to":"{to}"}}"#
        ),
    };
    log.truncate(at + 1);
    log.push((time, Seen::Block(told)));
}

fn parse(text: &str) -> Result<Vec<Block>, String> {
    Parser::default().feed(text.as_bytes())
}

/// The parser reads what WHATWG HTML 9.2.6 says, in pieces of any size.
#[test]
fn blocks_are_read_byte_by_byte() {
    let text = ":\nid: 1-0.0000000a\r\nevent:  x\rdata: a\ndata:b\n\n:\ndata\n\n";
    let whole = parse(text).expect("valid");
    assert_eq!(whole.len(), 2);
    assert_eq!(
        (whole[0].event_type.as_str(), whole[0].data.as_str()),
        (" x", "a\nb")
    );
    assert_eq!((whole[1].id.clone(), whole[1].data.as_str()), (None, ""));
    let mut parser = Parser::default();
    let pieces: Vec<Block> = text
        .bytes()
        .flat_map(|byte| parser.feed(&[byte]).expect("valid"))
        .collect();
    assert_eq!(pieces, whole);
}

/// What a gateway has no reason to send is refused.
#[rstest]
#[case(":\n\n")]
#[case("id: 1\n\n")]
#[case("data: a\nfoo: b\n\n")]
#[case("data: a\nretry: 1s\n\n")]
#[case("id: 1\0\ndata: a\n\n")]
fn odd_blocks_are_refused(#[case] text: &str) {
    assert!(parse(text).is_err());
}

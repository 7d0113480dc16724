//! `Log` and `publish.lua` are one contract written twice: the same operations leave the same chain in memory and on a
//! real Redis.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use bytes::Bytes;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sluice_wire::{Event, Head, Log, Position, Publish, Refusal, SystemMillis, log::Published};
use support::script::{Form, Redis};

const CASES: u32 = 200;

#[derive(Clone, Debug)]
enum Operation {
    Publish {
        event_type: Option<&'static str>,
        data: &'static [u8],
        event_id: Option<&'static str>,
        tagged: bool,
        maxlen: Option<u32>,
    },
    EnsureHead,
    DeleteHead,
    DeleteStream,
    Trim(usize),
    Flush,
}

fn operation() -> impl Strategy<Value = Operation> {
    let event_type = option::of(prop_oneof![
        Just("t"),
        Just(""),
        Just("open"),
        Just("đ\u{85}")
    ]);
    let data = prop_oneof![4 => Just(&b"x"[..]), 2 => Just(&b"y"[..]), 1 => Just(&b""[..]), 1 => Just(&b"\xff"[..])];
    let event_id = option::of(prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("\n")]);
    let publish = (
        event_type,
        data,
        event_id,
        any::<bool>(),
        option::of(0..6_u32),
    )
        .prop_map(
            |(event_type, data, event_id, tagged, maxlen)| Operation::Publish {
                event_type,
                data,
                event_id,
                tagged,
                maxlen,
            },
        );
    prop_oneof![
        12 => publish,
        2 => Just(Operation::EnsureHead),
        1 => Just(Operation::DeleteHead),
        1 => Just(Operation::DeleteStream),
        1 => (0..5_usize).prop_map(Operation::Trim),
        1 => Just(Operation::Flush),
    ]
}

/// What can be observed after an operation, with positions numbered in the order in which they were first seen: ids and
/// hashed tags come from each side's clock, how they relate must not.
#[derive(Clone, Eq, PartialEq, Debug)]
struct Observed {
    outcome: Result<Option<usize>, Refusal>,
    head: Option<(usize, usize)>,
    events: Vec<ObservedEvent>,
}

#[derive(Clone, Eq, PartialEq, Debug)]
struct ObservedEvent {
    position: usize,
    prev: usize,
    event_type: Option<Arc<str>>,
    event_id: Option<Arc<str>>,
    data: Bytes,
}

#[derive(Default)]
struct Numbers(HashMap<Position, usize>);

impl Numbers {
    fn of(&mut self, position: Position) -> usize {
        let next = self.0.len();
        *self.0.entry(position).or_insert(next)
    }

    fn observe(
        &mut self,
        outcome: Result<Option<Position>, Refusal>,
        head: Option<Head>,
        events: Vec<Event>,
    ) -> Observed {
        let is_chain = events.windows(2).all(|pair| {
            pair[1].prev == pair[0].position && pair[1].position.id() > pair[0].position.id()
        });
        assert!(is_chain, "{events:?}");
        Observed {
            outcome: outcome.map(|position| position.map(|position| self.of(position))),
            head: head.map(|head| (self.of(head.position), self.of(head.genesis))),
            events: events
                .into_iter()
                .map(|event| self.observe_event(event))
                .collect(),
        }
    }

    fn observe_event(&mut self, event: Event) -> ObservedEvent {
        let (position, prev) = (self.of(event.position), self.of(event.prev));
        ObservedEvent {
            position,
            prev,
            event_type: event.event_type,
            event_id: event.event_id,
            data: event.data,
        }
    }
}

fn on_redis(
    redis: &mut Redis,
    operation: &Operation,
    step: u32,
) -> Result<Option<Position>, Refusal> {
    let channel = redis.channel.clone();
    let (stream, head) = (redis.stream_key(), redis.head_key());
    match operation {
        Operation::Publish {
            event_type,
            data,
            event_id,
            tagged,
            maxlen,
        } => {
            let publish = Publish {
                event_type: *event_type,
                event_id: *event_id,
                tag: tagged.then_some(step),
                maxlen: *maxlen,
                ..Publish::new(&channel, data)
            };
            return redis.publish(&publish).map(Some);
        }
        Operation::EnsureHead => return Ok(Some(redis.ensure_head())),
        Operation::DeleteHead => redis.delete(&head),
        Operation::DeleteStream => redis.delete(&stream),
        Operation::Trim(count) => {
            redis.run::<()>(&["XTRIM", &stream, "MAXLEN", &count.to_string()])
        }
        Operation::Flush => redis.run::<()>(&["FLUSHALL"]),
    }
    Ok(None)
}

fn on_log(
    log: &mut Log,
    redis: &Redis,
    operation: &Operation,
    step: u32,
) -> Result<Option<Position>, Refusal> {
    let (now, nonce) = (
        SystemMillis(1_000_000 + u64::from(step / 3)),
        0x8000_0000 + step,
    );
    match operation {
        Operation::Publish {
            event_type,
            data,
            event_id,
            tagged,
            maxlen,
        } => {
            let publish = Publish {
                event_type: *event_type,
                event_id: *event_id,
                tag: tagged.then_some(step),
                maxlen: *maxlen,
                ..Publish::new(&redis.channel, data)
            };
            return log
                .publish(now, &publish, nonce, &redis.defaults)
                .map(|published: Published| Some(published.position()));
        }
        Operation::EnsureHead => return Ok(Some(log.ensure_head(now, nonce, &redis.defaults))),
        Operation::DeleteHead => log.delete_head(),
        Operation::DeleteStream => log.delete_stream(),
        Operation::Trim(count) => log.trim(*count),
        Operation::Flush => log.flush(),
    }
    Ok(None)
}

#[test]
fn log_and_script_leave_the_same_chain() {
    // One entry per node makes `MAXLEN ~` exact, as the log is.
    let redis = RefCell::new(Redis::start(
        Default::default(),
        &["--stream-node-max-entries", "1"],
    ));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let forms = prop_oneof![Just(Form::Evalsha), Just(Form::Fcall)];
    let outcome = runner.run(&(forms, vec(operation(), 1..40)), |(form, operations)| {
        let redis = &mut *redis.borrow_mut();
        redis.form = form;
        redis.run::<()>(&["FLUSHALL"]);
        let mut log = Log::default();
        let [mut on_redis_numbers, mut on_log_numbers] = [Numbers::default(), Numbers::default()];
        for (step, operation) in (1..).zip(&operations) {
            let outcome = on_redis(redis, operation, step);
            let (head, events) = (redis.head(), redis.events());
            let real = on_redis_numbers.observe(outcome, head, events);
            let outcome = on_log(&mut log, redis, operation, step);
            let head = log
                .head()
                .zip(log.genesis())
                .map(|(position, genesis)| Head { position, genesis });
            let model = on_log_numbers.observe(outcome, head, log.events().cloned().collect());
            prop_assert_eq!(model, real, "after step {}: {:?}", step, operation);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

//! A repeated event id is answered, not published again.

use sluice_wire::{Publish, Refusal};

use crate::support::script::{in_each_form, next_event, subscribe};

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

/// What is no record was not written by a publish: it counts as none, whatever its type, and is overwritten.
#[test]
fn a_record_that_holds_something_else_holds_up_nothing() {
    in_each_form(|redis| {
        redis.append("x");
        let record = redis.keys.idempotency(&redis.channel, "ev-1");
        for foreign in [["SET", &record, "nonsense"], ["LPUSH", &record, "x"]] {
            redis.run::<()>(&["DEL", &record]);
            redis.run::<()>(&foreign);
            let first = redis.append_once("ev-1", "x").expect("published");
            assert_eq!(redis.append_once("ev-1", "x"), Ok(first), "{foreign:?}");
        }
        assert_eq!(redis.events().len(), 3);
    });
}

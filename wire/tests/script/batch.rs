//! Many events in one call: in order, each judged by itself, and nothing overtakes what failed for Redis's reasons.

use sluice_wire::{
    Position, Publish, Refusal,
    batch::{self, Failure},
};

use crate::support::script::{Form, Redis, call, next_event, subscribe};

fn publish_all(redis: &mut Redis, events: &[Publish<'_>]) -> Vec<Result<Position, Failure>> {
    let text = batch::script(&redis.defaults);
    let keys = batch::keys(events, &redis.keys);
    let call = call(Form::Eval, &text, "", &keys, &batch::args(events));
    let replies: Vec<Vec<u8>> = call.query(&mut redis.connection).expect("replies");
    replies
        .iter()
        .map(|reply| batch::read_reply(reply))
        .collect()
}

fn start() -> Redis {
    Redis::start(sluice_wire::Defaults::default(), &[])
}

/// Bare and named events in one chain and one order, in stream and topic; what is refused holds up nothing.
#[test]
fn a_batch_is_a_chain_in_its_order_without_what_is_refused() {
    let mut redis = start();
    let mut listener = redis.server.connect();
    let topic = redis.keys.topic(&redis.channel);
    let mut subscription = subscribe(&mut listener, &topic);
    let channel = redis.channel.clone();
    let bare = Publish::new(&channel, b"one");
    let named = Publish {
        event_id: Some("ev-1"),
        event_type: Some("t"),
        tag: Some(7),
        ..Publish::new(&channel, b"two")
    };
    let reserved = Publish {
        event_type: Some("open"),
        ..bare
    };
    let reused = Publish {
        data: b"other",
        ..named
    };
    let last = Publish::new(&channel, b"three");
    let outcomes = publish_all(&mut redis, &[bare, named, reserved, reused, named, last]);
    let refused = |refusal| Err(Failure::Refused(refusal));
    assert_eq!(outcomes[2], refused(Refusal::BadEventType));
    assert_eq!(outcomes[3], refused(Refusal::EventIdReused));
    assert_eq!(outcomes[4], outcomes[1], "the same event again");
    let positions = [0, 1, 5].map(|n| outcomes[n].clone().expect("published"));
    let events = redis.events();
    assert_eq!(
        events.iter().map(|e| e.position).collect::<Vec<_>>(),
        positions
    );
    assert_eq!(
        events.iter().map(|e| &e.data[..]).collect::<Vec<_>>(),
        [&b"one"[..], b"two", b"three"]
    );
    assert!(
        events
            .windows(2)
            .all(|pair| pair[1].prev == pair[0].position)
    );
    assert_eq!(
        [(); 3].map(|()| next_event(&mut subscription).position),
        positions
    );
}

/// An event that fails for Redis's reasons ends the batch there: those before it stand, those after it wait.
#[test]
fn nothing_is_tried_after_a_failure_of_redis() {
    let mut redis = start();
    let channel = redis.channel.clone();
    let event = |id| Publish {
        event_id: Some(id),
        ..Publish::new(&channel, b"x")
    };
    let all = ["ev-1", "ev-2", "ev-3"].map(event);
    let first = redis.append("the chain's first");
    // A user who may do all of it, but not read the second event's record.
    let keys = ["m", "i:ev-1", "i:ev-3"].map(|key| format!("~*:{key}"));
    let read = format!("(+get {})", keys.join(" "));
    let rights = "reset on >secret ~* &* +@all -get".split(' ');
    let mut words = vec!["ACL", "SETUSER", "publisher"];
    words.extend(rights.chain([read.as_str()]));
    redis.run::<()>(&words);
    redis.run::<()>(&["AUTH", "publisher", "secret"]);
    let outcomes = publish_all(&mut redis, &all);
    redis.connection = redis.server.connect();
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    let second = outcomes[0].clone().expect("published");
    assert!(
        matches!(&outcomes[1], Err(Failure::Failed(text)) if text.contains("can't access")),
        "{outcomes:?}"
    );
    let kept: Vec<Position> = redis.events().iter().map(|e| e.position).collect();
    assert_eq!(kept, [first, second]);
    let again = publish_all(&mut redis, &all);
    assert_eq!(again[0], Ok(second));
    assert_eq!((again.len(), redis.events().len()), (3, 4));
}

/// A Redis that takes no more writes takes nothing of the batch.
#[test]
fn a_full_redis_takes_nothing() {
    let mut redis = start();
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let channel = redis.channel.clone();
    let outcomes = publish_all(&mut redis, &[Publish::new(&channel, b"x"); 2]);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert!(
        matches!(&outcomes[0], Err(Failure::Failed(text)) if text.contains("OOM")),
        "{outcomes:?}"
    );
    assert_eq!(redis.all_keys(), [""; 0]);
}

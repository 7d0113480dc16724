//! The node's own stream is delivered to like any other, and is nobody's otherwise.

use super::*;
use crate::orders::{Order, Whom};

/// Not counted, not listed, not ended by what means all, not remembered; and no event of it is in what is delivered.
#[test]
fn the_nodes_own_stream_is_none_of_the_users() {
    let (mut worker, now) = (worker(), SECOND);
    let opening = |channel| Opening {
        shape: Shape::EventStream { envelope: false },
        ..polled(&[channel], None)
    };
    let own = worker.open(&opening("_canary.n"), Peer::default(), now);
    answer(&mut worker, "_canary.n", 7, now);
    publish(&mut worker, "_canary.n", 8, now);
    assert!(text(pull(&mut worker, own, now)).contains("data: "));
    assert!(worker.tally().published.is_empty() && worker.tally().replays.is_empty());
    let all = Whom::default();
    for users in 0..=1 {
        assert_eq!((worker.streams(), worker.seats()), (users, users));
        assert_eq!(worker.subscribers().len(), users);
        assert_eq!(worker.list(&all, 9, now).1, users);
        assert_eq!(worker.cut(), users);
        let ended = worker.obey(&Order::Disconnect(all.clone()), now);
        assert_eq!(ended, users, "users' alone");
        if users == 0 {
            worker.open(&opening("a"), Peer::default(), now);
        }
    }
    assert_eq!(worker.close_reason(own), None);
    worker.remove(own, now).expect("there");
    assert_eq!(worker.streams(), 1);
    assert!(
        worker
            .memory
            .ended_stream(ConnectionId::default())
            .is_none()
    );
}

//! Standing orders heard twice, late, out of turn, and lost by the broker.

use super::*;
use crate::holder::Holder;
use crate::orders::{Lasting, Revocation};
use crate::revocations::Verdict;

fn shelf(known: bool) -> Shelf {
    let count = IntGauge::new("count", "count").expect("a gauge");
    Shelf::new(known, 2, Clock::start(), count)
}

fn ann() -> Holder {
    Holder {
        subject: Some("ann".to_owned()),
        ..Holder::default()
    }
}

fn revoke(shelf: &Shelf, id: u8, lasting: u64) -> Standing {
    let revocation = Revocation {
        subject: Some("ann".to_owned()),
        ..Revocation::default()
    };
    stand(shelf, Lasting::Revoke(revocation), id, lasting)
}

fn disconnect(shelf: &Shelf, id: u8) -> Standing {
    stand(shelf, Lasting::Disconnect(Whom::default()), id, 60_000)
}

fn stand(shelf: &Shelf, order: Lasting, id: u8, lasting: u64) -> Standing {
    let now = shelf.clock.wall();
    Standing::new(order, now, now + lasting, [id; 16])
}

fn heard(orders: &mut broadcast::Receiver<Arc<Order>>) -> usize {
    std::iter::from_fn(|| orders.try_recv().ok()).count()
}

fn verdict(shelf: &Shelf) -> Verdict {
    shelf.revocations.verdict(&ann(), shelf.clock.wall())
}

#[test]
fn an_order_is_obeyed_once_however_often_it_is_heard_of() {
    let shelf = shelf(true);
    let mut orders = shelf.listen();
    let (one, two) = (revoke(&shelf, 1, 60_000), disconnect(&shelf, 2));
    for _ in 0..2 {
        shelf.take(one.clone());
        shelf.take(two.clone());
    }
    assert_eq!(heard(&mut orders), 2);
    let reading = shelf.begin_reading();
    let lost = shelf.finish_reading(reading, vec![one, two]);
    assert!(lost.is_empty());
    assert_eq!(heard(&mut orders), 0);
    assert_eq!((shelf.count.get(), shelf.since_reading()), (2, 0));
    assert_eq!(verdict(&shelf), Verdict::Revoked);
}

/// At a node's start nobody is here whom an earlier disconnect could mean; revocations hold all the same.
#[test]
fn the_first_reading_takes_revocations_and_ends_nobody_by_an_old_disconnect() {
    let shelf = shelf(false);
    assert_eq!(verdict(&shelf), Verdict::Unknown);
    let mut orders = shelf.listen();
    let reading = shelf.begin_reading();
    let told = vec![revoke(&shelf, 1, 60_000), disconnect(&shelf, 2)];
    shelf.finish_reading(reading, told);
    assert_eq!(verdict(&shelf), Verdict::Revoked);
    let order = orders.try_recv().expect("the revocation");
    assert!(matches!(&*order, Order::Revoke(_)));
    assert_eq!(heard(&mut orders), 0);
}

/// A disconnect of a minute ago, read only now, spares who has come in between.
#[test]
fn a_late_disconnect_says_whom_it_can_mean() {
    let shelf = shelf(true);
    let mut orders = shelf.listen();
    let mut old = disconnect(&shelf, 1);
    old.at -= 30_000;
    let reading = shelf.begin_reading();
    shelf.finish_reading(reading, vec![old]);
    let order = orders.try_recv().expect("obeyed late");
    let Order::Disconnect(whom) = &*order else {
        panic!("{order:?}");
    };
    assert_eq!(
        whom.opened_before,
        Some(SPARED_AFTER),
        "before this node's start"
    );
    shelf.take(disconnect(&shelf, 2));
    let order = orders.try_recv().expect("obeyed at once");
    assert_eq!(*order, Order::Disconnect(Whom::default()), "spares nobody");
    assert_eq!(shelf.disconnects().len(), 2);
}

/// An answer that was on its way when an order came does not know it, and does not undo it.
#[test]
fn an_order_heard_during_a_reading_outlives_its_answer() {
    let shelf = shelf(true);
    let reading = shelf.begin_reading();
    shelf.take(revoke(&shelf, 1, 60_000));
    let lost = shelf.finish_reading(reading, Vec::new());
    assert!(lost.is_empty(), "it may simply be younger");
    assert_eq!(verdict(&shelf), Verdict::Revoked);
    assert_eq!(shelf.since_reading(), 1, "not in what was read");
    let reading = shelf.begin_reading();
    let lost = shelf.finish_reading(reading, Vec::new());
    assert_eq!(lost.len(), 1, "the broker has lost it");
    assert_eq!(shelf.since_reading(), 0);
    assert_eq!(
        verdict(&shelf),
        Verdict::Revoked,
        "and it is known all the same"
    );
}

#[test]
fn what_is_over_is_forgotten_and_not_taken() {
    let shelf = shelf(true);
    shelf.take(revoke(&shelf, 1, 0));
    assert_eq!((shelf.count.get(), verdict(&shelf)), (0, Verdict::Good));
    let reading = shelf.begin_reading();
    shelf.finish_reading(reading, vec![revoke(&shelf, 2, 0)]);
    assert_eq!((shelf.count.get(), verdict(&shelf)), (0, Verdict::Good));
    shelf.take(revoke(&shelf, 3, 60_000));
    shelf.take(revoke(&shelf, 4, 1));
    let mut counts = std::iter::repeat_with(|| {
        shelf.forget_expired();
        shelf.count.get()
    });
    assert_eq!(counts.find(|count| *count != 2), Some(1));
    assert_eq!(verdict(&shelf), Verdict::Revoked, "the other one holds");
}

#[test]
fn one_more_than_may_stand_is_refused() {
    let shelf = shelf(true);
    for id in 0..2 {
        let order = revoke(&shelf, id, 60_000);
        shelf.take_bounded(order).expect("has room");
    }
    assert!(shelf.take_bounded(revoke(&shelf, 2, 60_000)).is_err());
    assert_eq!(shelf.count.get(), 2);
}

//! Orders of all nodes, as the streams of one worker thread obey and answer them.

use super::LocalStreams;
use crate::http::renewal::expiry_of;
use crate::orders::Order;
use crate::orders::asking::{Answer, Finding};
use crate::revocations::Verdict;

impl LocalStreams {
    /// Does what an order says, and answers where one waits for it.
    pub(super) fn obey_one(&self, order: &Order) {
        let broker = &self.0.broker;
        let (now, wall) = (broker.clock().now(), broker.clock().wall());
        // Verified elsewhere a moment ago, and maybe revoked since: that order has passed and will not come again.
        let revoked = |holder| broker.revocations().verdict(holder, wall) == Verdict::Revoked;
        let mut worker = self.0.worker.borrow_mut();
        let answer = if let Order::Renew(renewal) = order {
            let fresh = &renewal.fresh;
            let found = if revoked(&fresh.holder) {
                worker.has(renewal.connection).then_some(Finding::Revoked)
            } else {
                worker.renew(renewal.connection, fresh, expiry_of(fresh, now), now)
            };
            found.map(|finding| (renewal.nonce, finding))
        } else if let Order::RenewSession(fresh) = order {
            if !revoked(&fresh.holder) {
                worker.renew_session(fresh, expiry_of(fresh, now), now);
            }
            None
        } else if let Order::Explain(question) = order {
            let why = worker.explain(question, now, wall);
            why.map(|why| (question.nonce, why.into()))
        } else {
            worker.obey(order, now);
            None
        };
        drop(worker);
        if let Some((nonce, finding)) = answer {
            broker.tell_in_passing(&Order::Answer(Answer { nonce, finding }));
        }
    }
}

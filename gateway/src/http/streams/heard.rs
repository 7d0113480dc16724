//! What a worker's streams have to do with orders: all that are due at a time, in one go.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::LocalStreams;
use crate::connection::worker::list::Listed;
use crate::holder::Holder;
use crate::http::admin::connections::{Question, Seen};
use crate::orders::Order;
use crate::reasons::CloseReason;
use crate::revocations::Verdict;

/// With more revocations at a time, each stream is looked at once against all of them.
const FEW: usize = 4;
/// Orders taken before connections have their turn.
const AT_ONCE: usize = 256;

/// Orders that have arrived.
pub(super) struct Heard {
    orders: Vec<Arc<Order>>,
    /// There were more, which are lost.
    missed: bool,
}

/// Waits for orders.
pub(super) async fn some(queue: &mut Receiver<Arc<Order>>) -> Heard {
    let mut heard = Heard {
        orders: Vec::new(),
        missed: false,
    };
    match queue.recv().await {
        Ok(order) => heard.orders.push(order),
        Err(RecvError::Lagged(_)) => heard.missed = true,
        // The broker that the streams hold has the other end.
        Err(RecvError::Closed) => std::future::pending().await,
    }
    while heard.orders.len() < AT_ONCE {
        match queue.try_recv() {
            Ok(order) => heard.orders.push(order),
            Err(TryRecvError::Lagged(_)) => heard.missed = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    heard
}

fn revokes(order: &Order) -> bool {
    match order {
        Order::Revoke(_) => true,
        Order::Disconnect(_)
        | Order::Renew(_)
        | Order::RenewSession(_)
        | Order::Explain(_)
        | Order::Answer(_)
        | Order::Evict { .. } => false,
    }
}

impl LocalStreams {
    /// Ends the streams that the orders mean.
    pub(super) fn obey(&self, heard: &Heard) {
        let broker = &self.0.broker;
        let count = heard.orders.iter().filter(|order| revokes(order)).count();
        let review = heard.missed || count > FEW;
        for order in &heard.orders {
            if !(review && revokes(order)) {
                self.obey_one(order);
            }
        }
        let now = broker.clock().now();
        let mut worker = self.0.worker.borrow_mut();
        if review {
            worker.review(broker.revocations(), now, broker.clock().wall());
        }
        if heard.missed {
            for order in broker.disconnects() {
                worker.obey(&order, now);
            }
        }
    }

    /// The streams that somebody asks for.
    pub(super) fn seen(&self, question: &Question) -> Seen {
        let mut worker = self.0.worker.borrow_mut();
        let now = self.0.broker.clock().now();
        let (listed, count) = worker.list(&question.whom, question.limit, now);
        let with_address = |stream: Listed| {
            let transport = worker.transport(stream.key);
            let address = transport.and_then(|transport| transport.peer.address());
            (stream, address)
        };
        let streams = listed.into_iter().map(with_address).collect();
        Seen { streams, count }
    }

    /// Ends a stream whose token was revoked between the look at it and now.
    pub(super) fn end_if_revoked(&self, key: usize, holder: &Holder) {
        let clock = self.0.broker.clock();
        if self.0.broker.revocations().verdict(holder, clock.wall()) == Verdict::Revoked {
            let mut worker = self.0.worker.borrow_mut();
            worker.end(key, CloseReason::Revoked, clock.now());
        }
    }
}

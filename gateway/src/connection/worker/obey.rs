//! What an order means for the streams of one worker.

use std::time::Duration;

use super::{Bystander, Worker};
use crate::connection::Transport;
use crate::orders::{Order, Whom};
use crate::reasons::CloseReason;
use crate::revocations::{Revocations, Verdict};

impl<T: Transport> Worker<T> {
    /// Does what an order says, and gives the number of streams that end by it.
    pub fn obey(&mut self, order: &Order, now: Duration) -> usize {
        match order {
            Order::Disconnect(whom) => {
                let here = whom
                    .node
                    .as_ref()
                    .is_none_or(|node| *node == self.limits.node);
                if !here {
                    return 0;
                }
                self.end_where(CloseReason::Disconnected, now, |stream| fits(whom, stream))
            }
            Order::Revoke(revocation) => self.end_where(CloseReason::Revoked, now, |stream| {
                revocation.concerns(stream.holder)
            }),
            Order::Evict { connection } => {
                self.end_where(CloseReason::Limit, now, |stream| stream.id == *connection)
            }
            // They have a way of their own, since they need more than the time, or are answered.
            Order::Renew(_) | Order::RenewSession(_) | Order::Explain(_) | Order::Answer(_) => 0,
        }
    }

    /// Ends every stream whose token is revoked, as all revocations together say, in one go; `wall` is Unix time in
    /// milliseconds.
    pub fn review(&mut self, revocations: &Revocations, now: Duration, wall: u64) -> usize {
        self.end_where(CloseReason::Revoked, now, |stream| {
            revocations.verdict(stream.holder, wall) == Verdict::Revoked
        })
    }

    /// Ends one stream.
    pub fn end(&mut self, key: usize, reason: CloseReason, now: Duration) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.close(reason, now);
        }
    }
}

pub(super) fn fits(whom: &Whom, stream: &Bystander<'_>) -> bool {
    let Whom {
        subject,
        channel,
        node: _,
        connection,
        opened_before,
    } = whom;
    subject
        .as_ref()
        .is_none_or(|subject| stream.holder.subject.as_ref() == Some(subject))
        && channel.as_ref().is_none_or(|channel| stream.reads(channel))
        && connection.is_none_or(|id| id == stream.id)
        && opened_before.is_none_or(|at| stream.opened_at < at)
}

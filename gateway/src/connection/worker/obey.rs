//! What an order means for the streams of one worker.

use std::time::Duration;

use super::{Bystander, Worker};
use crate::connection::Transport;
use crate::orders::{Order, Whom};
use crate::reasons::CloseReason;

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
            Order::Evict { connection } => {
                self.end_where(CloseReason::Limit, now, |stream| stream.id == *connection)
            }
        }
    }
}

fn fits(whom: &Whom, stream: &Bystander<'_>) -> bool {
    let Whom {
        subject,
        channel,
        node: _,
        connection,
    } = whom;
    subject
        .as_ref()
        .is_none_or(|subject| stream.holder.subject.as_ref() == Some(subject))
        && channel.as_ref().is_none_or(|channel| stream.reads(channel))
        && connection.is_none_or(|id| id == stream.id)
}

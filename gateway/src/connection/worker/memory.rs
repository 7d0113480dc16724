//! What a worker remembers of streams that have ended and of resets it told, so that both can be explained. Bounded: the
//! oldest is forgotten first.

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;
use smallvec::SmallVec;

use super::LocalChannel;
use crate::connection::blocks::Status;
use crate::connection::stream::{Skip, Stream};
use crate::connection::{ConnectionId, Transport};
use crate::hub::exchange::Reset;
use crate::reasons::CloseReason;

#[derive(Debug)]
pub(super) struct Memory {
    /// The most of each.
    limit: usize,
    ended: VecDeque<EndedStream>,
    skips: VecDeque<Skip>,
}

/// A stream that has ended.
#[derive(Debug)]
pub(super) struct EndedStream {
    pub(super) id: ConnectionId,
    pub(super) reason: CloseReason,
    pub(super) opened_at: Duration,
    pub(super) ended_at: Duration,
    pub(super) seats: SmallVec<[EndedSeat; 1]>,
}

/// One of its channels.
#[derive(Debug)]
pub(super) struct EndedSeat {
    pub(super) channel: Channel,
    pub(super) place: Option<Position>,
    pub(super) status: Status,
    pub(super) began: Option<Position>,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Memory {
        Memory {
            limit,
            ended: VecDeque::new(),
            skips: VecDeque::new(),
        }
    }

    /// Takes over the resets that were told.
    pub(super) fn skipped(&mut self, skips: &mut Vec<Skip>) {
        for skip in skips.drain(..) {
            push(&mut self.skips, skip, self.limit);
        }
    }

    /// Remembers a stream that goes; not a poll, of which a client has many.
    pub(super) fn ended<T: Transport>(
        &mut self,
        stream: &Stream<T>,
        channels: &Slab<LocalChannel>,
        now: Duration,
    ) {
        if !stream.keeps_up() || self.limit == 0 {
            return;
        }
        let seats = stream.seats.iter().filter_map(|seat| {
            Some(EndedSeat {
                channel: channels.get(seat.channel)?.name.clone(),
                place: seat.place,
                status: seat.status,
                began: seat.began(),
            })
        });
        let ended = EndedStream {
            id: stream.id,
            reason: stream.close.unwrap_or(CloseReason::ClientGone),
            opened_at: stream.opened_at,
            ended_at: now,
            seats: seats.collect(),
        };
        push(&mut self.ended, ended, self.limit);
    }

    pub(super) fn ended_stream(&self, id: ConnectionId) -> Option<&EndedStream> {
        self.ended.iter().rev().find(|ended| ended.id == id)
    }

    /// The reset of this stream and channel that led over the position, as far as stream ids tell.
    pub(super) fn reset_over(
        &self,
        id: ConnectionId,
        channel: &str,
        position: Position,
    ) -> Option<&Reset> {
        let over = |reset: &Reset| {
            reset.from.is_none_or(|from| from.id() < position.id())
                && position.id() <= reset.to.id()
        };
        let mut skips = self.skips.iter().rev();
        let told = skips
            .find(|skip| skip.id == id && skip.channel.as_str() == channel && over(&skip.reset));
        told.map(|skip| &skip.reset)
    }
}

fn push<V>(kept: &mut VecDeque<V>, value: V, limit: usize) {
    if limit == 0 {
        return;
    }
    while kept.len() >= limit {
        kept.pop_front();
    }
    kept.push_back(value);
}

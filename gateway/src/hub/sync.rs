//! One sync of a channel under way: what is being read, and what arrives meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::Message;
use sluice_wire::position::Position;

use super::chain::Step;
use super::exchange::{Note, Query, Range, ReadId, World};
use crate::reasons::SyncCause;

/// A chain that is catching up with its stream.
#[derive(Debug)]
pub(super) struct Sync {
    pub cause: SyncCause,
    pub read: Option<ReadId>,
    pub retry_at: Option<Duration>,
    pub buffer: VecDeque<Message>,
    /// So many buffered messages arrived before the read was issued.
    pub early: usize,
    pub overflowed: bool,
    pub confirm: bool,
    pub round: u8,
    pub brought: usize,
}

impl Sync {
    pub fn new(cause: SyncCause, buffer: VecDeque<Message>) -> Sync {
        Sync {
            cause,
            read: None,
            retry_at: None,
            buffer,
            early: 0,
            overflowed: false,
            confirm: false,
            round: 0,
            brought: 0,
        }
    }

    pub fn keep<W: World>(&mut self, message: Message, step: &mut Step<'_, W>) {
        if self.buffer.len() >= step.limits.buffer {
            step.world.note(Note::BufferOverflow);
            self.buffer.clear();
            self.early = 0;
            self.overflowed = true;
        }
        self.buffer.push_back(message);
    }

    pub fn issue<W: World>(
        &mut self,
        channel: &Channel,
        last: Option<Position>,
        step: &mut Step<'_, W>,
    ) {
        *step.reads += 1;
        self.read = Some(*step.reads);
        self.retry_at = None;
        self.early = self.buffer.len();
        let query = Query {
            channel: channel.clone(),
            range: last.map_or(Range::Head, Range::After),
            count: step.limits.page,
            confirm: self.confirm,
        };
        step.world.read(*step.reads, query);
    }
}

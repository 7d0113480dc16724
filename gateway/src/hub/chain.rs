//! One channel on this node as a state machine: it emits a chain in which each
//! event links to the one before, and a reset where no chain can be proved.
//! It refuses to compare ids for anything but when to look again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::event::{Event, Message};
use sluice_wire::position::Position;

use super::exchange::{Entry, Note, ReadId, Reading, Reset, WorkerId, World};
use super::frame::{EphemeralFrame, EventFrame};
use super::listeners::Listeners;
use super::proof::{self, Proof, links, prove};
use super::sabotage::{Mutant, sabotaged};
use super::sync::Sync;
use crate::reasons::{ResetReason, SyncCause};

/// Bounds of one channel's state.
#[derive(Clone, Copy, Debug)]
pub struct ChainLimits {
    /// Messages kept while a sync is under way.
    pub buffer: usize,
    /// Entries that one read brings.
    pub page: usize,
    /// Events that one sync may bring before it gives up with `backfill_limit`.
    pub backfill: usize,
    /// Positions remembered because their own message may still come.
    pub echoes: usize,
    /// Reads of one sync that do not link before the channel is resubscribed.
    pub rounds: u8,
    /// Wait before a failed read is tried again.
    pub retry: Duration,
    /// Wait before an event that looks old makes the node look again.
    pub suspicion: Duration,
}

impl Default for ChainLimits {
    fn default() -> ChainLimits {
        ChainLimits {
            buffer: 1_024,
            page: 256,
            backfill: 10_000,
            echoes: 4_096,
            rounds: 3,
            retry: Duration::from_millis(250),
            suspicion: Duration::from_millis(50),
        }
    }
}

/// What a step needs from around it.
pub struct Step<'a, W: World> {
    pub world: &'a mut W,
    pub now: Duration,
    pub limits: &'a ChainLimits,
    /// The next read id to use.
    pub reads: &'a mut ReadId,
}

/// The node's view of one channel.
#[derive(Debug)]
pub struct Chain {
    channel: Channel,
    last: Option<Position>,
    phase: Phase,
    /// Emitted from a read; their own messages may still be under way.
    echoes: HashSet<Position>,
    listeners: Listeners,
    /// When to look again because of an event that looked old.
    suspect_at: Option<Duration>,
    /// Where the chain stood when the running audit was issued.
    audited_at: Option<Position>,
    /// A head that the audit has seen and this chain has not emitted yet, and
    /// until when it may be merely under way.
    missing: Option<(Position, Duration)>,
}

#[derive(Debug)]
enum Phase {
    /// Wanted, not confirmed.
    Unconfirmed,
    Syncing(Sync),
    Live,
}

impl Chain {
    /// A channel that nobody has confirmed yet.
    #[must_use]
    pub fn new(channel: Channel) -> Chain {
        Chain {
            channel,
            last: None,
            phase: Phase::Unconfirmed,
            echoes: HashSet::new(),
            listeners: Listeners::default(),
            suspect_at: None,
            audited_at: None,
            missing: None,
        }
    }

    /// The place of the last emitted entry.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// Whether the chain is confirmed and whole, as far as this node can know.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether no worker listens.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Whether a worker must still be told where the chain stands.
    #[must_use]
    pub fn owes_a_stand(&self) -> bool {
        self.last.is_some() && self.listeners.owe_a_stand()
    }

    /// When this channel wants [`Chain::fire`].
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let retry = match &self.phase {
            Phase::Syncing(sync) => sync.retry_at,
            Phase::Unconfirmed | Phase::Live => None,
        };
        let missing_at = self.missing.map(|(_, at)| at);
        [retry, self.suspect_at, missing_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// A worker listens from now on.
    pub fn join<W: World>(&mut self, worker: WorkerId, step: &mut Step<'_, W>) {
        if self.listeners.join(worker) {
            self.stand(step);
        }
    }

    /// A worker listens no longer.
    pub fn leave(&mut self, worker: WorkerId) {
        self.listeners.leave(worker);
    }

    /// Tells every worker that does not know where the chain stands.
    pub fn stand<W: World>(&mut self, step: &mut Step<'_, W>) {
        if let Some(at) = self.last {
            self.listeners.stand(&self.channel, at, step.world);
        }
    }

    /// The broker has confirmed the subscription, perhaps once more: whatever
    /// was published before may have been missed.
    pub fn confirmed<W: World>(&mut self, step: &mut Step<'_, W>) {
        let cause = if self.last.is_none() {
            SyncCause::Subscribe
        } else {
            SyncCause::Reconnect
        };
        self.sync(cause, None, step);
    }

    /// The subscription is gone; nothing is known until it is confirmed again.
    pub fn unconfirmed(&mut self) {
        self.phase = Phase::Unconfirmed;
        self.echoes.clear();
        self.suspect_at = None;
        self.missing = None;
    }

    /// A message came on the topic.
    pub fn message<W: World>(&mut self, message: Message, step: &mut Step<'_, W>) {
        match &mut self.phase {
            Phase::Unconfirmed => {}
            Phase::Syncing(sync) => sync.keep(message, step),
            Phase::Live => match message {
                Message::Ephemeral(data) => self.emit_ephemeral(data, step),
                Message::Event(event) => self.live_event(event, step),
            },
        }
    }

    /// Something came, or did not come, that makes the place doubtful.
    pub fn doubt<W: World>(&mut self, cause: SyncCause, step: &mut Step<'_, W>) {
        match &mut self.phase {
            Phase::Unconfirmed => {}
            Phase::Syncing(sync) => sync.overflowed = true,
            Phase::Live => self.sync(cause, None, step),
        }
    }

    /// Remembers where the chain stands while its head is being read.
    pub fn audit_begins(&mut self) {
        self.audited_at = self.last;
    }

    /// The head that the audit read, `None` when Redis has none.
    pub fn audited<W: World>(&mut self, head: Option<Position>, step: &mut Step<'_, W>) {
        let then = self.audited_at.take();
        if !self.is_live() || then.is_none() || head == self.last || head == then {
            return;
        }
        if sabotaged(Mutant::AuditAdoptsHead) && head.is_some() {
            self.last = head;
            return;
        }
        let at = step.now + step.limits.suspicion;
        match head {
            Some(head) if self.has_passed(head, then) => {}
            // A head that is merely under way arrives before then.
            Some(head) => self.missing = Some((head, at)),
            None => self.suspect_at = Some(at),
        }
    }

    /// Whether the chain has most likely emitted `head` since it stood at `then`. Were it another
    /// timeline's, the next audit would find it behind both.
    fn has_passed(&self, head: Position, then: Option<Position>) -> bool {
        then.is_some_and(|then| then.id() < head.id())
            && self.last.is_some_and(|last| head.id() < last.id())
    }

    /// A timer of [`Chain::due`] has come.
    pub fn fire<W: World>(&mut self, step: &mut Step<'_, W>) {
        if self.missing.is_some_and(|(_, at)| at <= step.now) {
            self.missing = None;
            self.doubt(SyncCause::Audit, step);
        }
        if self.suspect_at.is_some_and(|at| at <= step.now) {
            self.suspect_at = None;
            self.doubt(SyncCause::Suspect, step);
        }
        if let Phase::Syncing(sync) = &mut self.phase
            && sync.retry_at.is_some_and(|at| at <= step.now)
        {
            sync.issue(&self.channel, self.last, step);
        }
    }

    /// A read of this channel's sync failed or has come back. True when the
    /// channel must be resubscribed.
    #[must_use]
    pub fn read<W: World>(
        &mut self,
        id: ReadId,
        reading: Option<Reading>,
        step: &mut Step<'_, W>,
    ) -> bool {
        let Phase::Syncing(sync) = &mut self.phase else {
            return false;
        };
        if sync.read != Some(id) {
            return false;
        }
        sync.read = None;
        match (reading, self.last) {
            (None, _) => {
                sync.retry_at = Some(step.now + step.limits.retry);
                false
            }
            (Some(reading), None) => {
                self.last = Some(reading.head);
                self.stand(step);
                self.splice(step)
            }
            (Some(mut reading), Some(last)) => match prove(last, &mut reading) {
                Proof::Current => self.splice(step),
                Proof::Follows(events) => self.catch_up(events, &reading, step),
                Proof::Broken => self.broken(last, &reading, step),
            },
        }
    }

    fn live_event<W: World>(&mut self, event: Event, step: &mut Step<'_, W>) {
        let Some(last) = self.last else { return };
        if links(last, event.position, event.prev) {
            step.world.note(Note::FromPubSub);
            self.emit(event, step);
        } else if event.position == last || self.echoes.remove(&event.position) {
            if sabotaged(Mutant::DuplicateBelieved) {
                self.emit(event, step);
            } else {
                step.world.note(Note::Duplicate);
            }
        } else if event.position.id() <= last.id() {
            self.suspect(step);
        } else {
            step.world.note(Note::Gap);
            self.sync(SyncCause::Gap, Some(Message::Event(event)), step);
        }
    }

    /// It looks old, most likely a late message: no hurry, and never believed.
    fn suspect<W: World>(&mut self, step: &mut Step<'_, W>) {
        step.world.note(Note::Straggler);
        self.suspect_at
            .get_or_insert(step.now + step.limits.suspicion);
    }

    fn sync<W: World>(&mut self, cause: SyncCause, first: Option<Message>, step: &mut Step<'_, W>) {
        step.world.note(Note::Sync(cause));
        let carried = match std::mem::replace(&mut self.phase, Phase::Unconfirmed) {
            Phase::Syncing(sync) => sync.buffer,
            Phase::Unconfirmed | Phase::Live => VecDeque::new(),
        };
        let mut sync = Sync::new(cause, carried);
        sync.buffer.extend(first);
        sync.issue(&self.channel, self.last, step);
        self.phase = Phase::Syncing(sync);
    }

    fn catch_up<W: World>(
        &mut self,
        events: Vec<Event>,
        reading: &Reading,
        step: &mut Step<'_, W>,
    ) -> bool {
        let Phase::Syncing(sync) = &mut self.phase else {
            return false;
        };
        sync.brought += events.len();
        let (cause, brought) = (sync.cause, sync.brought);
        if cause == SyncCause::Audit {
            step.world.note(Note::AuditFinding);
        }
        for event in events {
            if self.echoes.len() >= step.limits.echoes {
                self.echoes.clear();
            }
            self.echoes.insert(event.position);
            step.world.note(Note::FromSync);
            self.emit(event, step);
        }
        if self.last == Some(reading.head) {
            return self.splice(step);
        }
        if brought > step.limits.backfill {
            let last = self.last.unwrap_or(reading.head);
            self.reset(last, reading.head, ResetReason::BackfillLimit, step);
            return self.splice(step);
        }
        self.issue_again(step);
        false
    }

    /// Reads once more on the primary as it is now before it tells a reset.
    fn broken<W: World>(
        &mut self,
        last: Position,
        reading: &Reading,
        step: &mut Step<'_, W>,
    ) -> bool {
        let Phase::Syncing(sync) = &mut self.phase else {
            return false;
        };
        if !sync.confirm {
            sync.confirm = true;
            self.issue_again(step);
            return false;
        }
        self.reset(last, reading.head, proof::reason(last, reading), step);
        self.splice(step)
    }

    fn issue_again<W: World>(&mut self, step: &mut Step<'_, W>) {
        if let Phase::Syncing(sync) = &mut self.phase {
            sync.issue(&self.channel, self.last, step);
        }
    }

    /// Joins what was buffered to what was read, by the chain; live if that is
    /// whole. True when the channel must be resubscribed.
    fn splice<W: World>(&mut self, step: &mut Step<'_, W>) -> bool {
        let Phase::Syncing(mut sync) = std::mem::replace(&mut self.phase, Phase::Live) else {
            return false;
        };
        while let Some(message) = sync.buffer.pop_front() {
            let early = sync.early > 0;
            sync.early = sync.early.saturating_sub(1);
            match message {
                Message::Ephemeral(data) => self.emit_ephemeral(data, step),
                Message::Event(event) => {
                    if let Some(event) = self.splice_event(event, early, step) {
                        sync.buffer.push_front(Message::Event(event));
                        return self.another_round(sync, step);
                    }
                }
            }
        }
        if sync.overflowed {
            return self.another_round(sync, step);
        }
        false
    }

    /// Gives the event back when it calls for one more read.
    fn splice_event<W: World>(
        &mut self,
        event: Event,
        early: bool,
        step: &mut Step<'_, W>,
    ) -> Option<Event> {
        let last = self.last?;
        if links(last, event.position, event.prev) {
            step.world.note(Note::FromPubSub);
            self.emit(event, step);
        } else if event.position == last || self.echoes.remove(&event.position) {
            step.world.note(Note::Duplicate);
        } else if early {
            step.world.note(Note::Straggler);
            if sabotaged(Mutant::StragglerBelieved) {
                self.emit(event, step);
            }
        } else if event.position.id() <= last.id() {
            self.suspect(step);
        } else if sabotaged(Mutant::LateUnlinkedBelieved) {
            self.emit(event, step);
        } else {
            return Some(event);
        }
        None
    }

    fn another_round<W: World>(&mut self, mut sync: Sync, step: &mut Step<'_, W>) -> bool {
        sync.round += 1;
        sync.overflowed = false;
        sync.confirm = false;
        if sync.round >= step.limits.rounds {
            step.world.note(Note::Resubscribe);
            self.unconfirmed();
            return true;
        }
        sync.issue(&self.channel, self.last, step);
        self.phase = Phase::Syncing(sync);
        false
    }

    fn reset<W: World>(
        &mut self,
        from: Position,
        to: Position,
        reason: ResetReason,
        step: &mut Step<'_, W>,
    ) {
        step.world.note(Note::Reset(reason));
        self.echoes.clear();
        self.last = Some(to);
        if !sabotaged(Mutant::SilentReset) {
            let reset = Reset {
                from: Some(from),
                to,
                reason,
            };
            self.listeners
                .tell(&self.channel, &Entry::Reset(reset), step.now, step.world);
        }
    }

    fn emit<W: World>(&mut self, event: Event, step: &mut Step<'_, W>) {
        self.last = Some(event.position);
        if self.missing.is_some_and(|(head, _)| head == event.position) {
            self.missing = None;
        }
        let frame = EventFrame::new(&self.channel, event);
        let entry = Entry::Event(Arc::clone(&frame));
        self.listeners
            .tell(&self.channel, &entry, step.now, step.world);
        if let Some(streams) = frame.handed_to(0) {
            step.world.handed_out(&frame, streams);
        }
    }

    fn emit_ephemeral<W: World>(&mut self, data: bytes::Bytes, step: &mut Step<'_, W>) {
        step.world.note(Note::FromEphemeral);
        let entry = Entry::Ephemeral(EphemeralFrame::new(&self.channel, data));
        self.listeners
            .tell(&self.channel, &entry, step.now, step.world);
    }
}

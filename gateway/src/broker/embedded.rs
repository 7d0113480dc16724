//! A broker in process, with the chain semantics of Redis: for trying out,
//! development and single-node use. Its history dies with the process.

use std::collections::{HashMap, HashSet, VecDeque};

use sluice_wire::channel::Channel;
use sluice_wire::event::Message;
use sluice_wire::log::{Log, Published, SystemMillis};
use sluice_wire::position::Position;
use sluice_wire::publish::Defaults;

use super::batch::{Outcome, will_pass};
use super::canary::is_canary;
use super::history::{Glance, Look, Span};
use super::{Publication, PublishError, Push};
use crate::hub::exchange::{Context, Oldest, Query, Range, Reading};

/// Bounds of the embedded broker.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedSettings {
    /// Channels with a history at the same time.
    pub channels: usize,
}

/// Every channel's log, and who wants to hear of it.
#[derive(Debug)]
pub(super) struct Embedded {
    settings: EmbeddedSettings,
    defaults: Defaults,
    canary: Defaults,
    logs: HashMap<Channel, Log>,
    wanted: HashSet<Channel>,
    /// What the node has still to hear; emptied after every step.
    pushes: VecDeque<Push>,
    /// Channels that there was no room for, since it was last counted.
    pub refused: u64,
    /// Whether the canary's channel, of which there is one, is among the logs: it takes nobody's place.
    has_canary: bool,
}

impl Embedded {
    pub(super) fn new(
        settings: EmbeddedSettings,
        defaults: Defaults,
        canary: Defaults,
    ) -> Embedded {
        Embedded {
            settings,
            defaults,
            canary,
            logs: HashMap::new(),
            wanted: HashSet::new(),
            pushes: VecDeque::new(),
            refused: 0,
            has_canary: false,
        }
    }

    pub(super) fn want(&mut self, channel: &Channel) {
        self.wanted.insert(channel.clone());
        self.pushes.push_back(Push::Confirmed(channel.clone()));
    }

    pub(super) fn unwant(&mut self, channel: &Channel) {
        self.wanted.remove(channel);
    }

    pub(super) fn channels(&self) -> usize {
        self.logs.len()
    }

    pub(super) fn next_push(&mut self) -> Option<Push> {
        self.pushes.pop_front()
    }

    pub(super) fn publish(
        &mut self,
        publication: &Publication,
        now: u64,
    ) -> Result<Position, PublishError> {
        let defaults = self.defaults(&publication.channel);
        let Some(log) = self.log(&publication.channel, now) else {
            tracing::debug!(
                limit = self.settings.channels,
                "the embedded broker has no room for one more channel (limits.embedded_channels)"
            );
            return Err(PublishError::Unavailable);
        };
        let publish = publication.as_publish();
        let published = log.publish(SystemMillis(now), &publish, rand::random(), &defaults)?;
        let position = published.position();
        if let Published::Appended(event) = published
            && self.wanted.contains(&publication.channel)
        {
            let channel = publication.channel.clone();
            self.pushes
                .push_back(Push::Ready(channel, Message::Event(event)));
        }
        Ok(position)
    }

    /// The same for many of one channel; after a failure that will pass, nothing is tried.
    pub(super) fn publish_all(&mut self, piece: &[Publication], now: u64) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(piece.len());
        for publication in piece {
            let outcome = match outcomes.last() {
                Some(before) if will_pass(before) => Err(PublishError::NotTried),
                Some(_) | None => self.publish(publication, now),
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// `None` when there is no room for one more channel.
    pub(super) fn read(&mut self, query: &Query, now: u64) -> Option<Reading> {
        let defaults = self.defaults(&query.channel);
        let log = self.log(&query.channel, now)?;
        let head_is_new = log.head().is_none();
        let head = log.ensure_head(SystemMillis(now), rand::random(), &defaults);
        let entries = match query.range {
            Range::Head => Vec::new(),
            Range::After(place) => log.after(place.id(), query.count).cloned().collect(),
            Range::Since(ms) => log
                .events()
                .filter(|event| event.position.id().ms >= ms)
                .take(query.count)
                .cloned()
                .collect(),
            Range::Last(count) => log.last_n(count as usize).cloned().collect(),
            Range::Exactly(place) => log.at(place.id()).cloned().into_iter().collect(),
        };
        let context = query.confirm.then(|| context(log));
        Some(Reading {
            head,
            head_is_new,
            entries,
            context,
        })
    }

    /// As [`Embedded::read`], but begins no chain.
    pub(super) fn look(&mut self, glance: &Glance, now: u64) -> Look {
        let mut look = Look {
            head: None,
            entries: Vec::new(),
            context: None,
        };
        let Some(log) = self.logs.get_mut(&glance.channel) else {
            return look;
        };
        log.expire(SystemMillis(now));
        look.head = log.head();
        look.entries = match glance.span {
            Span::From(id) => log
                .events()
                .filter(|event| event.position.id() >= id)
                .take(glance.count)
                .cloned()
                .collect(),
            Span::After(id) => log.after(id, glance.count).cloned().collect(),
            Span::Newest => log.last_n(glance.count).cloned().collect(),
            Span::Before(id) => log
                .events()
                .rev()
                .filter(|event| event.position.id() < id)
                .take(glance.count)
                .cloned()
                .collect(),
        };
        look.entries.sort_by_key(|event| event.position.id());
        look.context = glance.confirm.then(|| context(log));
        look
    }

    pub(super) fn head(&mut self, channel: &Channel, now: u64) -> Option<Position> {
        let defaults = self.defaults(channel);
        Some(
            self.logs
                .get_mut(channel)?
                .ensure_head(SystemMillis(now), rand::random(), &defaults),
        )
    }

    fn log(&mut self, channel: &Channel, now: u64) -> Option<&mut Log> {
        let is_canary = is_canary(channel);
        let is_new = !self.logs.contains_key(channel);
        if is_new && !is_canary && !self.has_room() {
            self.make_room(now);
            if !self.has_room() {
                self.refused += 1;
                return None;
            }
        }
        self.has_canary |= is_canary;
        Some(self.logs.entry(channel.clone()).or_default())
    }

    fn has_room(&self) -> bool {
        self.logs.len() < self.settings.channels + usize::from(self.has_canary)
    }

    fn defaults(&self, channel: &Channel) -> Defaults {
        if is_canary(channel) {
            self.canary
        } else {
            self.defaults
        }
    }

    /// Lets go of what has expired; if that is not enough, of channels without
    /// history that nobody follows: a reader who comes back is told so.
    fn make_room(&mut self, now: u64) {
        self.logs.retain(|_, log| {
            log.expire(SystemMillis(now));
            log.head().is_some()
        });
        self.has_canary = self.logs.keys().any(is_canary);
        if !self.has_room() {
            let wanted = &self.wanted;
            self.logs
                .retain(|channel, log| log.first().is_some() || wanted.contains(channel));
            self.has_canary = self.logs.keys().any(is_canary);
        }
    }
}

fn context(log: &Log) -> Context {
    let oldest = log.first().map(|event| Oldest {
        position: event.position,
        prev: event.prev,
    });
    Context { oldest }
}

//! Judges what clients saw by what really happened: link by link, per client and
//! channel. It never asks the gateway; a rule that is broken is an error.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde_json::Value;
use sluice_wire::position::Position;

use super::eventsource::{Block, Places, name_hash, places};
use super::message::Message;
use super::past::{Past, Record, Time};
use super::right::check_right;
use crate::hub::frame::Format;

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub channels: Vec<usize>,
    pub format: Format,
    /// The `Last-Event-ID` it sent; none for a start that needs no cursor.
    pub cursor: Option<String>,
    /// Names the thread that serves it: node, life of the node, worker.
    pub server: (usize, u32, usize),
    /// When the right to read ends.
    pub expires_at: Option<Time>,
}

/// What happened to a client.
#[derive(Clone, Debug)]
pub enum Seen {
    Connected(Asked),
    Block(Block),
    /// The open stream was given a new token, which ends then.
    Renewed(Time),
    Gone,
}

/// Bounds after which a reset `backfill_limit` may be told.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least of the events that a chain or a stream may replay.
    pub backfill: u32,
}

/// One client, judged.
#[derive(Debug)]
pub struct Reader {
    bounds: Bounds,
    names: Vec<String>,
    asked: Option<Asked>,
    last_event_id: Option<String>,
    seats: BTreeMap<usize, Seat>,
    stage: Stage,
    /// Told that its token is about to expire.
    warned: bool,
    /// The bare place sent with several channels, and how to judge it.
    bare: Option<Position>,
    heard: HashSet<(Bytes, (usize, u32, usize))>,
    pub counts: Counts,
}

/// What a client has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub ephemerals: u64,
    pub resets: u64,
    pub closes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Offline,
    Greeting,
    Open,
    Closed,
}

/// A client's place in one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// The place and when the client was told it.
    place: Option<(Position, Time)>,
    /// The gateway could not read the place: it has to say so first.
    owes_reset: bool,
}

type Verdict = Result<(), String>;

impl Reader {
    pub fn new(names: Vec<String>, bounds: Bounds) -> Reader {
        Reader {
            bounds,
            names,
            asked: None,
            last_event_id: None,
            seats: BTreeMap::new(),
            stage: Stage::Offline,
            warned: false,
            bare: None,
            heard: HashSet::new(),
            counts: Counts::default(),
        }
    }

    /// Where the client stands in a channel.
    pub fn place(&self, channel: usize) -> Option<Position> {
        Some(self.seats.get(&channel)?.place?.0)
    }

    /// Judges the next thing that happened to this client.
    pub fn see(&mut self, seen: &Seen, pasts: &[&Past], now: Time) -> Verdict {
        match seen {
            Seen::Connected(asked) => self.connected(asked, pasts, now),
            Seen::Block(block) => self.block(block, pasts, now),
            Seen::Renewed(expires_at) => {
                self.warned = false;
                let asked = self.asked.as_mut().ok_or("a new token for nothing")?;
                asked.expires_at = Some(*expires_at);
                Ok(())
            }
            Seen::Gone => {
                self.stage = Stage::Offline;
                Ok(())
            }
        }
    }

    fn connected(&mut self, asked: &Asked, pasts: &[&Past], now: Time) -> Verdict {
        if asked.cursor.is_none() || asked.cursor != self.last_event_id {
            // A new page, or a cursor of the test's own making: whatever was known is void.
            self.seats.clear();
            self.heard.clear();
        }
        self.last_event_id.clone_from(&asked.cursor);
        self.stage = Stage::Greeting;
        self.warned = false;
        self.bare = None;
        let old = std::mem::take(&mut self.seats);
        let sent = asked.cursor.as_deref().map(places);
        let holder = match sent {
            Some(Places::Bare(place)) if asked.channels.len() > 1 => {
                self.bare = Some(place);
                let holds = |c: &&usize| pasts[**c].find(place).is_some();
                asked.channels.iter().find(holds).copied()
            }
            Some(_) | None => None,
        };
        for &channel in &asked.channels {
            let mut seat = Seat::default();
            let told = old.get(&channel).and_then(|seat| seat.place);
            let place = match &sent {
                None => None,
                Some(Places::Unreadable) => {
                    seat.owes_reset = true;
                    None
                }
                Some(Places::Bare(place)) if asked.channels.len() == 1 => Some(*place),
                Some(Places::Bare(place)) => Some(*place).filter(|_| holder == Some(channel)),
                Some(Places::Many(many)) => many.get(&name_hash(&self.names[channel])).copied(),
            };
            let owed = old.get(&channel).is_some_and(|seat| seat.owes_reset);
            let is_many = matches!(sent, Some(Places::Many(_)));
            seat.owes_reset |= owed && is_many && place.is_none();
            if self.bare.is_some() && holder.is_none() {
                seat.owes_reset = true;
            }
            seat.place = place.map(|place| match told {
                Some(told) if told.0 == place => told,
                Some(_) | None => (place, now),
            });
            self.seats.insert(channel, seat);
        }
        self.asked = Some(asked.clone());
        Ok(())
    }

    fn block(&mut self, block: &Block, pasts: &[&Past], now: Time) -> Verdict {
        let Some(asked) = self.asked.clone() else {
            return Err("bytes before a request".to_owned());
        };
        if matches!(self.stage, Stage::Offline | Stage::Closed) {
            return Err(format!("a block after the end: {block:?}"));
        }
        if self.stage == Stage::Greeting
            && !matches!(block.event_type.as_str(), "sluice.open" | "sluice.close")
        {
            return Err(format!("a block before sluice.open: {block:?}"));
        }
        check_right(block, &asked, now)?;
        match block.event_type.as_str() {
            "sluice.expiring" if self.warned => return Err("warned twice".to_owned()),
            "sluice.expiring" => {
                self.warned = true;
                self.adopt(block, pasts, now)?;
            }
            "sluice.open" => {
                self.stage = Stage::Open;
                self.open(block, &asked, pasts, now)?;
            }
            "sluice.reset" => self.reset(block, &asked, pasts, now)?,
            "sluice.close" => {
                self.stage = Stage::Closed;
                self.counts.closes += 1;
                self.adopt(block, pasts, now)?;
            }
            _ => self.event(block, &asked, pasts, now)?,
        }
        self.check_cursor(block, &asked)
    }

    /// The id of a block must say exactly where the client now stands.
    fn check_cursor(&mut self, block: &Block, asked: &Asked) -> Verdict {
        let known = self.seats.values().any(|seat| seat.place.is_some());
        let owes = self.seats.values().any(|seat| seat.owes_reset);
        let settled = known && !owes && self.bare.is_none();
        let Some(id) = &block.id else {
            if settled || asked.cursor.is_some() {
                return Err(format!("a block without an id erases the place: {block:?}"));
            }
            return Ok(());
        };
        // Its own cursor given back says nothing new, and is due while there is nothing new to say.
        if !settled && asked.cursor.as_ref() == Some(id) {
            return Ok(());
        }
        let told = places(id);
        for (&channel, seat) in &self.seats {
            let place = match &told {
                Places::Bare(place) if asked.channels.len() == 1 => Some(*place),
                Places::Many(many) if asked.channels.len() > 1 => {
                    many.get(&name_hash(&self.names[channel])).copied()
                }
                Places::Bare(_) | Places::Many(_) | Places::Unreadable => {
                    return Err(format!("an id that is no cursor: {block:?}"));
                }
            };
            if place != seat.place.map(|(place, _)| place) {
                return Err(format!(
                    "the cursor says {place:?} of channel {channel}, the client stands at {:?}: {block:?}",
                    seat.place
                ));
            }
            if seat.owes_reset {
                return Err(format!(
                    "the id replaces an unreadable one before channel {channel} was reset: {block:?}"
                ));
            }
        }
        self.last_event_id = Some(id.clone());
        self.bare = None;
        Ok(())
    }

    fn open(&mut self, block: &Block, asked: &Asked, pasts: &[&Past], now: Time) -> Verdict {
        let data: Value = serde_json::from_str(&block.data).map_err(|e| e.to_string())?;
        let told = data["channels"]
            .as_object()
            .ok_or("open without channels")?;
        let names: HashSet<&str> = told.keys().map(String::as_str).collect();
        let wanted = asked.channels.iter().map(|c| self.names[*c].as_str());
        if names != wanted.collect() {
            return Err(format!("sluice.open names other channels: {block:?}"));
        }
        self.adopt(block, pasts, now)
    }

    /// Takes the first place of each channel from the cursor.
    fn adopt(&mut self, block: &Block, pasts: &[&Past], now: Time) -> Verdict {
        let Some(id) = &block.id else { return Ok(()) };
        if self
            .asked
            .as_ref()
            .is_some_and(|asked| asked.cursor.as_ref() == Some(id))
        {
            return Ok(());
        }
        let cursor = places(id);
        for (&channel, seat) in &mut self.seats {
            let place = match &cursor {
                Places::Bare(place) => Some(*place),
                Places::Many(many) => many.get(&name_hash(&self.names[channel])).copied(),
                Places::Unreadable => None,
            };
            if let (None, Some(place), false) = (seat.place, place, seat.owes_reset) {
                let record = pasts[channel].find(place);
                if record.is_none_or(|record| record.born > now) {
                    return Err(format!("opened at a place that never was: {block:?}"));
                }
                seat.place = Some((place, now));
            }
        }
        Ok(())
    }

    fn reset(&mut self, block: &Block, asked: &Asked, pasts: &[&Past], now: Time) -> Verdict {
        self.counts.resets += 1;
        let data: Value = serde_json::from_str(&block.data).map_err(|e| e.to_string())?;
        let name = data["channel"].as_str().unwrap_or_default();
        let channel = asked.channels.iter().find(|c| self.names[**c] == name);
        let channel = *channel.ok_or("a reset of a channel that nobody asked for")?;
        let past = pasts[channel];
        let place = |field: &str| data[field].as_str().and_then(|text| text.parse().ok());
        let to = place("to").ok_or("a reset that leads nowhere")?;
        if past.find(to).is_none_or(|record| record.born > now) {
            return Err(format!("reset to a place that never was: {block:?}"));
        }
        let seat = self.seats.get(&channel).copied().unwrap_or_default();
        let (from, reason) = (place("from"), data["reason"].as_str().unwrap_or_default());
        let bad_cursor = seat.owes_reset || self.bare_is_gone(pasts, now);
        let allowed = match reason {
            "bad_cursor" => bad_cursor,
            "backfill_limit" => {
                let most = past.records.iter().map(|record| record.depth).max();
                most.unwrap_or(0) > self.bounds.backfill && from != Some(to)
            }
            _ => past.lost(from, reason, now),
        };
        if !allowed {
            return Err(format!("a false reset: {block:?}"));
        }
        if reason != "bad_cursor" && from != seat.place.map(|(place, _)| place) {
            return Err(format!(
                "reset from a place where the client is not ({:?}): {block:?}",
                seat.place
            ));
        }
        self.seats.insert(
            channel,
            Seat {
                place: Some((to, now)),
                owes_reset: false,
            },
        );
        Ok(())
    }

    /// Whether the bare place sent with several channels was held by none.
    fn bare_is_gone(&self, pasts: &[&Past], now: Time) -> bool {
        self.bare.is_some_and(|bare| {
            let mut records = self.seats.keys().filter_map(|c| pasts[*c].find(bare));
            records.all(|record| record.unheld.is_some_and(|at| at <= now))
        })
    }

    fn event(&mut self, block: &Block, asked: &Asked, pasts: &[&Past], now: Time) -> Verdict {
        let message = Message::read(block, asked.format)?;
        let channel = message.channel()?;
        if !asked.channels.contains(&channel) {
            return Err(format!("a channel that nobody asked for: {block:?}"));
        }
        if let Some(name) = &message.envelope_channel
            && *name != self.names[channel]
        {
            return Err(format!("an envelope of another channel: {block:?}"));
        }
        let seat = self.seats.get(&channel).copied().unwrap_or_default();
        if seat.owes_reset {
            return Err(format!("an event where a reset is owed: {block:?}"));
        }
        if message.data.starts_with('~') {
            return self.ephemeral(&message, asked, pasts[channel], now);
        }
        let own = asked.cursor.as_deref();
        let position = match block
            .id
            .as_deref()
            .filter(|id| Some(*id) != own)
            .map(places)
        {
            Some(Places::Bare(place)) => Some(place),
            Some(Places::Many(many)) => many.get(&name_hash(&self.names[channel])).copied(),
            Some(Places::Unreadable) => None,
            // As long as another channel owes a reset; the link says which it is.
            None => pasts[channel].follower(seat.place.map(|(place, _)| place), &message.data),
        };
        let position = position.ok_or_else(|| format!("an event without a place: {block:?}"))?;
        if let Some(own) = &message.envelope_id
            && *own != position.to_string()
        {
            return Err(format!("the envelope has another id: {block:?}"));
        }
        let record = pasts[channel].find(position);
        let record = record.filter(|record| record.born <= now && record.prev.is_some());
        let record = record.ok_or_else(|| format!("a phantom: {block:?}"))?;
        message.check(record, asked.format)?;
        self.check_link(channel, record, pasts[channel])?;
        self.counts.events += 1;
        self.seats.entry(channel).or_default().place = Some((position, now));
        Ok(())
    }

    fn check_link(&self, channel: usize, record: &Record, past: &Past) -> Verdict {
        let seat = self.seats.get(&channel).copied().unwrap_or_default();
        let Some((place, told)) = seat.place else {
            return Err(format!("an event before any place: {record:?}"));
        };
        if place == record.position {
            return Err(format!("a duplicate: {record:?}"));
        }
        let prev = record.prev.and_then(|prev| past.records.get(prev));
        let prev = prev.ok_or("an event that follows nothing")?;
        if prev.position != place {
            return Err(format!(
                "a gap or a reorder: at {place}, got {} which follows {}",
                record.position, prev.position
            ));
        }
        if prev.born > told {
            return Err(format!(
                "another timeline: {} follows a place born after the client was told it",
                record.position
            ));
        }
        Ok(())
    }

    fn ephemeral(&mut self, message: &Message, asked: &Asked, past: &Past, now: Time) -> Verdict {
        let data = Bytes::from(message.data.clone());
        if past.shouted(&data).is_none_or(|at| at > now) {
            return Err(format!("an ephemeral event out of thin air: {data:?}"));
        }
        if message.event_type.is_some() {
            return Err(format!("an ephemeral event with a type: {data:?}"));
        }
        if !self.heard.insert((data, asked.server)) {
            return Err(format!("an ephemeral event twice: {:?}", message.data));
        }
        self.counts.ephemerals += 1;
        Ok(())
    }
}

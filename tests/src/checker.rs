//! Judges what clients saw against what was published: a pure function over logs. It compares positions as
//! the text they were published as and shares no code with what it checks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    client::{Log, Seen},
    cursor,
    journal::{Outcome, Record},
    sse::Block,
};

/// Violations that a failure lists in full.
const SHOWN: usize = 12;

/// The ways in which a promise can be broken.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// An event whose `prev` is not the place the client stood at: something was left out or reordered.
    Gap,
    /// The same position twice since the last reset.
    Duplicate,
    /// A position that nobody published.
    Phantom,
    /// Another payload, or another channel, than was published at that position.
    Corrupt,
    /// The client's last place is not the channel's head.
    Lost,
    /// A reset on a channel that suffered nothing, or for another reason than what it suffered.
    FalseReset,
    /// `sluice.open` went on from elsewhere than the client stood, and no reset told so.
    Jump,
    /// A block about one channel moved the place of another, or a control block moved one at all.
    Moved,
    /// A cursor that no longer names a place it named before.
    Erased,
    /// A blank line without data, which raises phantom events in some clients.
    EmptyBlock,
    /// A status for which a browser gives up for ever.
    Refused,
    /// A control block or an envelope that does not read as the design says.
    Malformed,
    /// An acknowledged event that is no longer on the channel's chain, though the channel suffered nothing.
    Withdrawn,
    /// An event whose `prev` the publisher could not read back: its link cannot be judged.
    Unproved,
}

/// One broken promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    pub kind: Kind,
    pub client: String,
    pub channel: String,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at client {} on {}: {}",
            self.kind, self.client, self.channel, self.detail
        )
    }
}

/// Which resets a scenario's faults justify: reasons by channel. A channel not named suffered nothing.
pub type Suffered = BTreeMap<String, BTreeSet<&'static str>>;

/// All that is known when a scenario has come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub published: &'a [Record],
    /// Each channel's head as Redis holds it now. Only these channels are checked for loss.
    pub heads: &'a BTreeMap<String, String>,
    pub clients: &'a [Log],
    pub suffered: &'a Suffered,
}

/// A reset that a client was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    pub client: String,
    pub channel: String,
    pub reason: String,
}

/// The verdict.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub violations: Vec<Violation>,
    pub delivered: usize,
    pub resets: Vec<Told>,
}

impl Report {
    /// Fails with the first violations and their number if there are any.
    pub fn whole(&self) -> Result<()> {
        if self.violations.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = self
            .violations
            .iter()
            .take(SHOWN)
            .map(|one| format!("  {one}"))
            .collect();
        bail!(
            "{} broken promises:\n{}",
            self.violations.len(),
            shown.join("\n")
        )
    }

    /// Whether any violation is of this kind.
    pub fn found(&self, kind: Kind) -> bool {
        self.violations
            .iter()
            .any(|violation| violation.kind == kind)
    }
}

/// Checks every client's log against the journal and the heads.
pub fn check(evidence: &Evidence<'_>) -> Report {
    let mut report = Report::default();
    let published = Published::new(evidence.published);
    published.check_withdrawn(evidence, &mut report);
    for log in evidence.clients {
        Walk::new(log, evidence, &published, &mut report).run();
    }
    report
}

/// The journal, to look positions up.
struct Published<'a> {
    by_position: HashMap<(&'a str, &'a str), &'a Record>,
}

impl<'a> Published<'a> {
    fn new(records: &'a [Record]) -> Self {
        let by_position = records
            .iter()
            .filter_map(|record| Some(((record.channel.as_str(), record.position()?), record)))
            .collect();
        Published { by_position }
    }

    /// Follows each unharmed channel's chain back from its head: every acknowledged event must be on it.
    fn check_withdrawn(&self, evidence: &Evidence<'_>, report: &mut Report) {
        for (channel, head) in evidence.heads {
            if evidence.suffered.contains_key(channel) {
                continue;
            }
            let mut on_chain = HashSet::new();
            let mut at = Some(head.as_str());
            while let Some(record) =
                at.and_then(|position| self.by_position.get(&(channel, position)))
            {
                on_chain.insert(record.serial);
                at = match &record.outcome {
                    Outcome::Stored { prev, .. } => prev.as_deref(),
                    Outcome::Unknown => None,
                };
            }
            let withdrawn = self
                .by_position
                .values()
                .filter(|r| r.channel == *channel && !on_chain.contains(&r.serial));
            report.violations.extend(withdrawn.map(|record| Violation {
                kind: Kind::Withdrawn,
                client: "(publisher)".to_owned(),
                channel: channel.clone(),
                detail: format!(
                    "{:?} is not on the chain that ends at {head}",
                    record.position()
                ),
            }));
        }
    }
}

/// What is known of one channel while a client's log is walked.
#[derive(Debug, Default)]
struct Track {
    place: Option<String>,
    delivered: HashSet<String>,
    /// `sluice.open` announced a reset that has not come yet.
    reset_announced: bool,
}

/// One client's log on its way through the checker.
struct Walk<'a> {
    log: &'a Log,
    evidence: &'a Evidence<'a>,
    published: &'a Published<'a>,
    report: &'a mut Report,
    tracks: BTreeMap<&'a str, Track>,
}

impl<'a> Walk<'a> {
    fn new(
        log: &'a Log,
        evidence: &'a Evidence<'a>,
        published: &'a Published<'a>,
        report: &'a mut Report,
    ) -> Self {
        let tracks = log
            .channels
            .iter()
            .map(|channel| (channel.as_str(), Track::default()))
            .collect();
        Walk {
            log,
            evidence,
            published,
            report,
            tracks,
        }
    }

    fn run(mut self) {
        for (_, seen) in &self.log.seen {
            match seen {
                Seen::Event(block) => self.block(block),
                Seen::EmptyBlock => self.violation(
                    Kind::EmptyBlock,
                    "*",
                    "a blank line without data".to_owned(),
                ),
                Seen::Refused(status) => {
                    self.violation(Kind::Refused, "*", format!("status {status}"))
                }
                Seen::Asked { .. } | Seen::Retry(_) | Seen::Ended(_) => {}
            }
        }
        for (channel, head) in self.evidence.heads {
            let Some(track) = self.tracks.get(channel.as_str()) else {
                continue;
            };
            if track.place.as_ref() != Some(head) {
                let detail = format!("stands at {:?}, the head is {head}", track.place);
                self.violation(Kind::Lost, channel, detail);
            }
            if self
                .tracks
                .get(channel.as_str())
                .is_some_and(|track| track.reset_announced)
            {
                self.violation(
                    Kind::Jump,
                    channel,
                    "an announced reset never came".to_owned(),
                );
            }
        }
    }

    fn block(&mut self, block: &Block) {
        match block.event.as_str() {
            "sluice.open" => self.open(block),
            "sluice.reset" => self.reset(block),
            "sluice.close" => self.unmoved(block, None),
            _ => self.event(block),
        }
    }

    fn open(&mut self, block: &Block) {
        let data: Value = serde_json::from_str(&block.data).unwrap_or_default();
        for channel in &self.log.channels {
            let Some(status) = data["channels"][channel.as_str()].as_str() else {
                self.violation(
                    Kind::Malformed,
                    channel,
                    format!("sluice.open without it: {}", block.data),
                );
                continue;
            };
            let place = cursor::place(&block.last_event_id, &self.log.channels, channel);
            let track = self.tracks.entry(channel).or_default();
            match (&track.place, place) {
                (None, place) => track.place = place,
                (Some(old), Some(new)) if *old == new => {}
                (Some(_), Some(_)) if status == "reset" => track.reset_announced = true,
                (Some(old), Some(new)) => {
                    let detail =
                        format!("stood at {old}, sluice.open ({status}) goes on from {new}");
                    self.violation(Kind::Jump, channel, detail);
                }
                (Some(old), None) => {
                    let detail = format!("stood at {old}, sluice.open ({status}) names no place");
                    self.violation(Kind::Erased, channel, detail);
                }
            }
        }
    }

    fn reset(&mut self, block: &Block) {
        let data: Value = serde_json::from_str(&block.data).unwrap_or_default();
        let (Some(channel), Some(reason)) = (data["channel"].as_str(), data["reason"].as_str())
        else {
            return self.violation(Kind::Malformed, "*", format!("reset {}", block.data));
        };
        let Some(channel) = self.log.channels.iter().find(|one| *one == channel) else {
            return self.violation(
                Kind::Malformed,
                channel,
                "reset of a channel not subscribed to".to_owned(),
            );
        };
        if !self
            .evidence
            .suffered
            .get(channel)
            .is_some_and(|reasons| reasons.contains(reason))
        {
            self.violation(Kind::FalseReset, channel, block.data.clone());
        }
        self.report.resets.push(Told {
            client: self.log.name.clone(),
            channel: channel.clone(),
            reason: reason.to_owned(),
        });
        self.unmoved(block, Some(channel));
        let place = cursor::place(&block.last_event_id, &self.log.channels, channel);
        if place.is_none() || data["to"].as_str() != place.as_deref() {
            self.violation(
                Kind::Malformed,
                channel,
                format!("reset {} with the place {place:?}", block.data),
            );
        }
        self.tracks.insert(
            channel,
            Track {
                place,
                ..Track::default()
            },
        );
    }

    fn event(&mut self, block: &Block) {
        let (channel, payload) = match self.speaker(block) {
            Some(found) => found,
            None => {
                return self.violation(Kind::Malformed, "*", format!("envelope {}", block.data));
            }
        };
        self.report.delivered += 1;
        self.unmoved(block, Some(channel));
        let Some(position) = cursor::place(&block.last_event_id, &self.log.channels, channel)
        else {
            return self.violation(
                Kind::Erased,
                channel,
                format!("event with id {:?}", block.last_event_id),
            );
        };
        match self
            .published
            .by_position
            .get(&(channel, position.as_str()))
        {
            None => self.violation(
                Kind::Phantom,
                channel,
                format!("{position} with {payload:?}"),
            ),
            Some(record) if record.payload != payload => {
                self.violation(
                    Kind::Corrupt,
                    channel,
                    format!("{position}: {payload:?}, not {:?}", record.payload),
                );
            }
            Some(record) => self.link(channel, &position, record),
        }
        let track = self.tracks.entry(channel).or_default();
        track.delivered.insert(position.clone());
        track.place = Some(position);
    }

    /// Judges the step from where the client stands to `position`.
    fn link(&mut self, channel: &'a str, position: &str, record: &Record) {
        let track = self.tracks.entry(channel).or_default();
        let Some(place) = track.place.clone() else {
            return;
        };
        if track.delivered.contains(position) {
            return self.violation(Kind::Duplicate, channel, position.to_owned());
        }
        match &record.outcome {
            Outcome::Stored {
                prev: Some(prev), ..
            } if *prev == place => {}
            Outcome::Stored {
                prev: Some(prev), ..
            } => {
                self.violation(
                    Kind::Gap,
                    channel,
                    format!("{position} follows {prev}, but came after {place}"),
                );
            }
            Outcome::Stored { prev: None, .. } | Outcome::Unknown => {
                self.violation(Kind::Unproved, channel, position.to_owned());
            }
        }
    }

    /// Which channel an event block speaks for, and the publisher's data.
    fn speaker(&self, block: &Block) -> Option<(&'a str, String)> {
        if let [only] = self.log.channels.as_slice() {
            return Some((only, block.data.clone()));
        }
        let envelope: Value = serde_json::from_str(&block.data).ok()?;
        let named = envelope["channel"].as_str()?;
        let channel = self.log.channels.iter().find(|channel| *channel == named)?;
        Some((channel, envelope["data"].as_str()?.to_owned()))
    }

    /// Checks that the block's cursor leaves every channel but `speaker` where the client stands.
    fn unmoved(&mut self, block: &Block, speaker: Option<&str>) {
        for channel in self
            .log
            .channels
            .iter()
            .filter(|channel| Some(channel.as_str()) != speaker)
        {
            let track = self.tracks.entry(channel).or_default();
            let Some(old) = track.place.clone() else {
                continue;
            };
            match cursor::place(&block.last_event_id, &self.log.channels, channel) {
                Some(new) if new == old || track.reset_announced => {}
                Some(new) => self.violation(
                    Kind::Moved,
                    channel,
                    format!("{} moved it from {old} to {new}", block.event),
                ),
                None => self.violation(
                    Kind::Erased,
                    channel,
                    format!("{} left {old} out", block.event),
                ),
            }
        }
    }

    fn violation(&mut self, kind: Kind, channel: &str, detail: String) {
        let (client, channel) = (self.log.name.clone(), channel.to_owned());
        self.report.violations.push(Violation {
            kind,
            client,
            channel,
            detail,
        });
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;

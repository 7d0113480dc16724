//! What was published, from the script's own replies and the stream, never from a gateway.

use std::collections::BTreeMap;

/// What the publisher knows about one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The script answered with `position`; `prev` is what the stream held right after, none if the entry
    /// was gone by then.
    Stored {
        position: String,
        prev: Option<String>,
    },
    /// No answer came: it may stand in the stream once, or not at all.
    Unknown,
}

/// One event that was handed to Redis.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub channel: String,
    /// Counts from 0 in each channel.
    pub serial: u64,
    pub payload: String,
    pub outcome: Outcome,
}

impl Record {
    /// The position, if the script told it.
    pub fn position(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Stored { position, .. } => Some(position),
            Outcome::Unknown => None,
        }
    }
}

/// All events of one scenario, in the order of their publishing within each channel.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub records: Vec<Record>,
}

impl Journal {
    /// The position published last in each channel.
    pub fn heads(&self) -> BTreeMap<String, String> {
        self.records
            .iter()
            .filter_map(|record| Some((record.channel.clone(), record.position()?.to_owned())))
            .collect()
    }

    /// How many events stand in `channel`.
    pub fn stored(&self, channel: &str) -> usize {
        self.records
            .iter()
            .filter(|record| record.channel == channel && record.position().is_some())
            .count()
    }
}

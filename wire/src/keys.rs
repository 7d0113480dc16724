//! Redis names: prefix and channel to keys and topic, and back; and what the head key holds. All keys of a channel share
//! one hash slot.

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use crate::{channel::Channel, event::ESCAPED, position::Position};

/// The names one deployment uses in Redis. A clone is one reference count.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

/// Why a text cannot be a key prefix.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
pub enum KeysError {
    #[error("a key prefix has at most {max} bytes, this one has {bytes}", max = Keys::MAX_PREFIX_BYTES)]
    TooLong { bytes: usize },
    #[error(
        "{character:?} is not allowed in a key prefix; use visible ASCII characters other than braces"
    )]
    BadCharacter { character: char },
}

impl Keys {
    /// The prefix when none is configured.
    pub const DEFAULT_PREFIX: &str = "sluice:";
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX_BYTES: usize = 64;

    /// Names under `prefix`, which may be empty.
    ///
    /// # Errors
    /// A prefix that is too long or has braces (they would move the hash slot), blanks or other than ASCII characters.
    pub fn new(prefix: &str) -> Result<Self, KeysError> {
        if prefix.len() > Self::MAX_PREFIX_BYTES {
            return Err(KeysError::TooLong {
                bytes: prefix.len(),
            });
        }
        match prefix
            .chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, '{' | '}'))
        {
            Some(character) => Err(KeysError::BadCharacter { character }),
            None => Ok(Self {
                prefix: prefix.into(),
            }),
        }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The channel's stream.
    pub fn stream(&self, channel: &Channel) -> String {
        format!("{}{{{channel}}}:s", self.prefix)
    }

    /// The channel's head, a string that [`Head::parse`] reads.
    pub fn head(&self, channel: &Channel) -> String {
        format!("{}{{{channel}}}:m", self.prefix)
    }

    /// The idempotency record of one event id.
    pub fn idempotency(&self, channel: &Channel, event_id: &str) -> String {
        format!("{}{{{channel}}}:i:{event_id}", self.prefix)
    }

    /// The channel's pub/sub topic.
    pub fn topic(&self, channel: &Channel) -> String {
        format!("{}{{{channel}}}", self.prefix)
    }

    /// The inverse of [`Keys::topic`]; `None` for a topic that is not one of ours.
    pub fn channel_of_topic(&self, topic: &[u8]) -> Option<Channel> {
        let topic = std::str::from_utf8(topic).ok()?;
        let name = topic
            .strip_prefix(&*self.prefix)?
            .strip_prefix('{')?
            .strip_suffix('}')?;
        Channel::parse(name).ok()
    }

    /// The nodes that report: a sorted set of their names, scored with the Unix time in milliseconds at which each report
    /// expires.
    pub fn reports(&self) -> String {
        self.control("reports")
    }

    /// What a node last reported of itself, a string of JSON that expires. The name is percent-encoded as in the header of
    /// a frame.
    pub fn report(&self, node: &str) -> String {
        self.control(&format!("report:{}", utf8_percent_encode(node, ESCAPED)))
    }

    /// The topic of orders from any node to all nodes.
    pub fn orders_topic(&self) -> String {
        format!("{}{{_ctl}}", self.prefix)
    }

    /// The orders that hold for a while: a sorted set of their JSON, scored with the Unix time in milliseconds until which
    /// each holds.
    pub fn standing_orders(&self) -> String {
        self.control("orders")
    }

    /// The id of the last change to [`Keys::standing_orders`]: who has read the set at another one reads it again.
    pub fn standing_orders_mark(&self) -> String {
        self.control("orders:mark")
    }

    /// Who holds the places of one subject: a sorted set of `<since>:<connection>`, scored with the Unix time in
    /// milliseconds until which each is held. The subject is named by the unpadded base64url of its SHA-256.
    pub fn lease(&self, subject_digest: &str) -> String {
        self.control(&format!("lease:{subject_digest}"))
    }

    /// A control key: revocations, disconnects, tickets, leases, node reports.
    pub fn control(&self, name: &str) -> String {
        format!("{}{{_ctl}}:{name}", self.prefix)
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            prefix: Self::DEFAULT_PREFIX.into(),
        }
    }
}

/// What the head key holds: `<position> <genesis>`.
///
/// The genesis tells timelines apart for idempotency records, and must survive the trimming of the events that linked
/// back to it. Readers that want the position only take the text before the blank.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub struct Head {
    /// The position of the channel's last event, or its genesis when it has none yet.
    pub position: Position,
    /// The genesis of the current timeline.
    pub genesis: Position,
}

/// A head key that holds something else.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
#[error("the head key does not hold `<position> <genesis>`; delete it to begin a new chain")]
pub struct HeadError;

impl Head {
    /// Reads the value of the head key. A position alone is taken too, as of the timeline `0-0.00000000`.
    ///
    /// # Errors
    /// [`HeadError`] for any other text.
    pub fn parse(value: &[u8]) -> Result<Self, HeadError> {
        let text = std::str::from_utf8(value).map_err(|_| HeadError)?;
        let (position, genesis) = text.split_once(' ').unwrap_or((text, "0-0.00000000"));
        let head = Self {
            position: position.parse().map_err(|_| HeadError)?,
            genesis: genesis.parse().map_err(|_| HeadError)?,
        };
        if head.genesis.is_genesis() {
            Ok(head)
        } else {
            Err(HeadError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::StreamId;

    #[test]
    fn names_are_those_of_the_contract() {
        let keys = Keys::default();
        let channel = Channel::parse("orders").expect("valid");
        assert_eq!(keys.stream(&channel), "sluice:{orders}:s");
        assert_eq!(keys.head(&channel), "sluice:{orders}:m");
        assert_eq!(
            keys.idempotency(&channel, "ev-77"),
            "sluice:{orders}:i:ev-77"
        );
        assert_eq!(keys.topic(&channel), "sluice:{orders}");
        assert_eq!(keys.control("revoke"), "sluice:{_ctl}:revoke");
        assert_eq!(keys.orders_topic(), "sluice:{_ctl}");
        assert_eq!(keys.standing_orders(), "sluice:{_ctl}:orders");
        assert_eq!(keys.standing_orders_mark(), "sluice:{_ctl}:orders:mark");
        assert_eq!(keys.reports(), "sluice:{_ctl}:reports");
        assert_eq!(keys.lease("ab_-"), "sluice:{_ctl}:lease:ab_-");
        assert_eq!(
            keys.report("gateway-1:4711"),
            "sluice:{_ctl}:report:gateway-1%3A4711"
        );
    }

    #[test]
    fn topics_read_back_and_foreign_ones_do_not() {
        let keys = Keys::new("app1:").expect("valid");
        let channel = Channel::parse("a.b:c").expect("valid");
        assert_eq!(
            keys.channel_of_topic(keys.topic(&channel).as_bytes()),
            Some(channel)
        );
        for foreign in [
            "sluice:{a}",
            "app1:{a}:s",
            "app1:a",
            "app1:{}",
            "app1:{a..b}",
            "app1:{{a}}",
            "",
        ] {
            assert_eq!(keys.channel_of_topic(foreign.as_bytes()), None, "{foreign}");
        }
        assert_eq!(keys.channel_of_topic(b"app1:{\xff}"), None);
    }

    #[test]
    fn prefixes_that_would_move_the_slot_are_refused() {
        assert_eq!(
            Keys::new("a{b").err(),
            Some(KeysError::BadCharacter { character: '{' })
        );
        assert_eq!(
            Keys::new("a b").err(),
            Some(KeysError::BadCharacter { character: ' ' })
        );
        assert_eq!(
            Keys::new(&"p".repeat(65)).err(),
            Some(KeysError::TooLong { bytes: 65 })
        );
        assert!(Keys::new("").is_ok());
    }

    #[test]
    fn heads_parse_in_their_two_forms_only() {
        let position = Position::new(StreamId { ms: 7, seq: 1 }, 0xaa);
        let genesis = Position::genesis(0xbb);
        assert_eq!(
            Head::parse(b"7-1.000000aa 0-0.000000bb"),
            Ok(Head { position, genesis })
        );
        assert_eq!(
            Head::parse(b"7-1.000000aa"),
            Ok(Head {
                position,
                genesis: Position::genesis(0)
            })
        );
        for bad in [
            "",
            "7-1",
            "7-1.000000aa ",
            "7-1.000000aa 7-1.000000aa",
            "7-1.000000aa 0-0.000000bb x",
        ] {
            assert_eq!(Head::parse(bad.as_bytes()), Err(HeadError), "{bad}");
        }
    }
}

//! The publish contract: `publish.lua` rendered for a deployment, its typed arguments, its reply and its refusals. Refuses
//! before Redis is asked whatever the script would refuse.

use std::time::Duration;

use crate::{
    channel::Channel,
    event::{check_event_id, check_event_type, is_traceparent},
    keys::Keys,
    position::{Position, PositionError},
};

const BODY: &str = include_str!("publish.lua");

/// Version of the script's text and of the Redis Function library. Raise it with every change of `publish.lua`.
pub const LIBRARY_VERSION: u32 = 2;
/// Function that publishes: keys and arguments of [`Publish`].
pub const FUNCTION_PUBLISH: &str = "sluice_publish";
/// Function that makes sure a channel has a head: keys stream and head.
pub const FUNCTION_ENSURE_HEAD: &str = "sluice_ensure_head";
/// Function without keys and arguments that returns [`LIBRARY_VERSION`]; read-only, so `FCALL_RO` serves too.
pub const FUNCTION_VERSION: &str = "sluice_version";

/// The most events a stream can be told to keep.
pub const MAX_MAXLEN: u32 = 1_000_000;
/// The longest time to live: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// What holds for a deployment unless an argument says otherwise; rendered into the script.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub struct Defaults {
    /// Events kept per channel, from 1 to [`MAX_MAXLEN`]. Redis trims whole blocks, so some more may stay.
    pub maxlen: u32,
    /// How long the history outlives the last event, from 1 ms to [`MAX_TTL`].
    pub ttl: Duration,
    /// How long the head outlives the last event or reader; at least `ttl` whatever is set here.
    pub head_ttl: Duration,
    /// How long an event id is remembered.
    pub idem_ttl: Duration,
    /// Limit of an event's data, in bytes.
    pub event_bytes: usize,
    /// Whether to `SPUBLISH` (Redis Cluster) instead of `PUBLISH`.
    pub sharded: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            maxlen: 1000,
            ttl: Duration::from_secs(60 * 60),
            head_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            idem_ttl: Duration::from_secs(5 * 60),
            event_bytes: 64 * 1024,
            sharded: false,
        }
    }
}

/// The text for `EVAL` and `EVALSHA` that publishes. Numbers in `defaults` beyond their limits are cut to them.
pub fn script(defaults: &Defaults) -> String {
    render(defaults) + "\nreturn publish(KEYS, ARGV)\n"
}

/// The text for `EVAL` and `EVALSHA` that returns a channel's head position and makes the head where there is none. Keys
/// stream and head; no arguments, or `tag` and 8 hexadecimal digits to make a new genesis differ.
pub fn ensure_head_script(defaults: &Defaults) -> String {
    render(defaults) + "\nreturn ensure_head(KEYS, ARGV)\n"
}

/// The text for `FUNCTION LOAD [REPLACE]`.
pub fn library(defaults: &Defaults) -> String {
    let body = render(defaults);
    format!(
        "#!lua name=sluice\n{body}
redis.register_function('{FUNCTION_PUBLISH}', publish)
redis.register_function('{FUNCTION_ENSURE_HEAD}', ensure_head)
redis.register_function{{
  function_name = '{FUNCTION_VERSION}',
  callback = function() return VERSION end,
  flags = {{ 'no-writes' }},
}}
"
    )
}

/// Whether the library should be loaded over what [`FUNCTION_VERSION`] answered (`None`: there is no such function). A
/// newer one is left alone.
pub const fn needs_install(found: Option<i64>) -> bool {
    match found {
        Some(version) => version < LIBRARY_VERSION as i64,
        None => true,
    }
}

/// The SHA-1 of a script's text, by which `EVALSHA` names it: 40 lower-case hexadecimal digits.
pub fn sha1_hex(script: &str) -> String {
    sha1_smol::Sha1::from(script).digest().to_string()
}

pub(crate) fn render(defaults: &Defaults) -> String {
    BODY.replace("__VERSION__", &LIBRARY_VERSION.to_string())
        .replace("__EVENT_BYTES__", &defaults.event_bytes.to_string())
        .replace("__HEAD_TTL__", &ttl_ms(defaults.head_ttl).to_string())
        .replace(
            "__MAXLEN__",
            &defaults.maxlen.clamp(1, MAX_MAXLEN).to_string(),
        )
        .replace("__TTL__", &ttl_ms(defaults.ttl).to_string())
        .replace("__IDEM_TTL__", &ttl_ms(defaults.idem_ttl).to_string())
        .replace(
            "__PUBLISH__",
            if defaults.sharded {
                "SPUBLISH"
            } else {
                "PUBLISH"
            },
        )
}

pub(crate) fn ttl_ms(ttl: Duration) -> u64 {
    let ms = ttl.clamp(Duration::from_millis(1), MAX_TTL).as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// One event to publish.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    pub channel: &'a Channel,
    /// `None` and the empty text are the same: the browser's default, `message`.
    pub event_type: Option<&'a str>,
    pub data: &'a [u8],
    /// Makes the call idempotent: a repetition answers the first position.
    pub event_id: Option<&'a str>,
    /// Random bits that tell timelines apart; without them the script hashes its time.
    pub tag: Option<u32>,
    pub traceparent: Option<&'a str>,
    pub maxlen: Option<u32>,
    pub ttl: Option<Duration>,
    pub idem_ttl: Option<Duration>,
}

impl<'a> Publish<'a> {
    /// An event with nothing but data.
    pub const fn new(channel: &'a Channel, data: &'a [u8]) -> Self {
        Self {
            channel,
            event_type: None,
            data,
            event_id: None,
            tag: None,
            traceparent: None,
            maxlen: None,
            ttl: None,
            idem_ttl: None,
        }
    }

    /// The event type, if there is one that is not empty.
    pub fn named_type(&self) -> Option<&'a str> {
        self.event_type.filter(|event_type| !event_type.is_empty())
    }

    /// The keys of the call, all of them declared: stream, head and, with an event id, its record.
    pub fn keys(&self, keys: &Keys) -> Vec<String> {
        let mut all = vec![keys.stream(self.channel), keys.head(self.channel)];
        all.extend(self.event_id.map(|id| keys.idempotency(self.channel, id)));
        all
    }

    /// The arguments of the call: type, data, and a pair of name and value for each option that is given. Times are in
    /// milliseconds.
    pub fn args(&self) -> Vec<Vec<u8>> {
        let mut args = vec![
            self.named_type().unwrap_or_default().into(),
            self.data.to_vec(),
        ];
        let mut pair = |name: &str, value: Option<String>| {
            args.extend(
                value
                    .into_iter()
                    .flat_map(|value| [name.into(), value.into_bytes()]),
            );
        };
        pair("maxlen", self.maxlen.map(|n| n.to_string()));
        pair("ttl", self.ttl.map(|ttl| ttl.as_millis().to_string()));
        pair(
            "idem_ttl",
            self.idem_ttl.map(|ttl| ttl.as_millis().to_string()),
        );
        pair("tag", self.tag.map(|tag| format!("{tag:08x}")));
        pair("tp", self.traceparent.map(str::to_owned));
        args
    }

    /// Refuses what the script would refuse, in the same order; `limit` bounds the data, in bytes. Whether the channel may
    /// be published to (see [`Channel::is_reserved`]) is the caller's question.
    ///
    /// # Errors
    /// The [`Refusal`] that the script would answer, but for those that depend on what Redis holds.
    pub fn check(&self, limit: usize) -> Result<(), Refusal> {
        self.event_id.map_or(Ok(()), check_event_id)?;
        self.named_type().map_or(Ok(()), check_event_type)?;
        if self.data.len() > limit {
            return Err(Refusal::EventTooLarge(format!(
                "the data has {} bytes, the limit is {limit}",
                self.data.len()
            )));
        }
        std::str::from_utf8(self.data).map_err(|_| Refusal::DataNotUtf8)?;
        self.check_options()
    }

    fn check_options(&self) -> Result<(), Refusal> {
        let bad =
            |name: &str, what: &str| Err(Refusal::BadArgument(format!("{name} must be {what}")));
        if self.maxlen.is_some_and(|n| !(1..=MAX_MAXLEN).contains(&n)) {
            return bad("maxlen", "a whole number from 1 to 1000000");
        }
        for (name, ttl) in [("ttl", self.ttl), ("idem_ttl", self.idem_ttl)] {
            if ttl.is_some_and(|ttl| !(Duration::from_millis(1)..=MAX_TTL).contains(&ttl)) {
                return bad(name, "a whole number from 1 to 315360000000");
            }
        }
        if self.traceparent.is_some_and(|tp| !is_traceparent(tp)) {
            return bad("tp", "a traceparent of W3C Trace Context");
        }
        Ok(())
    }
}

/// Why an event was not published. Nothing was written.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the keys are not those of one channel: {0}")]
    BadKeys(String),
    #[error(
        "an event type has 1 to 128 characters and no control character; sluice.*, open and error are reserved"
    )]
    BadEventType,
    #[error("an event id has 1 to 128 characters and no control character")]
    BadEventId,
    #[error("data must be UTF-8")]
    DataNotUtf8,
    #[error("{0}; send less, or a reference to it")]
    EventTooLarge(String),
    #[error("{0}")]
    BadArgument(String),
    #[error("this event id was published with another type or data; use a new id for a new event")]
    EventIdReused,
    #[error("the channel's head in Redis cannot be used: {0}")]
    BadHead(String),
    #[error("the stream key holds what this chain did not write; delete the stream key")]
    BadStream,
}

impl Refusal {
    /// The stable code: in the script's reply, in JSON and as a metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadKeys(_) => "bad_keys",
            Self::BadEventType => "bad_event_type",
            Self::BadEventId => "bad_event_id",
            Self::DataNotUtf8 => "data_not_utf8",
            Self::EventTooLarge(_) => "event_too_large",
            Self::BadArgument(_) => "bad_argument",
            Self::EventIdReused => "event_id_reused",
            Self::BadHead(_) => "bad_head",
            Self::BadStream => "bad_stream",
        }
    }

    /// Reads the script's error reply, `SLUICE <code> <text>`, also as a client library quotes it (`"SLUICE": <code> …`).
    /// `None` for any other error.
    pub fn from_redis_error(text: &str) -> Option<Self> {
        let (_, reply) = text.split_once("SLUICE")?;
        let reply = reply.trim_start_matches(['"', ':', ' ']);
        let (code, detail) = reply.split_once(' ').unwrap_or((reply, ""));
        let detail = detail.to_owned();
        Some(match code {
            "bad_keys" => Self::BadKeys(detail),
            "bad_event_type" => Self::BadEventType,
            "bad_event_id" => Self::BadEventId,
            "data_not_utf8" => Self::DataNotUtf8,
            "event_too_large" => Self::EventTooLarge(detail),
            "bad_argument" => Self::BadArgument(detail),
            "event_id_reused" => Self::EventIdReused,
            "bad_head" => Self::BadHead(detail),
            "bad_stream" => Self::BadStream,
            _ => return None,
        })
    }
}

/// Reads the reply of the publish and ensure-head calls.
///
/// # Errors
/// [`PositionError`] when it is not a position.
pub fn parse_reply(reply: &[u8]) -> Result<Position, PositionError> {
    std::str::from_utf8(reply)
        .map_err(|_| PositionError)?
        .parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_leaves_no_name_unreplaced() {
        for text in [
            script(&Defaults::default()),
            ensure_head_script(&Defaults::default()),
            library(&Defaults::default()),
        ] {
            assert!(
                !text.contains("__")
                    || text.matches("__").count() == text.matches("__index").count(),
                "{text}"
            );
        }
    }

    #[test]
    fn keys_and_arguments_are_those_of_the_contract() {
        let channel = Channel::parse("orders").expect("valid");
        let bare = Publish::new(&channel, b"x");
        assert_eq!(
            bare.keys(&Keys::default()),
            ["sluice:{orders}:s", "sluice:{orders}:m"]
        );
        assert_eq!(bare.args(), [&b""[..], b"x"]);
        let full = Publish {
            event_type: Some("t"),
            event_id: Some("ev-77"),
            tag: Some(0xab),
            traceparent: Some("00-1"),
            maxlen: Some(5),
            ttl: Some(Duration::from_secs(2)),
            idem_ttl: Some(Duration::from_secs(3)),
            ..bare
        };
        assert_eq!(full.keys(&Keys::default())[2], "sluice:{orders}:i:ev-77");
        let expected = [
            "t", "x", "maxlen", "5", "ttl", "2000", "idem_ttl", "3000", "tag", "000000ab", "tp",
            "00-1",
        ];
        assert_eq!(full.args(), expected.map(str::as_bytes));
    }

    #[test]
    fn refusals_read_back_from_an_error_reply_however_it_is_quoted() {
        let read = Refusal::from_redis_error;
        assert_eq!(
            read("SLUICE bad_event_type an event type"),
            Some(Refusal::BadEventType)
        );
        assert_eq!(
            read("\"SLUICE\": bad_event_type an event"),
            Some(Refusal::BadEventType)
        );
        assert_eq!(
            read("-SLUICE bad_argument x y"),
            Some(Refusal::BadArgument("x y".to_owned()))
        );
        assert_eq!(read("SLUICE"), None);
        assert_eq!(read("SLUICE what"), None);
        assert_eq!(read("ERR unknown command"), None);
    }

    #[test]
    fn a_library_is_installed_only_over_an_older_one() {
        let ours = i64::from(LIBRARY_VERSION);
        assert_eq!(
            [None, Some(ours - 1), Some(ours), Some(ours + 1)].map(needs_install),
            [true, true, false, false]
        );
    }
}

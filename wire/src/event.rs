//! One event as it travels: the pub/sub frame and the stream entry, both ways. Whatever does not parse is an error with a
//! label, never an event; data bytes are passed on untouched.

use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::{
    position::{Position, StreamId},
    publish::Refusal,
    trace::TraceContext,
};

/// The longest header line of a frame that is read, in bytes. An event id of 128 characters takes 1,536 at most.
pub const MAX_HEADER_BYTES: usize = 4096;
/// The most characters in an event type or event id.
pub const MAX_NAME_CHARS: usize = 128;

const MAGIC: &[u8] = b"sluice/";
const VERSION_1: &[u8] = b"1 ";
/// Everything but the unreserved characters of RFC 3986, section 2.3.
pub(crate) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An event of a channel's chain.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Event {
    pub position: Position,
    /// The position before it in its channel: whoever stands there may move to `position`.
    pub prev: Position,
    pub event_type: Option<Arc<str>>,
    pub event_id: Option<Arc<str>>,
    /// W3C Trace Context `traceparent` of the publisher.
    pub traceparent: Option<TraceContext>,
    /// Valid UTF-8.
    pub data: Bytes,
}

/// What a message on a channel's topic is.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Message {
    /// An event of the chain.
    Event(Event),
    /// A plain `PUBLISH`: data without an id and without history. Valid UTF-8.
    Ephemeral(Bytes),
}

/// Why a message or stream entry is not an event.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("malformed frame or stream entry: {0}")]
    Malformed(&'static str),
    #[error("the frame's version is not 1")]
    Version,
    #[error("the data is not UTF-8")]
    NotUtf8,
    #[error("the data has {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

impl FrameError {
    /// The variant's stable metric label.
    pub const fn as_label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Version => "version",
            Self::NotUtf8 => "not_utf8",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Reads a message from a channel's topic; `limit` bounds the data, in bytes. The event shares `payload`'s memory.
///
/// # Errors
/// A payload that starts with `sluice/` is an event or an error, never ephemeral. Any other is ephemeral if it is UTF-8
/// and within the limit.
pub fn decode(payload: Bytes, limit: usize) -> Result<Message, FrameError> {
    let Some(rest) = payload.strip_prefix(MAGIC) else {
        check_data(&payload, limit)?;
        return Ok(Message::Ephemeral(payload));
    };
    let rest = rest.strip_prefix(VERSION_1).ok_or(FrameError::Version)?;
    let (header, rest) =
        line(rest, MAX_HEADER_BYTES).ok_or(FrameError::Malformed("header line"))?;
    let (event_type, data) =
        line(rest, MAX_NAME_CHARS * 4).ok_or(FrameError::Malformed("type line"))?;
    check_data(data, limit)?;
    let data = payload.slice_ref(data);
    let mut event = read_header(header, data)?;
    event.event_type = read_type(event_type)?;
    Ok(Message::Event(event))
}

impl Event {
    /// The pub/sub frame, byte for byte as `publish.lua` makes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = format!("sluice/1 {} {}", self.position, self.prev);
        let traceparent = self.traceparent.map(|context| context.to_string());
        for (name, value) in [
            (" i=", &self.event_id),
            (" tp=", &traceparent.map(Arc::from)),
        ] {
            if let Some(value) = value {
                frame.push_str(name);
                frame.extend(utf8_percent_encode(value, ESCAPED));
            }
        }
        frame.push('\n');
        frame.push_str(self.event_type.as_deref().unwrap_or_default());
        frame.push('\n');
        let mut frame = frame.into_bytes();
        frame.extend_from_slice(&self.data);
        frame
    }

    /// The event that a stream entry holds: its id and its fields `p`, `t`, `d` and, when present, `e`, `i`, `tp`. Unknown
    /// fields are ignored. The size was bounded when the event was published.
    ///
    /// # Errors
    /// A field that is missing, repeated or malformed; an id of zero, which no event has; data that is not UTF-8.
    pub fn from_stream<K: AsRef<[u8]>, V: AsRef<[u8]> + Into<Bytes>>(
        id: StreamId,
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, FrameError> {
        let [
            mut prev,
            mut tag,
            mut data,
            mut event_type,
            mut event_id,
            mut traceparent,
        ] = [const { None }; 6];
        for (name, value) in fields {
            let slot = match name.as_ref() {
                b"p" => &mut prev,
                b"t" => &mut tag,
                b"d" => &mut data,
                b"e" => &mut event_type,
                b"i" => &mut event_id,
                b"tp" => &mut traceparent,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(FrameError::Malformed("repeated field"));
            }
        }
        let prev = prev.and_then(|v| ascii(v.as_ref())?.parse().ok());
        let tag = tag.and_then(|v| {
            format!("0-0.{}", ascii(v.as_ref())?)
                .parse::<Position>()
                .ok()
        });
        let data = data.ok_or(FrameError::Malformed("field d"))?;
        check_data(data.as_ref(), usize::MAX)?;
        Ok(Self {
            position: event_position(id, tag.ok_or(FrameError::Malformed("field t"))?.tag())?,
            prev: prev.ok_or(FrameError::Malformed("field p"))?,
            event_type: event_type.map_or(Ok(None), |v| read_type(v.as_ref()))?,
            event_id: event_id.map(|v| read_event_id(v.as_ref())).transpose()?,
            traceparent: traceparent
                .map(|v| read_traceparent(v.as_ref()))
                .transpose()?
                .flatten(),
            data: data.into(),
        })
    }
}

/// The rule for event types at publish, the same as in `publish.lua`: 1 to 128 characters, none of them a control
/// character (C0, DEL, C1); not `sluice.*`, and not `open` or `error`, which would hit EventSource's own handlers.
///
/// # Errors
/// [`Refusal::BadEventType`].
pub fn check_event_type(event_type: &str) -> Result<(), Refusal> {
    let is_reserved = event_type.starts_with("sluice.") || matches!(event_type, "open" | "error");
    if is_printable_name(event_type) && !is_reserved {
        Ok(())
    } else {
        Err(Refusal::BadEventType)
    }
}

/// The rule for event ids at publish, the same as in `publish.lua`: 1 to 128 characters, none of them a control character.
///
/// # Errors
/// [`Refusal::BadEventId`].
pub fn check_event_id(event_id: &str) -> Result<(), Refusal> {
    if is_printable_name(event_id) {
        Ok(())
    } else {
        Err(Refusal::BadEventId)
    }
}

/// Whether a text has the shape of a version-00 `traceparent` (W3C Trace Context, section 3.2): `vv-32-16-ff` in
/// lower-case hexadecimal digits. The script takes no other; whether it is valid, too, is [`TraceContext::parse`]'s.
pub fn is_traceparent(text: &str) -> bool {
    let widths = text.split('-').map(str::len);
    widths.eq([2, 32, 16, 2])
        && text
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn is_printable_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_CHARS * 4
        && name.chars().count() <= MAX_NAME_CHARS
        && !name.chars().any(char::is_control)
}

fn check_data(data: &[u8], limit: usize) -> Result<(), FrameError> {
    if data.len() > limit {
        return Err(FrameError::TooLarge {
            bytes: data.len(),
            limit,
        });
    }
    std::str::from_utf8(data)
        .map(|_| ())
        .map_err(|_| FrameError::NotUtf8)
}

/// The first line, if it ends within `max` bytes, and what follows its LF.
fn line(bytes: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes.get(..=max).unwrap_or(bytes))?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Reads `<position> <prev>[ name=value]…`; unknown names are ignored, so that later versions can add some.
fn read_header(header: &[u8], data: Bytes) -> Result<Event, FrameError> {
    let mut words = ascii(header)
        .ok_or(FrameError::Malformed("header line"))?
        .split(' ');
    let mut position = || words.next()?.parse::<Position>().ok();
    let at = position().ok_or(FrameError::Malformed("position"))?;
    let prev = position().ok_or(FrameError::Malformed("prev"))?;
    let position = event_position(at.id(), at.tag())?;
    let mut event = Event {
        position,
        prev,
        event_type: None,
        event_id: None,
        traceparent: None,
        data,
    };
    let mut traceparent = None;
    for word in words {
        let (name, value) = word
            .split_once('=')
            .ok_or(FrameError::Malformed("name=value pair"))?;
        let value: std::borrow::Cow<'_, [u8]> = percent_decode(value.as_bytes()).into();
        let repeated = match name {
            "i" => event.event_id.replace(read_event_id(&value)?).is_some(),
            "tp" => traceparent.replace(read_traceparent(&value)?).is_some(),
            _ => false,
        };
        if repeated {
            return Err(FrameError::Malformed("repeated name"));
        }
    }
    event.traceparent = traceparent.flatten();
    Ok(event)
}

fn event_position(id: StreamId, tag: u32) -> Result<Position, FrameError> {
    if id == StreamId::ZERO {
        Err(FrameError::Malformed("zero id"))
    } else {
        Ok(Position::new(id, tag))
    }
}

fn read_type(value: &[u8]) -> Result<Option<Arc<str>>, FrameError> {
    if value.is_empty() {
        return Ok(None);
    }
    let event_type = std::str::from_utf8(value).map_err(|_| FrameError::Malformed("event type"))?;
    check_event_type(event_type).map_err(|_| FrameError::Malformed("event type"))?;
    Ok(Some(event_type.into()))
}

fn read_event_id(value: &[u8]) -> Result<Arc<str>, FrameError> {
    let event_id = std::str::from_utf8(value).map_err(|_| FrameError::Malformed("event id"))?;
    check_event_id(event_id).map_err(|_| FrameError::Malformed("event id"))?;
    Ok(event_id.into())
}

/// Nothing where it has the shape of one and is not valid, such as one of zeros: the event is as good without.
fn read_traceparent(value: &[u8]) -> Result<Option<TraceContext>, FrameError> {
    let text = ascii(value).filter(|text| is_traceparent(text));
    text.map(TraceContext::parse)
        .ok_or(FrameError::Malformed("traceparent"))
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn event() -> Event {
        Event {
            position: Position::new(
                StreamId {
                    ms: 1_763_676_000_123,
                    seq: 0,
                },
                0x9f2c_41aa,
            ),
            prev: Position::genesis(7),
            event_type: Some("order.created".into()),
            event_id: Some("a b/%é".into()),
            traceparent: TraceContext::parse(TRACEPARENT),
            data: Bytes::from_static("{\"id\":1}\nđơn hàng".as_bytes()),
        }
    }

    fn check(payload: &str, expected: FrameError) {
        assert_eq!(
            decode(Bytes::copy_from_slice(payload.as_bytes()), 8),
            Err(expected),
            "{payload:?}"
        );
    }

    #[test]
    fn the_frame_is_that_of_the_contract() {
        let frame = event().encode();
        let expected = format!(
            "sluice/1 1763676000123-0.9f2c41aa 0-0.00000007 i=a%20b%2F%25%C3%A9 tp={TRACEPARENT}\norder.created\n{{\"id\":1}}\nđơn hàng"
        );
        assert_eq!(String::from_utf8(frame.clone()).expect("UTF-8"), expected);
        assert_eq!(decode(frame.into(), 1024), Ok(Message::Event(event())));
    }

    #[test]
    fn a_bare_event_has_an_empty_type_line_and_unknown_names_are_ignored() {
        let frame = "sluice/1 1-0.0000000a 0-0.00000007 x=1 y=\n\nhi";
        let Ok(Message::Event(event)) = decode(Bytes::from(frame), 8) else {
            panic!("an event")
        };
        assert_eq!(
            (event.event_type, event.event_id, &event.data[..]),
            (None, None, &b"hi"[..])
        );
    }

    #[test]
    fn what_starts_with_the_magic_is_an_event_or_an_error() {
        check("sluice/", FrameError::Version);
        check(
            "sluice/2 1-0.0000000a 0-0.00000007\n\nhi",
            FrameError::Version,
        );
        check(
            "sluice/11 1-0.0000000a 0-0.00000007\n\nhi",
            FrameError::Version,
        );
        check("sluice/1 ", FrameError::Malformed("header line"));
        check(
            "sluice/1 1-0.0000000a 0-0.00000007\nhi",
            FrameError::Malformed("type line"),
        );
        check(
            "sluice/1 1-0 0-0.00000007\n\nhi",
            FrameError::Malformed("position"),
        );
        check("sluice/1 1-0.0000000a\n\nhi", FrameError::Malformed("prev"));
        check(
            "sluice/1 0-0.0000000a 0-0.00000007\n\nhi",
            FrameError::Malformed("zero id"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007 \n\nhi",
            FrameError::Malformed("name=value pair"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007 i=%0A\n\nhi",
            FrameError::Malformed("event id"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007 i=%ff\n\nhi",
            FrameError::Malformed("event id"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007 i=a i=a\n\nhi",
            FrameError::Malformed("repeated name"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007 tp=1\n\nhi",
            FrameError::Malformed("traceparent"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007\nsluice.close\nhi",
            FrameError::Malformed("event type"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007\na\rb\nhi",
            FrameError::Malformed("event type"),
        );
        check(
            "sluice/1 1-0.0000000a 0-0.00000007\n\n123456789",
            FrameError::TooLarge { bytes: 9, limit: 8 },
        );
        let long = format!(
            "sluice/1 1-0.0000000a 0-0.00000007 x={}\n\nhi",
            "y".repeat(MAX_HEADER_BYTES)
        );
        check(&long, FrameError::Malformed("header line"));
    }

    #[test]
    fn anything_else_is_ephemeral_if_it_is_text_within_the_limit() {
        assert_eq!(
            decode(Bytes::from("sluice"), 8),
            Ok(Message::Ephemeral(Bytes::from("sluice")))
        );
        assert_eq!(
            decode(Bytes::new(), 8),
            Ok(Message::Ephemeral(Bytes::new()))
        );
        assert_eq!(
            decode(Bytes::from_static(b"\xff"), 8),
            Err(FrameError::NotUtf8)
        );
        check("123456789", FrameError::TooLarge { bytes: 9, limit: 8 });
    }

    #[test]
    fn stream_entries_read_back_and_bad_ones_are_named() {
        let id = StreamId { ms: 5, seq: 6 };
        let read = |fields: &[(&'static str, &'static [u8])]| {
            Event::from_stream(
                id,
                fields
                    .iter()
                    .map(|(name, value)| (*name, Bytes::from_static(value))),
            )
        };
        let event = read(&[
            ("p", b"0-0.00000007"),
            ("t", b"0000000a"),
            ("d", b"x"),
            ("e", b"y"),
            ("new", b"z"),
        ])
        .expect("valid");
        assert_eq!(
            (event.position, event.prev),
            (Position::new(id, 10), Position::genesis(7))
        );
        assert_eq!(
            (event.event_type.as_deref(), &event.data[..]),
            (Some("y"), &b"x"[..])
        );
        let missing = |fields| read(fields).expect_err("a bad entry");
        assert_eq!(
            missing(&[("t", b"0000000a"), ("d", b"x")]),
            FrameError::Malformed("field p")
        );
        assert_eq!(
            missing(&[("p", b"0-0.00000007"), ("t", b"A"), ("d", b"x")]),
            FrameError::Malformed("field t")
        );
        assert_eq!(
            missing(&[("p", b"0-0.00000007"), ("t", b"0000000a")]),
            FrameError::Malformed("field d")
        );
        assert_eq!(
            missing(&[("d", b"x"), ("d", b"x")]),
            FrameError::Malformed("repeated field")
        );
        assert_eq!(
            missing(&[("p", b"0-0.00000007"), ("t", b"0000000a"), ("d", b"\xff")]),
            FrameError::NotUtf8
        );
    }

    #[test]
    fn event_types_follow_the_rule() {
        for good in [
            "a",
            "order.created",
            "đơn hàng",
            "message",
            "sluice",
            "opened",
            " ",
            &"é".repeat(128),
        ] {
            assert_eq!(check_event_type(good), Ok(()), "{good:?}");
        }
        for bad in [
            "",
            "open",
            "error",
            "sluice.open",
            "sluice.",
            "a\nb",
            "a\rb",
            "\0",
            "\u{7f}",
            "\u{85}",
            &"é".repeat(129),
        ] {
            assert_eq!(check_event_type(bad), Err(Refusal::BadEventType), "{bad:?}");
        }
        assert_eq!(check_event_id("open"), Ok(()));
        assert_eq!(check_event_id("a\nb"), Err(Refusal::BadEventId));
    }
}

//! What `Last-Event-ID` holds: where one stream stands in each of its channels. Refuses anything it did not write
//! itself; never panics on what a client sends.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, BytesMut};

use crate::{
    channel::Channel,
    position::{Position, PositionError},
};

/// Version mark of a cursor over several channels. `~` can neither begin a position nor need escaping in a URL.
const MANY_V1: &str = "1~";
const ENTRY_BYTES: usize = 4 + 12;

/// A parsed cursor.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Cursor {
    /// The readable position of a one-channel stream. Sent with several channels, it belongs to the one whose head or
    /// stream holds exactly it.
    Bare(Position),
    /// One position per channel.
    Many(Places),
}

/// Positions keyed by [`Channel::short_hash`]; channels may be added, removed and reordered between reconnects.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Places(Vec<(u32, Position)>);

/// Why a text is not a cursor.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
pub enum CursorError {
    #[error("a cursor has at most {max} bytes, this one has {bytes}", max = Cursor::MAX_TEXT_BYTES)]
    TooLong { bytes: usize },
    #[error("the cursor is neither a position nor starts with `1~`")]
    NotAPosition(#[from] PositionError),
    #[error("the part of the cursor after `1~` is not unpadded base64url of 16-byte entries")]
    BadEntries,
}

impl Cursor {
    /// Most channels in one cursor, and so on one connection.
    pub const MAX_CHANNELS: usize = 32;
    /// The longest cursor, in bytes of text.
    pub const MAX_TEXT_BYTES: usize =
        MANY_V1.len() + (Self::MAX_CHANNELS * ENTRY_BYTES * 4).div_ceil(3);

    /// Parses the text of `Last-Event-ID`.
    ///
    /// # Errors
    /// [`CursorError`] for anything that [`write_bare`] or [`write_many`] cannot have written.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        if text.len() > Self::MAX_TEXT_BYTES {
            return Err(CursorError::TooLong { bytes: text.len() });
        }
        let Some(encoded) = text.strip_prefix(MANY_V1) else {
            return Ok(Self::Bare(text.parse()?));
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| CursorError::BadEntries)?;
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(CursorError::BadEntries);
        }
        Ok(Self::Many(Places(entries.iter().map(read_entry).collect())))
    }
}

impl Places {
    /// This channel's position, if the cursor has one. Two channels whose hashes collide read the same place; the chain
    /// check turns that into a reset, never into a silent gap.
    pub fn get(&self, channel: &Channel) -> Option<Position> {
        let hash = channel.short_hash();
        self.0
            .iter()
            .find(|(key, _)| *key == hash)
            .map(|(_, position)| *position)
    }

    /// How many places the cursor holds, at most [`Cursor::MAX_CHANNELS`].
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends the cursor of a one-channel stream: its position.
pub fn write_bare(position: Position, out: &mut BytesMut) {
    let id = position.id();
    out.reserve(Position::MAX_TEXT_BYTES);
    out.put_slice(itoa::Buffer::new().format(id.ms).as_bytes());
    out.put_u8(b'-');
    out.put_slice(itoa::Buffer::new().format(id.seq).as_bytes());
    out.put_u8(b'.');
    for shift in (0..8).rev() {
        out.put_u8(b"0123456789abcdef"[(position.tag() >> (shift * 4)) as usize & 0xf]);
    }
}

/// Appends the cursor of a stream over several channels from pairs of [`Channel::short_hash`] and position. Entries
/// beyond [`Cursor::MAX_CHANNELS`] are left out. The text has neither CR, LF nor NUL and is safe in headers and URLs.
pub fn write_many(entries: impl Iterator<Item = (u32, Position)>, out: &mut BytesMut) {
    let mut raw = [0_u8; Cursor::MAX_CHANNELS * ENTRY_BYTES];
    let mut filled = 0;
    for ((hash, position), entry) in entries.zip(raw.as_chunks_mut::<ENTRY_BYTES>().0) {
        entry[..4].copy_from_slice(&hash.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_bytes());
        filled += ENTRY_BYTES;
    }
    let mut text = [0_u8; Cursor::MAX_TEXT_BYTES];
    // The buffer fits the most entries there can be, so this cannot fail; were it to, the cursor would hold no place.
    let written = URL_SAFE_NO_PAD
        .encode_slice(&raw[..filled], &mut text)
        .unwrap_or(0);
    out.reserve(MANY_V1.len() + written);
    out.put_slice(MANY_V1.as_bytes());
    out.put_slice(&text[..written]);
}

fn read_entry(entry: &[u8; ENTRY_BYTES]) -> (u32, Position) {
    let [h0, h1, h2, h3, position @ ..] = *entry;
    (
        u32::from_be_bytes([h0, h1, h2, h3]),
        Position::from_bytes(position),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::StreamId;

    fn position(ms: u64) -> Position {
        Position::new(StreamId { ms, seq: 3 }, 0x0000_beef)
    }

    #[test]
    fn a_bare_cursor_is_the_text_of_the_position() {
        let mut out = BytesMut::new();
        write_bare(position(1_763_676_000_123), &mut out);
        assert_eq!(out, position(1_763_676_000_123).to_string().as_bytes());
        assert_eq!(
            Cursor::parse("1763676000123-3.0000beef"),
            Ok(Cursor::Bare(position(1_763_676_000_123)))
        );
    }

    #[test]
    fn the_longest_cursor_round_trips_and_one_byte_more_is_refused() {
        let entries: Vec<_> = (0..40).map(|n| (n, position(u64::from(n)))).collect();
        let mut out = BytesMut::new();
        write_many(entries.iter().copied(), &mut out);
        assert_eq!(out.len(), Cursor::MAX_TEXT_BYTES);
        let mut text = String::from_utf8(out.to_vec()).expect("a cursor is ASCII");
        assert_eq!(
            Cursor::parse(&text),
            Ok(Cursor::Many(Places(entries[..32].to_vec())))
        );
        text.push('A');
        assert_eq!(
            Cursor::parse(&text),
            Err(CursorError::TooLong {
                bytes: Cursor::MAX_TEXT_BYTES + 1
            })
        );
    }

    #[test]
    fn a_cursor_of_no_channels_is_empty() {
        let mut out = BytesMut::new();
        write_many(std::iter::empty(), &mut out);
        assert_eq!(&out[..], b"1~");
        assert_eq!(Cursor::parse("1~"), Ok(Cursor::Many(Places::default())));
    }

    #[test]
    fn what_was_not_written_here_is_refused() {
        for bad in [
            "1~A",
            "1~AAAA",
            "1~AAAAAAAAAAAAAAAAAAAAAA==",
            "1~AAAAAAAAAAAAAAAAAAAAAB",
            "1~++++",
        ] {
            assert_eq!(Cursor::parse(bad), Err(CursorError::BadEntries), "{bad}");
        }
        for bad in ["", "2~AAAA", "x", "\0", "1"] {
            assert_eq!(
                Cursor::parse(bad),
                Err(CursorError::NotAPosition(PositionError)),
                "{bad}"
            );
        }
    }
}

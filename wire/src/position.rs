//! Positions in a channel's chain. Stream ids have an order; positions have none on purpose: continuity is proved by
//! equality, and a failover can reuse or rewind ids.

use std::{fmt, str::FromStr};

/// A Redis stream id, `<ms>-<seq>`, within Sluice's bounds.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch by the clock of Redis, at most [`StreamId::MAX_MS`].
    pub ms: u64,
    pub seq: u16,
}

impl StreamId {
    /// The greatest `ms`: 48 bits, some 8,900 years.
    pub const MAX_MS: u64 = (1 << 48) - 1;
    /// `0-0`, which no event has: the id of every genesis.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The id of the event that follows this one when Redis's clock shows `now_ms`: ids never go back, whatever the
    /// clock does, and `seq` carries into `ms` past 65,535. `None` when the ids are used up.
    pub const fn next(self, now_ms: u64) -> Option<Self> {
        let next = if now_ms > self.ms {
            Self { ms: now_ms, seq: 0 }
        } else if self.seq < u16::MAX {
            Self {
                ms: self.ms,
                seq: self.seq + 1,
            }
        } else {
            Self {
                ms: self.ms + 1,
                seq: 0,
            }
        };
        if next.ms <= Self::MAX_MS {
            Some(next)
        } else {
            None
        }
    }
}

/// Where a channel's chain stands after an event: its stream id and a tag of 32 bits that tells timelines apart.
/// Written `<ms>-<seq>.<tag>`, as in `1763676000123-0.9f2c41aa`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Position {
    id: StreamId,
    tag: u32,
}

/// A text that is not a stream id or position in its one canonical form.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
#[error("not a position: it has the form <ms>-<seq>.<tag>, as in 1763676000123-0.9f2c41aa")]
pub struct PositionError;

impl Position {
    /// The longest text of a position, in bytes.
    pub const MAX_TEXT_BYTES: usize = 15 + 1 + 5 + 1 + 8;

    /// A position; an `ms` beyond [`StreamId::MAX_MS`] is cut to it.
    pub const fn new(id: StreamId, tag: u32) -> Self {
        let ms = if id.ms > StreamId::MAX_MS {
            StreamId::MAX_MS
        } else {
            id.ms
        };
        Self {
            id: StreamId { ms, seq: id.seq },
            tag,
        }
    }

    /// The start of a chain, `0-0.<nonce>`: what a channel's first event has as its `prev`.
    pub const fn genesis(nonce: u32) -> Self {
        Self {
            id: StreamId::ZERO,
            tag: nonce,
        }
    }

    pub const fn id(self) -> StreamId {
        self.id
    }

    pub const fn tag(self) -> u32 {
        self.tag
    }

    pub const fn is_genesis(self) -> bool {
        self.id.ms == 0 && self.id.seq == 0
    }

    /// Big-endian: 6 bytes of `ms`, 2 of `seq`, 4 of tag.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..6].copy_from_slice(&self.id.ms.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&self.id.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.tag.to_be_bytes());
        bytes
    }

    /// The inverse of [`Position::to_bytes`]; every 12 bytes are a position.
    pub const fn from_bytes(b: [u8; 12]) -> Self {
        Self {
            id: StreamId {
                ms: u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]]),
                seq: u16::from_be_bytes([b[6], b[7]]),
            },
            tag: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.id, self.tag)
    }
}

/// Canonical form only: no sign, no leading zeros, within bounds.
impl FromStr for StreamId {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (ms, seq) = text.split_once('-').ok_or(PositionError)?;
        let ms = decimal(ms, Self::MAX_MS)?;
        let seq = decimal(seq, u64::from(u16::MAX))?;
        Ok(Self {
            ms,
            seq: u16::try_from(seq).map_err(|_| PositionError)?,
        })
    }
}

/// Canonical form only: as for [`StreamId`], and the tag is exactly 8 lower-case hexadecimal digits.
impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (id, tag) = text.split_once('.').ok_or(PositionError)?;
        Ok(Self {
            id: id.parse()?,
            tag: parse_tag(tag)?,
        })
    }
}

/// A tag as it is written: exactly 8 lower-case hexadecimal digits.
fn parse_tag(text: &str) -> Result<u32, PositionError> {
    let is_canonical =
        text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_canonical {
        return Err(PositionError);
    }
    u32::from_str_radix(text, 16).map_err(|_| PositionError)
}

fn decimal(text: &str, max: u64) -> Result<u64, PositionError> {
    let is_canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !is_canonical {
        return Err(PositionError);
    }
    text.parse().ok().filter(|n| *n <= max).ok_or(PositionError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_only() {
        let position = Position::new(
            StreamId {
                ms: 1_763_676_000_123,
                seq: 0,
            },
            0x9f2c_41aa,
        );
        assert_eq!("1763676000123-0.9f2c41aa".parse(), Ok(position));
        assert_eq!(position.to_string(), "1763676000123-0.9f2c41aa");
        assert_eq!("0-0.00000000".parse(), Ok(Position::genesis(0)));
        assert_eq!(
            "281474976710655-65535.ffffffff".parse(),
            Ok(Position::new(
                StreamId {
                    ms: StreamId::MAX_MS,
                    seq: u16::MAX
                },
                u32::MAX
            ))
        );
        for bad in [
            "",
            "1-0",
            "1-0.",
            "1-0.9f2c41a",
            "1-0.9F2C41AA",
            "1-0.9f2c41aa ",
            " 1-0.9f2c41aa",
            "+1-0.9f2c41aa",
            "01-0.9f2c41aa",
            "1-00.9f2c41aa",
            "1-65536.9f2c41aa",
            "281474976710656-0.9f2c41aa",
            "-0.9f2c41aa",
            "1-.9f2c41aa",
            "1-0.+f2c41aa",
            "99999999999999999999999-0.9f2c41aa",
            "1-0-0.9f2c41aa",
            "١-0.9f2c41aa",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad:?}");
        }
    }

    #[test]
    fn ids_never_go_back_and_carry() {
        let id = |ms, seq| StreamId { ms, seq };
        assert_eq!(id(5, 7).next(6), Some(id(6, 0)));
        assert_eq!(id(5, 7).next(5), Some(id(5, 8)));
        assert_eq!(id(5, 7).next(1), Some(id(5, 8)), "clock set back");
        assert_eq!(id(5, 65_535).next(5), Some(id(6, 0)), "carry");
        assert_eq!(id(StreamId::MAX_MS, 65_535).next(5), None, "used up");
        assert_eq!(id(5, 0).next(u64::MAX), None, "a clock beyond 48 bits");
    }

    #[test]
    fn bytes_are_big_endian_and_an_ms_too_great_is_cut() {
        let position = Position::new(
            StreamId {
                ms: 0x0102_0304_0506,
                seq: 0x0708,
            },
            0x090a_0b0c,
        );
        assert_eq!(position.to_bytes(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(Position::from_bytes(position.to_bytes()), position);
        assert_eq!(
            Position::new(
                StreamId {
                    ms: u64::MAX,
                    seq: 0
                },
                0
            )
            .id()
            .ms,
            StreamId::MAX_MS
        );
    }
}

//! Channel names: parsed once, bounded, cheap to clone. Refuses anything that could not stand in a Redis key, a URL
//! path or a log line as it is.

use std::{fmt, str::FromStr, sync::Arc};

/// A channel's name: `[A-Za-z0-9_.:-]{1,128}`, segments separated by `.`, no segment empty.
///
/// A clone is one reference count.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Channel(Arc<str>);

/// Why a text is not a channel name. Offsets are in bytes from the start of the name.
#[derive(Clone, Copy, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("a channel name must not be empty")]
    Empty,
    #[error("a channel name has at most {max} bytes, this one has {bytes}", max = Channel::MAX_BYTES)]
    TooLong { bytes: usize },
    #[error("{character:?} at byte {at} is not allowed in a channel name; use A-Z a-z 0-9 _ . : -")]
    BadCharacter { character: char, at: usize },
    #[error(
        "empty segment at byte {at} of the channel name; write exactly one `.` between segments and none at the ends"
    )]
    EmptySegment { at: usize },
}

impl Channel {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Parses a name. Reserved names (see [`Channel::is_reserved`]) parse; whether a caller may use them is not the
    /// grammar's question.
    ///
    /// # Errors
    /// [`ChannelError`] says what is wrong and at which byte.
    pub fn parse(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(ChannelError::TooLong { bytes: name.len() });
        }
        let mut segment_start = 0;
        for (at, character) in name.char_indices() {
            match character {
                '.' if at == segment_start => return Err(ChannelError::EmptySegment { at }),
                '.' => segment_start = at + 1,
                'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | ':' | '-' => {}
                _ => return Err(ChannelError::BadCharacter { character, at }),
            }
        }
        if segment_start == name.len() {
            return Err(ChannelError::EmptySegment { at: segment_start });
        }
        Ok(Self(name.into()))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is Sluice's own: it starts with `_`.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('_')
    }

    /// FNV-1a (32 bits) of the name: the key of this channel's entry in a cursor over several channels. It must never
    /// change, since browsers hold it.
    pub fn short_hash(&self) -> u32 {
        self.0.bytes().fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    fn from_str(name: &str) -> Result<Self, ChannelError> {
        Self::parse(name)
    }
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_grammar_parse() {
        for name in [
            "orders",
            "a",
            "user.42",
            "a:b-c_d.E",
            "_probe.x",
            &"x".repeat(128),
        ] {
            assert_eq!(
                Channel::parse(name).map(|c| c.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        let check =
            |name: &str, expected| assert_eq!(Channel::parse(name), Err(expected), "{name:?}");
        check("", ChannelError::Empty);
        check(&"x".repeat(129), ChannelError::TooLong { bytes: 129 });
        check(
            "a b",
            ChannelError::BadCharacter {
                character: ' ',
                at: 1,
            },
        );
        check(
            "đơn",
            ChannelError::BadCharacter {
                character: 'đ',
                at: 0,
            },
        );
        check(
            "a{b}",
            ChannelError::BadCharacter {
                character: '{',
                at: 1,
            },
        );
        check(
            "a\n",
            ChannelError::BadCharacter {
                character: '\n',
                at: 1,
            },
        );
        check(".a", ChannelError::EmptySegment { at: 0 });
        check("a..b", ChannelError::EmptySegment { at: 2 });
        check("a.", ChannelError::EmptySegment { at: 2 });
        check(".", ChannelError::EmptySegment { at: 0 });
    }

    #[test]
    fn short_hash_is_fnv_1a() {
        // Published test vectors of FNV-1a, 32 bits.
        assert_eq!(
            Channel::parse("a").expect("valid").short_hash(),
            0xe40c_292c
        );
        assert_eq!(
            Channel::parse("foobar").expect("valid").short_hash(),
            0xbf9c_f968
        );
    }
}

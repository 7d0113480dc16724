//! The one look at a channel that is whole: head and entries of the same moment, by a script that writes nothing. Redis
//! runs it even when its memory is full.

use crate::{channel::Channel, keys::Keys, position::StreamId};

/// The command that runs the script. It takes the text each time, which is short, so that no reply is ever `NOSCRIPT`.
pub const COMMAND: &str = "EVAL_RO";

/// The script's text. It replies the head's value or nil, then the entries, then the oldest entry if that was asked for.
pub const SCRIPT: &str = include_str!("look.lua");

/// Which entries a look brings, in which order.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Entries {
    command: &'static str,
    from: String,
    to: String,
    count: usize,
}

impl Entries {
    /// None of them: a look at the head alone.
    pub fn none() -> Self {
        Self::ascending("+".to_owned(), "-".to_owned(), 1)
    }

    /// The one with this id.
    pub fn at(id: StreamId) -> Self {
        Self::ascending(id.to_string(), id.to_string(), 1)
    }

    /// The oldest of those with this id or a greater one.
    pub fn from(id: StreamId, count: usize) -> Self {
        Self::ascending(id.to_string(), "+".to_owned(), count)
    }

    /// The oldest of those with a greater id.
    pub fn after(id: StreamId, count: usize) -> Self {
        Self::ascending(format!("({id}"), "+".to_owned(), count)
    }

    /// The newest ones, the newest first.
    pub fn newest(count: usize) -> Self {
        Self::descending("+".to_owned(), count)
    }

    /// The newest of those with a smaller id, the newest first.
    pub fn before(id: StreamId, count: usize) -> Self {
        Self::descending(format!("({id}"), count)
    }

    const fn ascending(from: String, to: String, count: usize) -> Self {
        Self {
            command: "XRANGE",
            from,
            to,
            count,
        }
    }

    fn descending(from: String, count: usize) -> Self {
        Self {
            command: "XREVRANGE",
            from,
            to: "-".to_owned(),
            count,
        }
    }
}

/// What follows [`COMMAND`]: the text, the keys and the arguments. `oldest` asks for the oldest entry too.
pub fn words(keys: &Keys, channel: &Channel, entries: Entries, oldest: bool) -> Vec<String> {
    let mut words = vec![
        SCRIPT.to_owned(),
        "2".to_owned(),
        keys.head(channel),
        keys.stream(channel),
        entries.command.to_owned(),
        entries.from,
        entries.to,
        entries.count.to_string(),
    ];
    words.extend(oldest.then(|| "oldest".to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_script() {
        let channel = Channel::parse("a").expect("valid");
        let id = StreamId { ms: 7, seq: 1 };
        let words =
            |entries, oldest| words(&Keys::default(), &channel, entries, oldest)[1..].join(" ");
        let keys = "2 sluice:{a}:m sluice:{a}:s";
        for (entries, expected) in [
            (Entries::none(), "XRANGE + - 1"),
            (Entries::at(id), "XRANGE 7-1 7-1 1"),
            (Entries::from(id, 5), "XRANGE 7-1 + 5"),
            (Entries::after(id, 5), "XRANGE (7-1 + 5"),
            (Entries::newest(5), "XREVRANGE + - 5"),
            (Entries::before(id, 5), "XREVRANGE (7-1 - 5"),
        ] {
            assert_eq!(words(entries.clone(), false), format!("{keys} {expected}"));
            assert_eq!(words(entries, true), format!("{keys} {expected} oldest"));
        }
    }
}

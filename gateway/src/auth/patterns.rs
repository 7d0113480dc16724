//! The channels that a token names, as patterns.

use sluice_wire::channel::Channel;
use sluice_wire::pattern::Pattern;

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 128;

/// The channels that a token names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Every channel.
    pub fn all() -> Patterns {
        Patterns(vec![Pattern::all()])
    }

    /// Parses patterns; `{sub}` stands for the subject, as one literal segment.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(texts: &[String], subject: &str) -> Result<Patterns, &'static str> {
        if texts.len() > PATTERNS_MAX {
            return Err("the token has more than 128 channel patterns");
        }
        let pattern = |text: &String| Pattern::parse(text, Some(subject));
        let patterns: Result<Vec<_>, _> = texts.iter().map(pattern).collect();
        patterns.map(Patterns).map_err(|_| {
            "a channel pattern is malformed: segments are names, `*`, `{sub}`, or a last `**`, joined by dots"
        })
    }

    /// Parses the patterns of callers who have no subject.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open_to_all(texts: &[String]) -> Result<Patterns, &'static str> {
        if texts.len() > PATTERNS_MAX {
            return Err("has more than 128 channel patterns");
        }
        let patterns: Result<Vec<_>, _> = texts
            .iter()
            .map(|text| Pattern::parse(text, None))
            .collect();
        patterns.map(Patterns).map_err(|_| {
            "has a malformed pattern: segments are names, `*`, or a last `**`, joined by dots (`{sub}` needs a token)"
        })
    }

    /// Whether one of the patterns stands for the name.
    pub fn allow(&self, channel: &Channel) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.matches(channel.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Patterns, &'static str> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Patterns::parse(&texts, "42")
    }

    #[test]
    fn one_pattern_of_a_list_is_enough() {
        let patterns = parse(&["orders.*", "user.{sub}"]).expect("patterns");
        for (name, allowed) in [("orders.eu", true), ("user.42", true), ("user.43", false)] {
            let channel = Channel::parse(name).expect("a name");
            assert_eq!(patterns.allow(&channel), allowed, "{name}");
        }
    }

    #[test]
    fn a_bad_pattern_or_one_too_many_spoils_the_list() {
        assert!(parse(&["orders", "orders*"]).is_err());
        assert!(parse(&["a"; PATTERNS_MAX]).is_ok());
        assert!(parse(&["a"; PATTERNS_MAX + 1]).is_err());
    }
}

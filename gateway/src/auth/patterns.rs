//! The channels that a token names, as patterns.

use sluice_wire::channel::Channel;
use sluice_wire::pattern::Pattern;

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 128;

/// The channels that a token names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// As they were written.
    texts: Vec<String>,
}

impl Patterns {
    /// Every channel.
    pub fn all() -> Patterns {
        Patterns {
            patterns: vec![Pattern::all()],
            texts: vec!["**".to_owned()],
        }
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
        let patterns = patterns.map_err(|_| {
            "a channel pattern is malformed: segments are names, `*`, `{sub}`, or a last `**`, joined by dots"
        })?;
        Ok(Patterns {
            patterns,
            texts: texts.to_vec(),
        })
    }

    /// The patterns as they were written; with the same subject they [parse](Patterns::parse) to the same.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The channels that are named without a wildcard, each once and in order; reserved ones are nobody's.
    pub fn exact(&self) -> Vec<Channel> {
        let mut channels: Vec<Channel> = Vec::new();
        for channel in self.patterns.iter().filter_map(Pattern::exact) {
            if !channel.is_reserved() && !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        channels
    }

    /// Whether one of the patterns stands for the name.
    pub fn allow(&self, channel: &Channel) -> bool {
        self.patterns
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
    fn the_exact_ones_of_a_list_are_its_channels() {
        let texts = ["orders.*", "user.{sub}", "news", "news", "_ctl", "user.42"];
        let exact = parse(&texts).expect("patterns").exact();
        let names: Vec<&str> = exact.iter().map(Channel::as_str).collect();
        assert_eq!(names, ["user.42", "news"]);
        assert!(Patterns::all().exact().is_empty());
    }

    #[test]
    fn a_bad_pattern_or_one_too_many_spoils_the_list() {
        assert!(parse(&["orders", "orders*"]).is_err());
        assert!(parse(&["a"; PATTERNS_MAX]).is_ok());
        assert!(parse(&["a"; PATTERNS_MAX + 1]).is_err());
    }
}

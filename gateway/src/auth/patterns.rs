//! The channels that a token names, as patterns.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
        self.why(channel).is_some()
    }

    /// The first pattern that stands for the name.
    #[must_use]
    pub fn why(&self, channel: &Channel) -> Option<&Pattern> {
        self.0
            .iter()
            .find(|pattern| pattern.matches(channel.as_str()))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

/// A list of texts, the subject in its place. A pattern that stands for no channel at all is left out: its text could mean
/// more than it does.
impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let possible = self.0.iter().filter(|pattern| pattern.is_possible());
        serializer.collect_seq(possible.map(Pattern::to_string))
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
        use serde::de::Error as _;
        let texts = Vec::<String>::deserialize(deserializer)?;
        if texts.len() > PATTERNS_MAX {
            return Err(D::Error::custom("more than 128 channel patterns"));
        }
        let pattern = |text: &String| Pattern::parse(text, None);
        let patterns: Result<Vec<_>, _> = texts.iter().map(pattern).collect();
        patterns.map(Patterns).map_err(D::Error::custom)
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

    /// What crosses Redis allows exactly what the token did, whatever its subject is.
    #[test]
    fn patterns_cross_as_texts_and_never_widen() {
        let patterns = parse(&["orders.*", "user.{sub}", "public.**"]).expect("patterns");
        let text = serde_json::to_string(&patterns).expect("JSON");
        assert_eq!(text, r#"["orders.*","user.42","public.**"]"#);
        let back: Patterns = serde_json::from_str(&text).expect("reads back");
        assert_eq!(back, patterns);
        for subject in ["*", "**", "a.b"] {
            let texts = ["user.{sub}".to_owned(), "orders".to_owned()];
            let patterns = Patterns::parse(&texts, subject).expect("patterns");
            let text = serde_json::to_string(&patterns).expect("JSON");
            assert_eq!(text, r#"["orders"]"#, "{subject}");
        }
        for bad in [r#"["{sub}"]"#, r#"["a*"]"#, r#""**""#] {
            assert!(serde_json::from_str::<Patterns>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_pattern_or_one_too_many_spoils_the_list() {
        assert!(parse(&["orders", "orders*"]).is_err());
        assert!(parse(&["a"; PATTERNS_MAX]).is_ok());
        assert!(parse(&["a"; PATTERNS_MAX + 1]).is_err());
    }
}

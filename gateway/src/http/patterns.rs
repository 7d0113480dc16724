//! Channel patterns of a token, such as `orders.*`, `user.{sub}` or `public.**`. They match whole segments; what
//! would match part of one is refused, and a subject can never widen a pattern.

use sluice_wire::channel::Channel;

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 128;

/// The channels that a token names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns(Vec<Vec<Segment>>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    /// Exactly this segment. A subject with dots in it equals no segment.
    Literal(String),
    /// `*`: any one segment.
    One,
    /// `**`, only at the end: one or more segments.
    Rest,
}

impl Patterns {
    /// Every channel.
    pub fn all() -> Patterns {
        Patterns(vec![vec![Segment::Rest]])
    }

    /// Parses patterns; `{sub}` stands for the subject, as one literal segment.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(texts: &[String], subject: &str) -> Result<Patterns, &'static str> {
        if texts.len() > PATTERNS_MAX {
            return Err("the token has more than 128 channel patterns");
        }
        let patterns: Option<Vec<_>> = texts.iter().map(|text| pattern(text, subject)).collect();
        patterns.map(Patterns).ok_or(
            "a channel pattern is malformed: segments are names, `*`, `{sub}`, or a last `**`, joined by dots",
        )
    }

    /// Whether one of the patterns matches the whole name.
    pub fn allow(&self, channel: &Channel) -> bool {
        self.0
            .iter()
            .any(|pattern| matches(pattern, channel.as_str()))
    }
}

fn pattern(text: &str, subject: &str) -> Option<Vec<Segment>> {
    let parts: Vec<&str> = text.split('.').collect();
    let last = parts.len() - 1;
    let segment = |(index, part): (usize, &&str)| match *part {
        "*" => Some(Segment::One),
        "**" => (index == last).then_some(Segment::Rest),
        "{sub}" => Some(Segment::Literal(subject.to_owned())),
        // The channel grammar has neither `*` nor braces, so half a wildcard is refused here.
        name => Channel::parse(name)
            .is_ok()
            .then(|| Segment::Literal(name.to_owned())),
    };
    parts.iter().enumerate().map(segment).collect()
}

fn matches(pattern: &[Segment], channel: &str) -> bool {
    let mut names = channel.split('.');
    for segment in pattern {
        let Some(name) = names.next() else {
            return false;
        };
        match segment {
            Segment::Literal(literal) if literal == name => {}
            Segment::Literal(_) => return false,
            Segment::One => {}
            Segment::Rest => return true,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn allows(pattern: &str, subject: &str, name: &str) -> bool {
        let patterns = Patterns::parse(&[pattern.to_owned()], subject).expect("a pattern");
        patterns.allow(&Channel::parse(name).expect("a name"))
    }

    #[rstest]
    #[case("orders", "orders", true)]
    #[case("orders", "orders.eu", false)]
    #[case("orders.*", "orders.eu", true)]
    #[case("orders.*", "orders", false)]
    #[case("orders.*", "orders.eu.north", false)]
    #[case("orders.**", "orders.eu.north", true)]
    #[case("orders.**", "orders.eu", true)]
    #[case("orders.**", "orders", false)]
    #[case("*.eu", "orders.eu", true)]
    #[case("*.**", "orders", false)]
    #[case("*", "orders", true)]
    #[case("*", "orders.eu", false)]
    #[case("**", "orders.eu", true)]
    #[case("user.{sub}", "user.42", true)]
    #[case("user.{sub}.*", "user.42.inbox", true)]
    #[case("user.{sub}", "user.421", false)]
    fn patterns_match_whole_segments(
        #[case] pattern: &str,
        #[case] name: &str,
        #[case] allowed: bool,
    ) {
        assert_eq!(allows(pattern, "42", name), allowed);
    }

    /// `{sub}` is one segment, exactly the subject: wildcards and dots in it mean nothing.
    #[rstest]
    #[case("*")]
    #[case("**")]
    #[case("42.admin")]
    #[case("{sub}")]
    #[case("a b")]
    #[case("")]
    fn a_subject_never_widens_a_pattern(#[case] subject: &str) {
        for name in ["user.42", "user.42.admin", "user.admin", "user", "user.sub"] {
            assert!(
                !allows("user.{sub}", subject, name),
                "{subject} reads {name}"
            );
        }
    }

    #[rstest]
    #[case("")]
    #[case("orders*")]
    #[case("*orders")]
    #[case("a.**.b")]
    #[case("a..b")]
    #[case("user-{sub}")]
    #[case("{name}")]
    #[case("a.***")]
    fn half_wildcards_are_refused(#[case] pattern: &str) {
        assert!(Patterns::parse(&[pattern.to_owned()], "42").is_err());
    }
}

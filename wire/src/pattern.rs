//! Patterns of channel names, such as `orders.*`, `user.{sub}` or `public.**`: in tokens, and where channels are listed. They
//! stand for whole segments; what would stand for part of one is refused, and a subject can never widen a pattern.

use std::fmt;

use crate::channel::Channel;

/// One pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(Vec<Segment>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    /// Exactly this segment. A subject with dots in it equals no segment.
    Literal(String),
    /// `*`: any one segment.
    One,
    /// `**`, only at the end: one or more segments.
    Rest,
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("segments are names or `*`, the last may be `**`, joined by dots, such as 'orders.*'")]
pub struct PatternError;

impl Pattern {
    /// Every channel.
    pub fn all() -> Pattern {
        Pattern(vec![Segment::Rest])
    }

    /// Reads a pattern. With a subject, the segment `{sub}` stands for exactly that, whatever is in it.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str, subject: Option<&str>) -> Result<Pattern, PatternError> {
        let parts: Vec<&str> = text.split('.').collect();
        let last = parts.len() - 1;
        let segment = |(at, part): (usize, &&str)| match (*part, subject) {
            ("*", _) => Some(Segment::One),
            ("**", _) => (at == last).then_some(Segment::Rest),
            ("{sub}", Some(subject)) => Some(Segment::Literal(subject.to_owned())),
            // The channel grammar has neither `*` nor braces, so half a wildcard is refused here.
            (name, _) => Channel::parse(name)
                .is_ok()
                .then(|| Segment::Literal(name.to_owned())),
        };
        let segments: Option<Vec<_>> = parts.iter().enumerate().map(segment).collect();
        segments.map(Pattern).ok_or(PatternError)
    }

    /// Whether there can be a channel that it stands for: a subject may have what no name has.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.0.iter().all(|segment| match segment {
            Segment::Literal(literal) => !literal.contains('.') && Channel::parse(literal).is_ok(),
            Segment::One | Segment::Rest => true,
        })
    }

    /// Whether the pattern stands for the whole name.
    pub fn matches(&self, channel: &str) -> bool {
        let mut names = channel.split('.');
        for segment in &self.0 {
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
}

/// As it is written, the subject in its place. Only a pattern that [is possible](Pattern::is_possible) reads back as
/// itself: a subject such as `*` would become a wildcard.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            f.write_str(match segment {
                Segment::Literal(literal) => literal,
                Segment::One => "*",
                Segment::Rest => "**",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn matches(pattern: &str, subject: &str, name: &str) -> bool {
        let pattern = Pattern::parse(pattern, Some(subject)).expect("a pattern");
        pattern.matches(name)
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
    fn patterns_stand_for_whole_segments(
        #[case] pattern: &str,
        #[case] name: &str,
        #[case] stands: bool,
    ) {
        assert_eq!(matches(pattern, "42", name), stands);
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
                !matches("user.{sub}", subject, name),
                "{subject} reads {name}"
            );
        }
    }

    #[rstest]
    #[case("orders.*.eu", "orders.*.eu")]
    #[case("user.{sub}.**", "user.42.**")]
    #[case("**", "**")]
    fn a_pattern_reads_back_as_itself(#[case] text: &str, #[case] written: &str) {
        let pattern = Pattern::parse(text, Some("42")).expect("a pattern");
        assert!(pattern.is_possible());
        assert_eq!(pattern.to_string(), written);
        assert_eq!(Pattern::parse(written, None), Ok(pattern));
    }

    /// Written out, such a subject would mean more than it does.
    #[rstest]
    #[case("*")]
    #[case("**")]
    #[case("42.admin")]
    #[case("")]
    #[case("a b")]
    fn a_pattern_that_stands_for_no_channel_says_so(#[case] subject: &str) {
        let pattern = Pattern::parse("user.{sub}", Some(subject)).expect("a pattern");
        assert!(!pattern.is_possible(), "{subject}");
    }

    #[rstest]
    #[case("")]
    #[case("orders*")]
    #[case("*orders")]
    #[case("a.**.b")]
    #[case("a..b")]
    #[case("orders.")]
    #[case("user-{sub}")]
    #[case("{name}")]
    #[case("a.***")]
    fn half_wildcards_are_refused(#[case] pattern: &str) {
        assert_eq!(Pattern::parse(pattern, Some("42")), Err(PatternError));
        assert_eq!(Pattern::parse("user.{sub}", None), Err(PatternError));
    }
}

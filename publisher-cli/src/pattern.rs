//! Patterns of channel names, with the rules of a token's: `*` is any one segment, a last `**` one or more. No I/O.

use std::str::FromStr;

use sluice_wire::Channel;

/// A pattern such as `orders.*`, `user.**` or a plain name.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Segment>);

#[derive(Clone, Debug)]
enum Segment {
    Literal(String),
    One,
    /// Only at the end.
    Rest,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let parts: Vec<&str> = text.split('.').collect();
        let last = parts.len() - 1;
        let segment = |(at, part): (usize, &&str)| match *part {
            "*" => Some(Segment::One),
            "**" => (at == last).then_some(Segment::Rest),
            // The grammar of channels has no `*`: half a wildcard is refused here.
            name => Channel::parse(name)
                .is_ok()
                .then(|| Segment::Literal(name.to_owned())),
        };
        let segments: Option<Vec<_>> = parts.iter().enumerate().map(segment).collect();
        segments.map(Pattern).ok_or_else(|| {
            "segments are names or `*`, the last may be `**`, joined by dots, such as 'orders.*'".into()
        })
    }
}

impl Pattern {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn patterns_stand_for_whole_segments() {
        for (pattern, name, stands) in [
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.eu.north", false),
            ("orders.**", "orders.eu.north", true),
            ("orders.**", "orders", false),
            ("**", "orders", true),
            ("*.eu", "orders.eu", true),
            ("*.eu", "orders.us", false),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(name), stands, "{pattern} {name}");
        }
        for bad in ["", ".", "orders.", "order*", "**.eu", "a b", "{sub}"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}

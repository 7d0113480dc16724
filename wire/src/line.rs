//! One line of a batch: the object that `POST /v1/publish` takes and a CLI reads from standard input. A line of a history or of
//! an NDJSON stream is one too, so that what was read can be sent again as it is.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::position::Position;

/// What a line says, not yet judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    #[serde(borrow)]
    pub channel: Option<Cow<'a, str>>,
    pub r#type: Option<String>,
    pub event_id: Option<String>,
    /// W3C Trace Context; of no account where it is not valid.
    pub traceparent: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    /// Where the event was that this is a copy of: of no account.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    /// As `id`.
    #[serde(rename = "cursor")]
    _cursor: Option<IgnoredAny>,
}

impl<'a> Line<'a> {
    /// Whether `id` is what it may be: absent, null or a position. Whoever writes anything else means `event_id`.
    #[must_use]
    pub fn has_fit_id(&self) -> bool {
        self.id.is_none_or(|id| {
            serde_json::from_str::<String>(id.get()).is_ok_and(|id| id.parse::<Position>().is_ok())
        })
    }

    /// What is published: of a string its text; anything else as it is written, so that numbers of any size, the order of
    /// keys and the space between tokens survive.
    ///
    /// # Errors
    /// An escape in the string that stands for no character.
    pub fn data(&self) -> Result<Cow<'a, str>, serde_json::Error> {
        let text = self.data.get();
        if text.starts_with('"') {
            return serde_json::from_str(text).map(Cow::Owned);
        }
        Ok(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> String {
        let line = format!("{{\"data\":{json}}}");
        let line: Line<'_> = serde_json::from_str(&line).expect("a line");
        line.data().expect("characters").into_owned()
    }

    #[test]
    fn data_keeps_its_numbers_its_order_and_its_strings() {
        assert_eq!(data(r#""a\nb""#), "a\nb");
        assert_eq!(data("null"), "null");
        assert_eq!(
            data(r#"{ "z" : 123456789012345678901234567890 , "a" : [ 1.0 , "x \" y\\" , " " ] }"#),
            r#"{ "z" : 123456789012345678901234567890 , "a" : [ 1.0 , "x \" y\\" , " " ] }"#
        );
    }

    #[test]
    fn an_id_is_a_position_or_null() {
        for (id, fits) in [
            ("null", true),
            ("\"7-0.0000000a\"", true),
            ("\"ev-1\"", false),
            ("\"\"", false),
            ("7", false),
        ] {
            let line = format!("{{\"id\":{id},\"data\":1}}");
            let line: Line<'_> = serde_json::from_str(&line).expect("a line");
            assert_eq!(line.has_fit_id(), fits, "{id}");
        }
    }
}

//! JSON whose objects name each member once. RFC 7519, section 4 leaves the choice between refusing a repeated name and
//! taking the last; two readers that choose differently see two tokens in one, so a repeated name is refused.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A JSON value without repeated member names, at any depth.
pub(super) struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(Reader).map(Unique)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated member names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            out.push(item);
        }
        Ok(out.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            if out.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(r#"{"a":1,"a":2}"#)]
    #[case::same(r#"{"a":1,"a":1}"#)]
    #[case::escaped(r#"{"a":1,"\u0061":2}"#)]
    #[case::deep(r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#)]
    fn a_repeated_name_is_refused(#[case] text: &str) {
        assert!(serde_json::from_str::<Unique>(text).is_err(), "{text}");
    }

    #[test]
    fn any_other_json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,2.5,true,null,"x"],"b":{"a":{}},"A":""}"#;
        let Unique(read) = serde_json::from_str(text).expect("JSON");
        assert_eq!(
            read,
            serde_json::from_str::<Value>(text).expect("the same JSON")
        );
    }

    /// Nesting is bounded, so that no token can exhaust the stack.
    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(4_000) + &"]".repeat(4_000);
        assert!(serde_json::from_str::<Unique>(&deep).is_err());
    }
}

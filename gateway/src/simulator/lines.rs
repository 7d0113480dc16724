//! A reader of NDJSON, written apart from `wire`: lines to the blocks that an event stream would have shown, so that one
//! checker judges both. It refuses whatever a gateway has no reason to send.

use serde_json::Value;

use super::eventsource::{Block, Parser};
use crate::hub::frame::Format;

/// What takes a client's bytes apart.
pub enum Body {
    Events(Parser),
    Lines(Lines),
}

impl Body {
    /// At the beginning of a stream of this format.
    pub fn of(format: Format) -> Body {
        match format {
            Format::Plain | Format::Envelope => Body::Events(Parser::default()),
            Format::Ndjson => Body::Lines(Lines::default()),
        }
    }

    /// Takes some bytes and gives the blocks that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Block>, String> {
        match self {
            Body::Events(parser) => parser.feed(bytes),
            Body::Lines(lines) => lines.feed(bytes),
        }
    }
}

/// Reads lines in pieces of any size.
#[derive(Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Block>, String> {
        let mut blocks = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if !line.is_empty() {
                blocks.push(block(&line)?);
            }
        }
        Ok(blocks)
    }
}

/// An event's data is the whole line, in which the checker finds the envelope.
fn block(line: &[u8]) -> Result<Block, String> {
    let text = std::str::from_utf8(line).map_err(|_| "bytes that are not UTF-8")?;
    let object: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    let field = |name: &str| match &object[name] {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Null if object.get(name).is_some() => Ok(None),
        _ => Err(format!("`{name}` is missing or no text: {text}")),
    };
    for name in ["channel", "id", "event_id"] {
        field(name)?;
    }
    let event_type = field("type")?.unwrap_or_default();
    let data = field("data")?.ok_or("a line without data")?;
    Ok(Block {
        id: field("cursor")?,
        data: match event_type.starts_with("sluice.") {
            true => data,
            false => text.to_owned(),
        },
        event_type,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_byte_by_byte() {
        let text = "\n{\"cursor\":\"c\",\"channel\":\"a\",\"id\":null,\"type\":null,\"event_id\":null,\"data\":\"x\"}\n\n{";
        let mut lines = Lines::default();
        let blocks: Vec<Block> = text
            .bytes()
            .flat_map(|byte| lines.feed(&[byte]).expect("good lines"))
            .collect();
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].id.as_deref(), Some("c"));
        assert_eq!(blocks[0].event_type, "");
    }

    #[test]
    fn odd_lines_are_refused() {
        for odd in [
            "x",
            "{}",
            r#"{"cursor":"c","channel":"a","id":null,"type":null,"event_id":null}"#,
            r#"{"cursor":1,"channel":"a","id":null,"type":null,"event_id":null,"data":"x"}"#,
            r#"{"channel":"a","id":null,"type":null,"event_id":null,"data":"x"}"#,
        ] {
            let fed = Lines::default().feed(format!("{odd}\n").as_bytes());
            assert!(fed.is_err(), "{odd} passed");
        }
    }
}

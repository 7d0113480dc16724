//! The other shapes of a stream, read apart from the product: NDJSON lines and the pages of a poll, taken as what an
//! event stream would have said, so that one log and one checker serve all three.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    cursor,
    sse::{Block, Item, Parser},
};

/// The members of a line, in their order; the last one is there where an event stream says `retry:`.
const MEMBERS: [&str; 7] = [
    "cursor", "channel", "id", "type", "event_id", "data", "retry",
];

/// How a client reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    EventStream,
    Ndjson,
    /// One answer after the other, each of at most so many events.
    Poll {
        limit: usize,
        timeout: Duration,
    },
}

/// What takes the body of a connection apart.
#[derive(Debug)]
pub enum Body {
    Events(Parser),
    Lines(LineParser),
    /// Read when it is whole.
    Page,
}

impl Shape {
    /// What reads a body in this shape.
    pub fn body(self) -> Body {
        match self {
            Shape::EventStream => Body::Events(Parser::default()),
            Shape::Ndjson => Body::Lines(LineParser::default()),
            Shape::Poll { .. } => Body::Page,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Shape::EventStream => "text/event-stream",
            Shape::Ndjson => "application/x-ndjson",
            Shape::Poll { .. } => "application/json",
        }
    }
}

/// One JSON object of a line or a page, as far as it is asked for.
#[derive(Debug)]
struct Object(Value);

impl Object {
    /// Refuses an object whose members are not those, in this order.
    fn read(text: &str, members: &[&str]) -> Result<Object> {
        let object =
            Object(serde_json::from_str(text).with_context(|| format!("object {text:?}"))?);
        let mut rest = text.strip_prefix('{').context("no object")?;
        for (number, member) in members.iter().enumerate() {
            let name = format!("{}\"{member}\":", if number == 0 { "" } else { "," });
            rest = rest
                .strip_prefix(&name)
                .with_context(|| format!("{name} is not next in {text:?}"))?;
            rest = &rest[value_length(rest)?..];
        }
        ensure!(rest == "}", "more than {members:?} in {text:?}");
        Ok(object)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    /// The block that an event stream would have shown: in an envelope when `envelope` is set.
    fn block(&self, envelope: bool, last_event_id: String) -> Result<Block> {
        let data = self.text("data").context("data is no text")?;
        let own = self
            .text("type")
            .is_some_and(|name| name.starts_with("sluice."));
        Ok(Block {
            event: self.text("type").unwrap_or("message").to_owned(),
            data: match envelope && !own {
                true => self.0.to_string(),
                false => data.to_owned(),
            },
            last_event_id,
        })
    }
}

/// How many bytes the JSON value at the beginning of `text` has.
fn value_length(text: &str) -> Result<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next().context("no value")??;
    Ok(values.byte_offset())
}

/// Reads NDJSON in pieces of any size.
#[derive(Debug, Default)]
pub struct LineParser {
    line: Vec<u8>,
}

impl LineParser {
    /// Takes the next bytes of the body and appends what they complete to `out`.
    pub fn feed(&mut self, bytes: &[u8], envelope: bool, out: &mut Vec<Item>) -> Result<()> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line))?;
            if line.is_empty() {
                out.push(Item::Comment);
            } else {
                read_line(&line, envelope, out)?;
            }
        }
        Ok(())
    }
}

fn read_line(line: &str, envelope: bool, out: &mut Vec<Item>) -> Result<()> {
    let waits = line.contains(",\"retry\":") && line.contains("\"type\":\"sluice.");
    let object = Object::read(line, &MEMBERS[..MEMBERS.len() - usize::from(!waits)])?;
    if let Some(wait) = object.0["retry"].as_u64() {
        out.push(Item::Retry(Duration::from_millis(wait)));
    }
    let cursor = object.text("cursor").unwrap_or_default().to_owned();
    out.push(Item::Event(object.block(envelope, cursor)?));
    Ok(())
}

/// Where a client that polls stands: what its pages have brought, event by event.
#[derive(Debug, Default)]
pub struct Pages {
    places: BTreeMap<String, String>,
    begun: bool,
}

impl Pages {
    /// Takes the body of an answer. An event's own place makes the cursor after it; at the end of the page the
    /// answer's cursor is shown by a block of Sluice's own, so that the checker compares the two.
    pub fn read(&mut self, body: &str, channels: &[String], limit: usize) -> Result<Vec<Item>> {
        let envelope = channels.len() > 1;
        let answer: Value =
            serde_json::from_str(body).with_context(|| format!("answer {body:?}"))?;
        let cursor = answer["cursor"].as_str().context("no cursor")?;
        let events = answer["events"].as_array().context("no events")?;
        let resets = events
            .iter()
            .filter(|event| event["type"] == "sluice.reset");
        ensure!(
            events.len() <= limit.max(resets.count()),
            "{} events, though {limit} were asked for",
            events.len()
        );
        let mut items = Vec::new();
        for event in events {
            let object = Object(event.clone());
            let channel = object.text("channel").context("no channel")?;
            if let Some(place) = object.text("id") {
                self.places.insert(channel.to_owned(), place.to_owned());
            }
            let after = self.cursor(channels);
            items.push(Item::Event(object.block(envelope, after)?));
        }
        items.push(Item::Event(self.end_of_page(cursor, channels)));
        for channel in channels {
            let place = cursor::place(cursor, channels, channel);
            self.places
                .extend(place.map(|place| (channel.clone(), place)));
        }
        Ok(items)
    }

    fn end_of_page(&mut self, cursor: &str, channels: &[String]) -> Block {
        let event = match std::mem::replace(&mut self.begun, true) {
            false => "sluice.open",
            true => "sluice.close",
        };
        let status: BTreeMap<&str, &str> = channels
            .iter()
            .map(|channel| (channel.as_str(), "live"))
            .collect();
        Block {
            event: event.to_owned(),
            data: serde_json::json!({ "channels": status, "reason": "poll_done" }).to_string(),
            last_event_id: cursor.to_owned(),
        }
    }

    fn cursor(&self, channels: &[String]) -> String {
        match channels {
            [only] => self.places.get(only).cloned().unwrap_or_default(),
            _ => cursor::of(&self.places),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"cursor":"c","channel":"a","id":"1-0.00000001","type":null,"event_id":null,"data":"x,\"retry\":1"}"#;

    fn read(text: &str, step: usize) -> Result<Vec<Item>> {
        let (mut parser, mut items) = (LineParser::default(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            parser.feed(piece, false, &mut items)?;
        }
        Ok(items)
    }

    #[test]
    fn lines_read_the_same_whatever_the_split() {
        let close = r#"{"cursor":"c","channel":null,"id":null,"type":"sluice.close","event_id":null,"data":"{}","retry":7}"#;
        let text = format!("\n{LINE}\n\n{close}\n{{\"cut");
        let block = |event: &str, data: &str| {
            Item::Event(Block {
                event: event.to_owned(),
                data: data.to_owned(),
                last_event_id: "c".to_owned(),
            })
        };
        for step in 1..text.len() {
            assert_eq!(
                read(&text, step).expect("good lines"),
                [
                    Item::Comment,
                    block("message", "x,\"retry\":1"),
                    Item::Comment,
                    Item::Retry(Duration::from_millis(7)),
                    block("sluice.close", "{}"),
                ]
            );
        }
    }

    #[test]
    fn lines_with_other_members_are_refused() {
        for bad in [
            LINE.replace("\"event_id\":null,", ""),
            LINE.replace("\"id\"", "\"place\""),
            LINE.replace(
                "\"cursor\":\"c\",\"channel\":\"a\"",
                "\"channel\":\"a\",\"cursor\":\"c\"",
            ),
            LINE.replace("}", ",\"more\":1}"),
            "[]".to_owned(),
        ] {
            assert!(read(&format!("{bad}\n"), 9).is_err(), "{bad} passed");
        }
    }

    #[test]
    fn a_page_is_its_events_and_then_its_cursor() {
        let channels = ["a".to_owned()];
        let mut pages = Pages::default();
        let event = r#"{"channel":"a","id":"2-0.00000001","type":"t","event_id":null,"data":"x"}"#;
        let body = format!(r#"{{"cursor":"2-0.00000001","events":[{event}]}}"#);
        let items = pages.read(&body, &channels, 1).expect("a good page");
        let seen: Vec<(&str, &str)> = items
            .iter()
            .filter_map(|item| match item {
                Item::Event(block) => Some((block.event.as_str(), block.last_event_id.as_str())),
                Item::EmptyBlock(_) | Item::Comment | Item::Retry(_) => None,
            })
            .collect();
        assert_eq!(
            seen,
            [("t", "2-0.00000001"), ("sluice.open", "2-0.00000001")]
        );
        let two = format!(r#"{{"cursor":"2-0.00000001","events":[{event},{event}]}}"#);
        assert!(pages.read(&two, &channels, 1).is_err());
        assert!(pages.read("{}", &channels, 1).is_err());
    }
}

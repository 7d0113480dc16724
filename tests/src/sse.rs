//! Reads an event stream as the WHATWG standard demands (HTML, 9.2.5 and 9.2.6). Written apart from the
//! product's encoder, so that a mistake there cannot cancel itself out here.

use std::time::Duration;

/// One dispatched event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// Event type; `message` when the stream gave none.
    pub event: String,
    pub data: String,
    /// The event source's last event id after this block.
    pub last_event_id: String,
}

/// What a stream says, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    Event(Block),
    /// A blank line without data before it: dispatches nothing by the standard, but some clients raise a
    /// phantom event, so the gateway must never send one. Holds the last event id after it.
    EmptyBlock(String),
    /// A line that starts with a colon: a heartbeat.
    Comment,
    Retry(Duration),
}

/// The state of one stream: a new connection begins with a new one.
#[derive(Debug, Default)]
pub struct Parser {
    started: bool,
    after_cr: bool,
    line: Vec<u8>,
    data: Option<String>,
    event: String,
    id: String,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl Parser {
    /// Takes the next bytes of the body and appends what they complete to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Item>) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\r' | b'\n' => {
                    self.after_cr = byte == b'\r';
                    self.end_line(out);
                }
                other => {
                    self.after_cr = false;
                    self.line.push(other);
                }
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<Item>) {
        let line = std::mem::take(&mut self.line);
        let mut rest = line.as_slice();
        if !self.started {
            self.started = true;
            rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest);
        }
        let text = String::from_utf8_lossy(rest);
        if text.is_empty() {
            self.dispatch(out);
        } else if text.starts_with(':') {
            out.push(Item::Comment);
        } else {
            let (field, value) = text.split_once(':').unwrap_or((&text, ""));
            self.field(field, value.strip_prefix(' ').unwrap_or(value), out);
        }
    }

    fn field(&mut self, name: &str, value: &str, out: &mut Vec<Item>) {
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                let data = self.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                out.extend(
                    value
                        .parse()
                        .ok()
                        .map(|ms| Item::Retry(Duration::from_millis(ms))),
                );
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, out: &mut Vec<Item>) {
        let event = std::mem::take(&mut self.event);
        let Some(mut data) = self.data.take() else {
            out.push(Item::EmptyBlock(self.id.clone()));
            return;
        };
        data.pop();
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        out.push(Item::Event(Block {
            event,
            data,
            last_event_id: self.id.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Item> {
        let (mut parser, mut items) = (Parser::default(), Vec::new());
        parser.feed(text.as_bytes(), &mut items);
        items
    }

    fn event(event: &str, data: &str, id: &str) -> Item {
        Item::Event(Block {
            event: event.into(),
            data: data.into(),
            last_event_id: id.into(),
        })
    }

    #[test]
    fn blocks_read_as_the_standard_shows() {
        assert_eq!(
            parse("data: YHOO\ndata: +2\ndata: 10\n\n"),
            [event("message", "YHOO\n+2\n10", "")]
        );
        assert_eq!(
            parse("data\n\ndata\ndata\n\ndata:"),
            [event("message", "", ""), event("message", "\n", "")]
        );
        assert_eq!(
            parse("data:test\n\ndata: test\n\n"),
            [event("message", "test", ""), event("message", "test", "")]
        );
        assert_eq!(parse("\u{feff}data: a\n\n"), [event("message", "a", "")]);
        assert_eq!(
            parse("id: 7\nevent: x\ndata: a\n\ndata: b\n\n"),
            [event("x", "a", "7"), event("message", "b", "7")]
        );
    }

    #[test]
    fn every_line_ending_and_every_split_reads_the_same() {
        let text = "id: 1\nevent: e\ndata: xin chào 🐋\ndata: two\n\n:\nretry: 2713\n\n";
        let want = [
            event("e", "xin chào 🐋\ntwo", "1"),
            Item::Comment,
            Item::Retry(Duration::from_millis(2713)),
            Item::EmptyBlock("1".into()),
        ];
        for ending in ["\n", "\r", "\r\n"] {
            let bytes = text.replace('\n', ending).into_bytes();
            for step in 1..bytes.len() {
                let (mut parser, mut items) = (Parser::default(), Vec::new());
                bytes
                    .chunks(step)
                    .for_each(|piece| parser.feed(piece, &mut items));
                assert_eq!(items, want, "{ending:?} split every {step}");
            }
        }
    }

    #[test]
    fn the_id_moves_only_with_a_blank_line_and_never_by_nul() {
        assert_eq!(
            parse("id: 1\ndata: a\n\nid: 2\ndata: b\n"),
            [event("message", "a", "1")]
        );
        assert_eq!(
            parse("id: 1\nid: a\0b\ndata: a\n\n"),
            [event("message", "a", "1")]
        );
        assert_eq!(
            parse("id: 1\n\nid\ndata: b\n\n"),
            [Item::EmptyBlock("1".into()), event("message", "b", "")]
        );
    }

    #[test]
    fn retry_takes_digits_only() {
        assert_eq!(parse("retry: 1x\nretry:\nretry: -1\n"), []);
    }
}

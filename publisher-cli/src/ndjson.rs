//! Events from standard input, one JSON object a line, read by a thread of its own with a bounded queue.
//! A line that cannot be read is handed on as an error with its number; the next line is none the worse.

use std::io::{BufRead, Read};

use sluice_wire::event::{check_event_id, check_event_type};
use sluice_wire::{Channel, TraceContext, line};
use tokio::sync::mpsc;

use crate::publish::Outgoing;

/// The longest line, and the largest event on standard input; far above what a deployment accepts.
pub const INPUT_BYTES: usize = 2 * 1024 * 1024;

/// What is said of a line that is something else.
const NOT_AN_OBJECT: &str = r#"not a JSON object; each line must be one, such as {"channel":"orders","type":"t","event_id":"1","data":"text or JSON"}, where only "data" is always needed"#;

/// Lines read ahead of those published.
const QUEUE_EVENTS: usize = 512;

/// What a line lacks, filled in from the command line.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub channel: Option<Channel>,
    pub event_type: Option<String>,
    pub traceparent: Option<TraceContext>,
}

/// One line's event, or what is wrong with the line.
pub type Line = Result<Outgoing, BadLine>;

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: u64,
    pub what: String,
}

/// Reads `input` to its end in a thread of its own; dropping the receiver stops it at its next line.
pub fn read(input: impl Read + Send + 'static, defaults: Defaults) -> mpsc::Receiver<Line> {
    let (lines, queue) = mpsc::channel(QUEUE_EVENTS);
    // A thread, not a task: a blocked read of a terminal must not hold up the end of the program.
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::with_capacity(64 * 1024, input);
        let mut number = 0;
        while let Some(line) = next_line(&mut input, &mut number, &defaults) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    queue
}

/// The next line that is not blank, or `None` at the end of the input.
fn next_line(input: &mut impl BufRead, number: &mut u64, defaults: &Defaults) -> Option<Line> {
    let mut text = Vec::new();
    loop {
        text.clear();
        *number += 1;
        let bad = |what: String| BadLine {
            number: *number,
            what,
        };
        match input
            .by_ref()
            .take(INPUT_BYTES as u64 + 1)
            .read_until(b'\n', &mut text)
        {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(bad(format!("cannot read standard input: {error}")))),
        }
        if text.len() > INPUT_BYTES {
            if text.last() != Some(&b'\n')
                && let Err(error) = skip_line(input)
            {
                return Some(Err(bad(format!("cannot read standard input: {error}"))));
            }
            return Some(Err(bad(format!("longer than {INPUT_BYTES} bytes"))));
        }
        if !text.trim_ascii().is_empty() {
            return Some(
                parse(&text, defaults)
                    .map(|event| Outgoing {
                        line: Some(*number),
                        ..event
                    })
                    .map_err(bad),
            );
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let taken = newline.map_or(buffer.len(), |at| at + 1);
        let ended = newline.is_some() || buffer.is_empty();
        input.consume(taken);
        if ended {
            return Ok(());
        }
    }
}

/// What is said of an `id` that is no position: whoever wrote it means the event's own.
const BAD_ID: &str = "bad \"id\": the event's id is called `event_id`; `id` is a position, as a history has it, and is ignored";

fn parse(line: &[u8], defaults: &Defaults) -> Result<Outgoing, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    // Elsewhere than at its start, the parser's own words say what is wrong.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(NOT_AN_OBJECT.to_owned());
    }
    let object: line::Line<'_> = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    let channel = match &object.channel {
        Some(name) => {
            Channel::parse(name).map_err(|error| format!("bad channel `{name}`: {error}"))?
        }
        None => defaults
            .channel
            .clone()
            .ok_or("no \"channel\", and none on the command line")?,
    };
    if let Some(event_type) = &object.r#type {
        check_event_type(event_type).map_err(|error| format!("bad \"type\": {error}"))?;
    }
    if let Some(event_id) = &object.event_id {
        check_event_id(event_id).map_err(|error| format!("bad \"event_id\": {error}"))?;
    }
    if !object.has_fit_id() {
        return Err(BAD_ID.to_owned());
    }
    let traceparent = object.traceparent.as_deref();
    let traceparent = traceparent.and_then(TraceContext::parse);
    let data = object.data().map_err(|error| json_error(&error))?;
    Ok(Outgoing {
        line: None,
        channel,
        data: data.into_owned().into_bytes(),
        event_type: object.r#type.or_else(|| defaults.event_type.clone()),
        event_id: object.event_id,
        traceparent: traceparent.or(defaults.traceparent),
    })
}

/// The parser counts lines within its text, which here is always line 1: only the column helps.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(what, _)| what);
    format!("column {}: {what}", error.column())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let defaults = Defaults {
            channel: Some(Channel::parse("orders").unwrap()),
            event_type: None,
            traceparent: None,
        };
        let mut queue = read(std::io::Cursor::new(input.to_vec()), defaults);
        std::iter::from_fn(|| queue.blocking_recv()).collect()
    }

    #[test]
    fn a_bad_line_is_numbered_and_spoils_no_other() {
        let mut input = b"{\"data\":1}\n\n{\"data\":\n{\"data\":2}\r\n\xff\n".to_vec();
        input.extend(vec![b'x'; INPUT_BYTES + 10]);
        input.extend(b"\n{\"data\":3}");
        let lines = lines(&input);
        let good: Vec<_> = lines
            .iter()
            .flatten()
            .map(|event| (event.line.unwrap(), event.data.as_slice()))
            .collect();
        assert_eq!(good, [(1, &b"1"[..]), (4, b"2"), (7, b"3")]);
        let bad: Vec<_> = lines
            .iter()
            .filter_map(|line| line.as_ref().err())
            .collect();
        assert_eq!(
            bad.iter().map(|line| line.number).collect::<Vec<_>>(),
            [3, 5, 6]
        );
        assert_eq!(bad[1].what, "not UTF-8 at byte 0");
    }

    #[test]
    fn a_line_that_is_no_object_is_told_what_it_must_be() {
        for input in ["not json", "hello", "[1]", "\"data\"", "null", "17"] {
            let bad = lines(input.as_bytes()).remove(0).unwrap_err();
            assert_eq!((bad.number, &*bad.what), (1, NOT_AN_OBJECT), "{input}");
        }
        assert!(parse_example().is_ok(), "the example given is one");
    }

    fn parse_example() -> Result<Outgoing, String> {
        let (start, end) = (NOT_AN_OBJECT.find('{'), NOT_AN_OBJECT.rfind('}'));
        let example = &NOT_AN_OBJECT[start.unwrap()..=end.unwrap()];
        let defaults = Defaults {
            channel: None,
            event_type: None,
            traceparent: None,
        };
        parse(example.as_bytes(), &defaults)
    }

    /// A line of a history copies its event; its own id is no id of the copy.
    #[test]
    fn a_position_in_id_is_ignored_and_anything_else_there_is_refused() {
        let input = br#"{"cursor":"1~x","channel":"a","id":"7-0.0000000a","type":null,"event_id":null,"data":"x"}
{"id":null,"cursor":null,"event_id":"ev-1","data":1}
{"id":"ev-1","data":1}
{"id":7,"data":1}
{"id":"","data":1}"#;
        let lines = lines(input);
        let first = lines[0].as_ref().unwrap();
        assert_eq!((first.channel.as_str(), &first.event_id), ("a", &None));
        assert_eq!(lines[1].as_ref().unwrap().event_id.as_deref(), Some("ev-1"));
        for line in &lines[2..] {
            let bad = line.as_ref().unwrap_err();
            assert!(
                bad.what.contains("the event's id is called `event_id`"),
                "{}",
                bad.what
            );
        }
    }

    /// A line that says to which trace it belongs knows better than the command line; one that says nonsense does not.
    #[test]
    fn a_lines_own_traceparent_comes_before_the_common_one() {
        let common = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let defaults = Defaults {
            channel: Some(Channel::parse("orders").unwrap()),
            event_type: None,
            traceparent: TraceContext::parse(common),
        };
        for (given, expected) in [
            (String::new(), common),
            (format!(r#","traceparent":"{own}""#), own),
            (r#","traceparent":null"#.to_owned(), common),
            (r#","traceparent":"x""#.to_owned(), common),
        ] {
            let line = format!("{{\"data\":1{given}}}");
            let event = parse(line.as_bytes(), &defaults).unwrap();
            assert_eq!(event.traceparent.unwrap().to_string(), expected, "{line}");
        }
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let bad = lines(b"{\"chanel\":\"a\",\"data\":1}")
            .remove(0)
            .unwrap_err();
        assert!(bad.what.contains("unknown field `chanel`"), "{}", bad.what);
        let bad = lines(b"{\"type\":\"a\"}").remove(0).unwrap_err();
        assert!(bad.what.contains("missing field `data`"), "{}", bad.what);
    }
}

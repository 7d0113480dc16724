//! One line of a batch: what it wants published, or why it cannot be. What is wrong with a line is that line's own.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use sluice_wire::channel::Channel;
use sluice_wire::line::Line as Given;
use sluice_wire::trace::TraceContext;

use crate::broker::Publication;
use crate::http::params;
use crate::http::problem::{Code, Problem};

/// Longest quote of a member's name in an answer, in characters.
const QUOTE_CHARS: usize = 64;
/// How the parser begins to tell of a member that it does not know.
const UNKNOWN: &str = "unknown field `";

/// A line that is not blank.
#[derive(Debug)]
pub struct Line {
    /// Counted from 1, blank lines included.
    pub number: usize,
    /// Named even when the line is refused, where it can be read.
    pub channel: Option<Channel>,
    pub event: Result<Publication, Problem>,
}

/// The lines of a body; none when there are more than `most`.
pub fn read(body: &Bytes, most: usize) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    for (index, text) in body.split(|byte| *byte == b'\n').enumerate() {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if lines.len() == most {
            return None;
        }
        lines.push(line(index + 1, body, text));
    }
    Some(lines)
}

fn line(number: usize, body: &Bytes, text: &[u8]) -> Line {
    let refused = |channel, problem| Line {
        number,
        channel,
        event: Err(problem),
    };
    let given = match given(text) {
        Ok(given) => given,
        Err(problem) => return refused(named(text), problem),
    };
    let channel = match channel(given.channel.as_deref()) {
        Ok(channel) => channel,
        Err(problem) => return refused(None, problem),
    };
    if !given.has_fit_id() {
        let detail = "the event's id is called `event_id`; `id` is the position that it gets";
        return refused(Some(channel), Problem::new(Code::BadBody, detail));
    }
    let data = match data(body, &given) {
        Ok(data) => data,
        Err(problem) => return refused(Some(channel), problem),
    };
    Line {
        number,
        channel: Some(channel.clone()),
        event: Ok(Publication {
            channel,
            event_type: given.r#type,
            event_id: given.event_id,
            traceparent: given.traceparent.as_deref().and_then(valid),
            data,
        }),
    }
}

/// As it is passed on; nothing where it is not valid.
fn valid(traceparent: &str) -> Option<String> {
    TraceContext::parse(traceparent).map(|context| context.to_string())
}

fn given(text: &[u8]) -> Result<Given<'_>, Problem> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Problem::new(Code::DataNotUtf8, "the line is not UTF-8"))?;
    // An array would be read as the members in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::new(
            Code::BadBody,
            "a line is an object such as {\"channel\":\"orders\",\"data\":{\"id\":1}}",
        ));
    }
    serde_json::from_str(text).map_err(|error| not_an_event(&error))
}

/// The channel of a line whose other members are wrong.
fn named(text: &[u8]) -> Option<Channel> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        channel: Cow<'a, str>,
    }
    let is_object = text.trim_ascii_start().first() == Some(&b'{');
    let named: Named<'_> = serde_json::from_slice(text).ok().filter(|_| is_object)?;
    params::channel("channel", &named.channel).ok()
}

/// The parser counts lines, too, and always comes to 1.
fn not_an_event(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let (what, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
    let what = match what
        .strip_prefix(UNKNOWN)
        .and_then(|rest| rest.rsplit_once("`, expected "))
    {
        Some((name, expected)) => format!("{UNKNOWN}{}`, expected {expected}", shortened(name)),
        None => what.to_owned(),
    };
    let detail = format!(
        "the line is not an event: {what} (column {})",
        error.column()
    );
    Problem::new(Code::BadBody, detail)
}

/// At most so many characters of a caller's own text.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

fn channel(name: Option<&str>) -> Result<Channel, Problem> {
    let missing = || {
        Problem::new(
            Code::NoChannel,
            "name the event's channel: \"channel\":\"orders\"",
        )
    };
    params::channel("channel", name.ok_or_else(missing)?)
}

/// Shares the body's bytes where they are published as they are written.
fn data(body: &Bytes, given: &Given<'_>) -> Result<Bytes, Problem> {
    Ok(match given.data().map_err(|error| not_an_event(&error))? {
        Cow::Owned(text) => text.into(),
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn one(text: &'static str) -> Line {
        let mut lines = read(&Bytes::from_static(text.as_bytes()), 1).expect("one line");
        lines.pop().expect("a line")
    }

    #[rstest]
    #[case(r#"{"channel":"a","data":"x\ny"}"#, "x\ny")]
    #[case(r#"{"channel":"a","data":""}"#, "")]
    #[case(
        r#"{"channel":"a","data": {"b" : [1, 2.50]} }"#,
        r#"{"b" : [1, 2.50]}"#
    )]
    #[case(r#"{"channel":"a","data":null}"#, "null")]
    #[case(r#"{"channel":"a","data":1e400}"#, "1e400")]
    #[case(
        r#"{"channel":"a","data":true,"type":null,"event_id":null,"id":null,"cursor":null}"#,
        "true"
    )]
    #[case(r#"{"cursor":"1~AA","channel":"a","id":"5-0.00000001","type":"t","event_id":"e","data":"x"}"#, "x")]
    fn data_is_a_strings_text_or_json_as_written(#[case] text: &'static str, #[case] data: &str) {
        let event = one(text).event.expect("an event");
        assert_eq!(event.data, data);
    }

    #[rstest]
    #[case("x", None, Code::BadBody, "an object such as")]
    #[case(r#"["a", "t", null, "x"]"#, None, Code::BadBody, "an object such as")]
    #[case(
        r#"{"channel":"a"}"#,
        Some("a"),
        Code::BadBody,
        "missing field `data` (column 15)"
    )]
    #[case(
        r#"{"channel":"a","data":"x","event":"t"}"#,
        Some("a"),
        Code::BadBody,
        "unknown field `event`"
    )]
    #[case(
        r#"{"channel":"a","data":"x"} {}"#,
        None,
        Code::BadBody,
        "trailing characters"
    )]
    #[case(
        r#"{"channel":"a","data":"x","data":"y"}"#,
        Some("a"),
        Code::BadBody,
        "duplicate field `data`"
    )]
    #[case(
        r#"{"type":7,"channel":"a","data":"x"}"#,
        Some("a"),
        Code::BadBody,
        "invalid type: integer `7`"
    )]
    #[case(
        r#"{"type":7,"channel":"_ctl","data":"x"}"#,
        None,
        Code::BadBody,
        "invalid type"
    )]
    #[case(
        r#"{"channel":"a","data":"\ud800"}"#,
        Some("a"),
        Code::BadBody,
        "the line is not an event"
    )]
    #[case(r#"{"data":"x"}"#, None, Code::NoChannel, "name the event's channel")]
    #[case(
        r#"{"channel":null,"data":"x"}"#,
        None,
        Code::NoChannel,
        "name the event's channel"
    )]
    #[case(
        r#"{"channel":"a b","data":"x"}"#,
        None,
        Code::BadChannel,
        "not allowed in a channel name"
    )]
    #[case(
        r#"{"channel":"_ctl","data":"x"}"#,
        None,
        Code::ReservedChannel,
        "Sluice's own"
    )]
    #[case(
        r#"{"channel":"a","data":"x","id":"ev-1"}"#,
        Some("a"),
        Code::BadBody,
        "called `event_id`"
    )]
    #[case(
        r#"{"channel":"a","data":"x","id":7}"#,
        Some("a"),
        Code::BadBody,
        "called `event_id`"
    )]
    fn a_bad_line_says_what_is_wrong(
        #[case] text: &'static str,
        #[case] channel: Option<&str>,
        #[case] code: Code,
        #[case] detail: &str,
    ) {
        let line = one(text);
        assert_eq!(line.channel.as_ref().map(Channel::as_str), channel);
        let problem = line.event.expect_err("refused");
        assert_eq!(problem.code(), code);
        assert!(problem.detail().contains(detail), "{problem}");
    }

    #[test]
    fn a_long_name_is_not_echoed_whole() {
        let name = "ä`, expected ".repeat(100_000);
        let text = format!(r#"{{"channel":"a","data":1,"{name}":1}}"#);
        let mut lines = read(&Bytes::from(text), 1).expect("one line");
        let line = lines.pop().expect("a line");
        let problem = line.event.expect_err("refused");
        let begin: String = name.chars().take(QUOTE_CHARS).collect();
        let quoted = format!("unknown field `{begin}…`, expected one of `channel`");
        assert!(problem.detail().contains(&quoted), "{problem}");
        assert!(problem.detail().len() < 400, "{problem}");
        assert_eq!(line.channel.as_ref().map(Channel::as_str), Some("a"));
    }

    #[test]
    fn blank_lines_are_counted_and_skipped_and_lines_are_bounded() {
        let body = Bytes::from_static(b"\n{\"channel\":\"a\",\"data\":1}\r\n  \n\xff\n");
        let lines = read(&body, 2).expect("two lines");
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [2, 4]);
        let problem = lines[1].event.as_ref().expect_err("refused");
        assert_eq!(problem.code(), Code::DataNotUtf8);
        assert!(read(&body, 1).is_none());
        assert_eq!(read(&Bytes::new(), 1).expect("none").len(), 0);
    }
}

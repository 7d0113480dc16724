//! What is published, and how it must arrive: line ends as LF, all else untouched but for a client's declared limits.

use crate::roster::{Client, Limit};

/// Types that are published; a client that must name what it listens for is told these and Sluice's own.
pub const TYPES: [&str; 6] = [
    "order.created",
    "Straße geändert",
    "🦀.molted",
    "sluice.open",
    "sluice.reset",
    "sluice.close",
];

/// Event type and data.
pub type Text = (Option<&'static str>, &'static str);

pub const PLAIN: [Text; 4] = [
    (None, r#"{"id":1}"#),
    (Some("order.created"), r#"{"id":2}"#),
    (Some("order.created"), "with \"quotes\" and \\ and \t"),
    (None, "looks: like: a field"),
];

/// Lines of every kind, and nothing at all.
pub const LINES: [Text; 12] = [
    (None, "a\nb\r\nc\rd"),
    (Some("order.created"), "one\n\nthree"),
    (None, "ends with a line\n"),
    (None, "\nbegins with one"),
    (None, "\n"),
    (None, "\n\r\n\r"),
    (None, ""),
    (Some("order.created"), ""),
    (None, " one blank"),
    (None, "   three blanks\n  two "),
    (None, "data: x\nid: 7\nevent: y\nretry: 1\n: z"),
    (None, "the end of lines"),
];

/// Characters of one to four bytes, marks that some take for line ends, and byte order marks.
pub const UTF8: [Text; 6] = [
    (Some("Straße geändert"), "Grüße, 世界, e\u{301}"),
    (Some("🦀.molted"), "🦀𝄞\u{10FFFF}"),
    (
        None,
        "\u{FEFF}mark first, \u{FEFF} and inside\n\u{FEFF}and in line two",
    ),
    (
        None,
        "next line\u{85}line\u{2028}paragraph\u{2029}tab\u{b}form\u{c}feed",
    ),
    (None, "\u{FFFD}\u{200D}\u{202E}"),
    (None, "the end of characters"),
];

/// Data as this client hands it over.
pub fn received(client: &Client, data: &str) -> String {
    let text = data.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    if client.has(Limit::LeadingBlanksLost) {
        lines
            .iter_mut()
            .for_each(|line| *line = line.trim_start_matches(' '));
    }
    if client.has(Limit::ByteOrderMarkLost) {
        lines
            .iter_mut()
            .for_each(|line| *line = line.strip_prefix('\u{FEFF}').unwrap_or(line));
    }
    let mut text = lines.join("\n");
    if client.has(Limit::FirstEmptyLinesLost) {
        text = text.trim_start_matches('\n').to_owned();
    }
    if client.has(Limit::LastEmptyLinesLost) {
        text = text.trim_end_matches('\n').to_owned();
    }
    text
}

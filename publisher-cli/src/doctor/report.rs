//! The report: aligned text for people, or one JSON object a line.

use serde::{Serialize, Serializer};

use super::finding::{Code, Finding, Status};
use crate::failure::printable;

/// What was looked at, and what was found there.
pub struct Section {
    /// As a heading: `Redis at 127.0.0.1:6379`.
    pub title: String,
    pub findings: Vec<Finding>,
}

/// How many findings of each status there are.
pub fn count(sections: &[Section], status: Status) -> usize {
    let all = sections.iter().flat_map(|section| &section.findings);
    all.filter(|finding| finding.status == status).count()
}

/// One object per finding, and a last one with the summary.
pub fn json_lines(sections: &[Section]) -> Vec<String> {
    let findings = sections.iter().flat_map(|section| &section.findings);
    // Not by way of a `Value`, which would sort the members.
    let mut lines: Vec<String> = findings.map(text_of).collect();
    lines.push(text_of(&Summed {
        summary: Counts(Status::ALL.map(|status| (status, count(sections, status)))),
    }));
    lines
}

/// Texts and numbers only: this cannot fail.
fn text_of(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

#[derive(Serialize)]
struct Summed {
    summary: Counts,
}

struct Counts([(Status, usize); 5]);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

/// Text in columns: status, code, what was seen; below it what to do.
pub fn text_lines(sections: &[Section], colour: bool) -> Vec<String> {
    let widest_status = width(Status::ALL.iter().map(|status| status.label()));
    let widest_code = width(Code::ALL.iter().map(|code| code.label()));
    let mut lines = Vec::new();
    for section in sections {
        lines.push(printable(&section.title));
        for finding in &section.findings {
            lines.push(format!(
                "  {}  {:widest_code$}  {}",
                paint(finding.status, widest_status, colour),
                finding.code.label(),
                printable(&finding.seen)
            ));
            if let Some(advice) = &finding.advice {
                let indent = widest_status + widest_code + 6;
                lines.push(format!("{:indent$}do: {}", "", printable(advice)));
            }
        }
        lines.push(String::new());
    }
    lines.push(summary(sections));
    lines
}

fn summary(sections: &[Section]) -> String {
    let parts = Status::ALL.map(|status| (count(sections, status), status));
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, status)| {
            let many = matches!(status, Status::Note | Status::Warning | Status::Problem);
            let plural = if many && count > 1 { "s" } else { "" };
            format!("{count} {}{plural}", status.label())
        })
        .collect();
    parts.join(", ")
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(str::len).max().unwrap_or_default()
}

fn paint(status: Status, width: usize, colour: bool) -> String {
    let text = format!("{:width$}", status.label());
    // SGR of ECMA-48: green, cyan, yellow, bold red, dim.
    let code = match status {
        Status::Ok => "32",
        Status::Note => "36",
        Status::Warning => "33",
        Status::Problem => "1;31",
        Status::Skipped => "2",
    };
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<Section> {
        vec![Section {
            title: "Redis at there".into(),
            findings: vec![
                Finding::ok(Code::RedisVersion, "7.0.15"),
                Finding::problem(Code::RedisEviction, "it evicts\u{1b}[2J", "stop it"),
            ],
        }]
    }

    #[test]
    fn text_is_aligned_and_cannot_drive_the_terminal() {
        let lines = text_lines(&sections(), false);
        let column = |line: &str, word: &str| line.find(word);
        assert_eq!(column(&lines[1], "7.0.15"), column(&lines[2], "it evicts"));
        assert_eq!(
            column(&lines[1], "7.0.15"),
            column(&lines[3], "do: stop it")
        );
        assert!(!lines.concat().contains('\u{1b}'), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("1 ok, 1 problem"));
    }

    #[test]
    fn members_are_in_the_order_that_the_page_shows() {
        assert_eq!(
            json_lines(&sections()),
            [
                r#"{"code":"redis_version","status":"ok","seen":"7.0.15","do":null}"#,
                r#"{"code":"redis_eviction","status":"problem","seen":"it evicts\u001b[2J","do":"stop it"}"#,
                r#"{"summary":{"ok":1,"note":0,"warning":0,"problem":1,"skipped":0}}"#,
            ]
        );
    }

    #[test]
    fn colour_is_around_the_status_only() {
        let lines = text_lines(&sections(), true);
        assert!(
            lines[2].starts_with("  \u{1b}[1;31mproblem\u{1b}[0m  redis_eviction"),
            "{lines:?}"
        );
    }
}

//! docs/clients.md: its table is made from what ran, its snippets from the programs.

use std::fs;

use anyhow::{Context, Result, ensure};

use sluice_e2e::installed;

use crate::roster::{self, Client, Limit};

const PAGE: &str = "docs/clients.md";
const BEGIN: &str = "<!-- clients: begin -->\n";
const END: &str = "<!-- clients: end -->";
const SNIPPET: &str = "<!-- snippet: ";
const UPDATE: &str = "SLUICE_UPDATE_DOCS";
const COLUMNS: &str = "| client | version | language | open | events | lines | UTF-8 | heartbeat | large | resume | cut inside an event | reset | close | reconnects | remarks |\n\
    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// One client's line of the table.
#[derive(Debug)]
pub struct Row {
    /// Its first cell, by which the page's line is found.
    head: String,
    /// Absent when it did not run.
    line: Option<String>,
}

impl Row {
    /// The line of a client whose whole way was gone just now: all steps held, but for its declared limits.
    pub fn of(client: &Client) -> Result<Row> {
        let cell = |limits: &[Limit], less: &'static str| {
            let less = limits
                .iter()
                .any(|limit| client.has(*limit))
                .then_some(less);
            less.unwrap_or("yes")
        };
        let cells = [
            cell(&[Limit::NoOpenCallback], "by `sluice.open`"),
            "yes",
            cell(
                &[
                    Limit::LeadingBlanksLost,
                    Limit::FirstEmptyLinesLost,
                    Limit::LastEmptyLinesLost,
                ],
                "in part",
            ),
            cell(&[Limit::ByteOrderMarkLost], "in part"),
            "yes",
            "yes",
            "yes",
            cell(&[Limit::CutEventLost], "**loses it**"),
            "yes",
            "yes",
        ];
        let mut remarks: Vec<&str> = client
            .limits
            .iter()
            .filter_map(|limit| words(*limit))
            .collect();
        remarks.extend((!client.remark.is_empty()).then_some(client.remark));
        let head = head(client);
        let line = format!(
            "{head} {} | {} | {} | {} | {} |\n",
            client.version()?,
            client.language.name(),
            cells.join(" | "),
            client.reconnects,
            remarks.join("; ")
        );
        Ok(Row {
            head,
            line: Some(line),
        })
    }

    /// The line of a client that did not run.
    pub fn absent(client: &Client) -> Row {
        Row {
            head: head(client),
            line: None,
        }
    }
}

fn head(client: &Client) -> String {
    format!("| `{}` |", client.name)
}

/// A limit in the table's words.
fn words(limit: Limit) -> Option<&'static str> {
    match limit {
        Limit::NoOpenCallback => None,
        Limit::LeadingBlanksLost => Some("takes all blanks off the beginning of a line of data"),
        Limit::FirstEmptyLinesLost => Some("loses empty lines at the beginning of data"),
        Limit::LastEmptyLinesLost => Some("loses empty lines at the end of data"),
        Limit::ByteOrderMarkLost => {
            Some("takes a byte order mark off the beginning of a line of data")
        }
        Limit::CutEventLost => {
            Some("takes the id before the event is whole, so that an event cut in half is lost")
        }
    }
}

/// The table of this run, for its output.
pub fn report(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        row.line
            .clone()
            .unwrap_or_else(|| format!("{} not run here |\n", row.head))
    });
    COLUMNS.to_owned() + &lines.collect::<String>()
}

/// Compares the page's table with the rows that ran, or, when asked to by `SLUICE_UPDATE_DOCS=1`, writes it.
pub fn compare_or_write(rows: &[Row]) -> Result<()> {
    let page = text()?;
    let (before, rest) = page.split_once(BEGIN).context("the table's beginning")?;
    let (table, after) = rest.split_once(END).context("the table's end")?;
    let kept = |row: &Row| {
        let line = table.lines().find(|line| line.starts_with(&row.head));
        line.map(|line| format!("{line}\n"))
    };
    let lines = rows
        .iter()
        .filter_map(|row| row.line.clone().or_else(|| kept(row)));
    let mut lines: Vec<String> = lines.collect();
    // In the roster's order, whoever ran.
    lines.sort_by_key(|line| {
        roster::CLIENTS
            .iter()
            .position(|client| line.starts_with(&head(client)))
    });
    let made = format!("{before}{BEGIN}{COLUMNS}{}{END}{after}", lines.concat());
    if variable(UPDATE).is_some_and(|value| value == "1") {
        fs::write(installed::root().join(PAGE), with_snippets(&made)?)?;
        return Ok(());
    }
    ensure!(
        made == page,
        "the table of {PAGE} is not what ran: renew it with `make clients-table`"
    );
    Ok(())
}

pub fn text() -> Result<String> {
    roster::read(PAGE)
}

pub fn snippet_marker(program: &str) -> String {
    format!("{SNIPPET}{program} -->")
}

/// The page with each snippet as its program has it now.
pub fn with_snippets(page: &str) -> Result<String> {
    let mut parts = page.split(SNIPPET);
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (program, rest) = part.split_once(" -->\n").context("a snippet's marker")?;
        let (fence, rest) = rest.split_once('\n').context("a snippet's fence")?;
        ensure!(fence.starts_with("```"), "{program}: a fence must follow");
        let (_, after) = rest.split_once("\n```\n").context("a snippet's end")?;
        made += &format!(
            "{}\n{fence}\n{}```\n{after}",
            snippet_marker(program),
            snippet(program)?
        );
    }
    Ok(made)
}

/// What stands between the marks of a program, moved to the left.
fn snippet(program: &str) -> Result<String> {
    let text = roster::read(&format!("tests/clients/programs/{program}"))?;
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.ends_with(" docs: begin"))
        .skip(1)
        .take_while(|line| !line.ends_with(" docs: end"))
        .collect();
    ensure!(!lines.is_empty(), "{program} marks no snippet");
    let indents = lines.iter().filter(|line| !line.is_empty());
    let indent = indents
        .map(|line| line.len() - line.trim_start().len())
        .min();
    let indent = indent.unwrap_or_default();
    let text: String = lines
        .iter()
        .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
        .collect();
    Ok(format!("{}\n", text.trim_matches('\n')))
}

/// A variable of the suite's own.
#[allow(
    clippy::disallowed_methods,
    reason = "the tests' own variable, not a setting of the gateway"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

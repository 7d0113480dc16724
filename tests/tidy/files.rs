//! Files are short enough to read, finished, and free of any machine.

use anyhow::Result;

use crate::{files, none, text};

/// A source file should be readable in one sitting.
const GOOD_LINES: usize = 300;
/// A source file must not be longer than this,
const MOST_LINES: usize = 450;
/// but for these, which may only shrink: path and most lines.
const LONG_FILES: [(&str, usize); 5] = [
    ("gateway/src/config/tests.rs", 500),
    ("gateway/src/hub/node.rs", 500),
    ("gateway/src/hub/chain.rs", 600),
    ("tests/src/checker.rs", 500),
    ("wire/src/event.rs", 550),
];
/// Leaving the list takes so much less, so that a file at the edge does not come and go.
const CLEARLY_SHORT_LINES: usize = 400;
const MOST_ARCHITECTURE_LINES: usize = 200;

/// Words that say that something is not finished; in two halves, so that this file is clean itself.
const OPEN_ENDS: [(&str, &str); 7] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("HA", "CK:"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
];
/// Paths that exist on one machine only.
const MACHINE_PATHS: [(&str, &str); 4] = [
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("/Us", "ers/"),
];

#[test]
fn files_are_short_enough_to_read() -> Result<()> {
    let mut complaints = Vec::new();
    let files = files()?;
    for (name, text) in &files {
        let lines = text.lines().count();
        let is_source = [".rs", ".lua", ".html"]
            .iter()
            .any(|end| name.ends_with(end));
        let allowed = LONG_FILES
            .iter()
            .find(|(path, _)| path == name)
            .map(|(_, most)| *most);
        if is_source && lines > GOOD_LINES {
            println!("{lines:>5}  {name}");
        }
        if is_source && lines > allowed.unwrap_or(MOST_LINES) {
            complaints.push(format!(
                "{name} has {lines} lines: part it by what its pieces own"
            ));
        }
        if allowed.is_some() && lines <= CLEARLY_SHORT_LINES {
            complaints.push(format!("{name} is short again: take it off LONG_FILES"));
        }
    }
    for (path, _) in LONG_FILES {
        if !files.contains_key(path) {
            complaints.push(format!("{path} is gone: take it off LONG_FILES"));
        }
    }
    let architecture = text("ARCHITECTURE.md")?.lines().count();
    if architecture > MOST_ARCHITECTURE_LINES {
        complaints.push(format!("ARCHITECTURE.md has {architecture} lines"));
    }
    none(&complaints);
    Ok(())
}

#[test]
fn nothing_is_left_open_and_no_path_of_a_machine_is_named() -> Result<()> {
    let mut complaints = Vec::new();
    for (name, text) in files()? {
        for (number, line) in text.lines().enumerate() {
            for (begin, end) in OPEN_ENDS.iter().chain(&MACHINE_PATHS) {
                if line.contains(&format!("{begin}{end}")) {
                    complaints.push(format!("{name}:{}: {begin}{end}", number + 1));
                }
            }
        }
    }
    none(&complaints);
    Ok(())
}

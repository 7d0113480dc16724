//! The repository is in order: files of a readable length, nothing left open, layers that look one way, and
//! documents that name only what the code has. It reads sources as text and runs nothing. (What clippy holds is not
//! repeated here.)

mod balancers;
mod book;
mod documents;
mod files;
mod layers;
mod limits;
mod reference;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// What is not part of the repository.
const FOREIGN: [&str; 4] = ["target", ".git", ".cache", "tests/browser/node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file of the repository that people write: path from the root, and text.
fn files() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(root())?.to_string_lossy().into_owned();
            if FOREIGN.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name != "Cargo.lock"
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.insert(name, text);
            }
        }
    }
    ensure!(
        found.contains_key("README.md"),
        "this is not the repository"
    );
    Ok(found)
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// The documents: every Markdown file.
fn documents() -> Result<BTreeMap<String, String>> {
    let mut files = files()?;
    files.retain(|name, _| name.ends_with(".md"));
    Ok(files)
}

/// What stands between backticks in a Markdown text, fenced blocks left out.
fn quoted(markdown: &str) -> BTreeSet<&str> {
    let prose = markdown.split("```").step_by(2);
    prose
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

/// Every longest run of `accepted` characters in `text` that begins with `prefix`.
fn words<'a>(text: &'a str, prefix: &str, accepted: fn(char) -> bool) -> BTreeSet<&'a str> {
    text.split(|c| !accepted(c))
        .filter(|word| word.starts_with(prefix))
        .collect()
}

/// Fails with all complaints, a line each.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

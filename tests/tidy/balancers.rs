//! docs/load-balancers.md names the settings of the files in deploy/lb: each is there. Pages of other origins may do there what
//! gateway/src/http/cors.rs lets them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::{files, none, text};

/// A load balancer's name on the page, and its folder in deploy/lb.
const FOLDERS: [(&str, &str); 4] = [
    ("nginx", "deploy/lb/nginx/"),
    ("HAProxy", "deploy/lb/haproxy/"),
    ("Envoy", "deploy/lb/envoy/"),
    ("Caddy", "deploy/lb/caddy/"),
];
/// Fewer rows than there were in the beginning mean that the table was not found.
const LEAST_SETTINGS: usize = 20;

/// The lines of all files in a folder that are no comments.
fn lines(folder: &str) -> Result<String> {
    let files = files()?;
    let of_folder = files.iter().filter(|(name, _)| name.starts_with(folder));
    let lines: Vec<&str> = of_folder
        .flat_map(|(_, text)| text.lines())
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    ensure!(!lines.is_empty(), "{folder} is empty");
    Ok(lines.join("\n"))
}

#[test]
fn settings_of_load_balancers_that_the_page_names_are_in_the_shipped_files() -> Result<()> {
    let page = text("docs/load-balancers.md")?;
    let (_, section) = page
        .split_once("## The settings that matter")
        .context("the section on settings")?;
    let (section, _) = section.split_once("\n## ").context("its end")?;
    let (mut complaints, mut count) = (Vec::new(), 0);
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some((name, folder)) = FOLDERS.iter().find(|(name, _)| cells[1] == *name) else {
            continue;
        };
        let shipped = lines(folder)?;
        for setting in cells[2].split('`').skip(1).step_by(2) {
            count += 1;
            if !shipped.contains(setting) {
                complaints.push(format!("{name}: {folder} does not say {setting}"));
            }
        }
    }
    none(&complaints);
    ensure!(count >= LEAST_SETTINGS, "{count} settings were found");
    Ok(())
}

/// A list of headers or methods, in any order and case.
fn list(words: &str) -> BTreeSet<String> {
    let words = words.split(',').map(|word| word.trim().to_lowercase());
    words.filter(|word| !word.is_empty()).collect()
}

/// The list that is the gateway's own constant `name`.
fn constant(name: &str) -> Result<BTreeSet<String>> {
    let source = text("gateway/src/http/cors.rs")?;
    let (_, rest) = source
        .split_once(&format!("const {name}: &str ="))
        .with_context(|| format!("cors.rs has no {name}"))?;
    let value = rest.split('"').nth(1).context("its text")?;
    Ok(list(value))
}

/// Each `key` in the shipped lines, with the list behind it: in quotes, or all that is left of the line.
fn lists(lines: &str, key: &str) -> Vec<BTreeSet<String>> {
    let found = lines
        .lines()
        .filter_map(|line| Some(line.split_once(key)?.1));
    let values = found.map(|rest| rest.split('"').nth(1).unwrap_or(rest));
    values.map(list).collect()
}

#[test]
fn pages_of_other_origins_may_do_through_a_load_balancer_what_they_may_at_a_node() -> Result<()> {
    for (key, name) in [
        ("allow_methods: ", "ALLOW_METHODS"),
        ("allow_headers: ", "ALLOW_HEADERS"),
        ("expose_headers: ", "EXPOSE_HEADERS"),
    ] {
        let found = lists(&lines("deploy/lb/envoy/")?, key);
        let wanted = [constant(name)?];
        ensure!(
            found == wanted,
            "Envoy: {key}{found:?}, and {wanted:?} at a node"
        );
    }
    let exposed = constant("EXPOSE_HEADERS")?;
    ensure!(
        exposed.contains("retry-after"),
        "{exposed:?} is not what it was"
    );
    for folder in ["deploy/lb/nginx/", "deploy/lb/haproxy/", "deploy/lb/caddy/"] {
        let lines = lines(folder)?;
        let found = lists(&lines, "Access-Control-Expose-Headers ");
        // Where credentials are let, an answer is given to a page.
        let answers = lists(&lines, "Access-Control-Allow-Credentials ").len();
        ensure!(
            found.len() == answers && answers > 0 && found.iter().all(|one| *one == exposed),
            "{folder}: {found:?} in {answers} answers, and {exposed:?} at a node"
        );
    }
    Ok(())
}

//! docs/limits.md has every limit: each setting with its default, each name that is counted, and for each a test; as
//! docs/security.md has for each threat.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::documents::defaults;
use crate::{files, none, quoted, text};

/// Settings of `[limits]` that say how a limit is held, not how much it is.
const NO_LIMITS: [&str; 2] = ["limits.subject_policy", "limits.subject_lease"];

/// What stands between backticks in one cell, in order.
fn quotes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The cells of every row of every table: settings, defaults, what, who is told what, metric, test.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").collect())
        .collect()
}

#[test]
fn documented_limits_are_those_of_the_settings() -> Result<()> {
    let page = text("docs/limits.md")?;
    let defaults = defaults()?;
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows(&page) {
        let (settings, given) = (row.first(), row.get(1));
        let settings = quotes(settings.context("a first cell")?);
        let given = quotes(given.context("a second cell")?);
        if settings.len() != given.len() || row.len() != 6 {
            complaints.push(format!(
                "six cells, and a default for each setting: {row:?}"
            ));
        }
        for (setting, given) in settings.into_iter().zip(given) {
            let default = defaults.get(setting).map(|text| text.trim_matches('"'));
            if default != Some(given) {
                complaints.push(format!("{setting} is {default:?}, not {given}"));
            }
            seen.insert(setting);
        }
    }
    for key in defaults.keys().filter(|key| key.starts_with("limits.")) {
        let named = seen.contains(key.as_str());
        let elsewhere = NO_LIMITS.contains(&key.as_str()) && quoted(&page).contains(key.as_str());
        if !named && !elsewhere {
            complaints.push(format!("docs/limits.md lacks {key}"));
        }
    }
    none(&complaints);
    Ok(())
}

#[test]
fn documented_limits_are_those_that_are_counted() -> Result<()> {
    let code = text("gateway/src/reasons.rs")?;
    let (_, names) = code.split_once("    LimitName {").context("the names")?;
    let (names, _) = names.split_once("\n    }").context("their end")?;
    let counted: BTreeSet<&str> = names
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let page = text("docs/limits.md")?;
    let hits = quoted(&page).into_iter().filter_map(|quote| {
        let name = quote.strip_prefix("sluice_limit_hits_total{limit=\"")?;
        name.strip_suffix("\"}")
    });
    assert_eq!(hits.collect::<BTreeSet<&str>>(), counted);
    Ok(())
}

#[test]
fn documented_limits_name_tests_that_exist() -> Result<()> {
    let page = text("docs/limits.md")?;
    let files = files()?;
    let mut complaints = Vec::new();
    for row in rows(&page) {
        let tests = row.last().map(|cell| quotes(cell)).unwrap_or_default();
        if tests.is_empty() {
            complaints.push(format!("no test: {row:?}"));
        }
        for test in tests {
            if !is_defined(test, &files) {
                complaints.push(format!("there is no test {test}"));
            }
        }
    }
    none(&complaints);
    Ok(())
}

/// The tables of docs/security.md have their tests in the last column.
#[test]
fn documented_threats_name_tests_that_exist() -> Result<()> {
    let page = text("docs/security.md")?;
    let files = files()?;
    let mut complaints = Vec::new();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let tests = cells.last().map(|cell| quotes(cell)).unwrap_or_default();
        let is_head = cells
            .last()
            .is_some_and(|cell| cell.trim() == "test" || cell.contains("---"));
        if tests.is_empty() && !is_head {
            complaints.push(format!("no test: {row}"));
        }
        let missing = tests.into_iter().filter(|test| !is_defined(test, &files));
        complaints.extend(missing.map(|test| format!("there is no test {test}")));
    }
    none(&complaints);
    Ok(())
}

fn is_defined(test: &str, files: &BTreeMap<String, String>) -> bool {
    let definition = format!("fn {test}(");
    files.values().any(|text| text.contains(&definition))
}

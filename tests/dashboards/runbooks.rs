//! Each alert is tested both ways and has a runbook; each runbook has an alert, and all of its parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};

use crate::{none, prometheus::rule_files, root};

const PARTS: [&str; 5] = [
    "What it means",
    "Whose fault",
    "How to look",
    "What to do",
    "When to ignore",
];
const URL: &str = "https://sluice.example/docs/runbooks/";

/// One alert: the lines of its rule, each a key and a value.
type Rule = BTreeMap<String, String>;

/// The value of `key` in a line such as `  - key: value`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim().trim_start_matches("- ");
    line.strip_prefix(key)?
        .strip_prefix(": ")
        .map(|value| value.trim_matches('"'))
}

fn alerts() -> Result<Vec<Rule>> {
    let mut alerts: Vec<Rule> = Vec::new();
    for path in rule_files()? {
        for line in fs::read_to_string(path)?.lines() {
            if value(line, "record").is_some() {
                ensure!(!line.contains("alert"), "{line}");
            }
            if let Some(name) = value(line, "alert") {
                alerts.push(Rule::from([("alert".to_owned(), name.to_owned())]));
            }
            for key in [
                "severity",
                "window",
                "summary",
                "description",
                "runbook_url",
            ] {
                if let (Some(value), Some(alert)) = (value(line, key), alerts.last_mut()) {
                    alert.insert(key.to_owned(), value.to_owned());
                }
            }
        }
    }
    ensure!(alerts.len() > 25, "only {} alerts", alerts.len());
    Ok(alerts)
}

/// The alerts that tests expect to fire, as name, severity and window; and those expected to be silent.
fn tested() -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(root().join("grafana/tests"))? {
        let text = fs::read_to_string(entry?.path())?;
        let mut name = String::new();
        for line in text.lines() {
            if let Some(of) = value(line, "alertname") {
                of.clone_into(&mut name);
            } else if value(line, "exp_alerts") == Some("[]") {
                silent.insert(name.clone());
            } else if let Some(labels) = value(line, "exp_labels") {
                let label = |key: &str| {
                    let labels = labels.trim_matches(['{', '}']).split(", ");
                    labels
                        .filter_map(|one| value(one, key))
                        .next()
                        .unwrap_or_default()
                };
                fires.insert(format!("{name} {} {}", label("severity"), label("window")));
            }
        }
    }
    Ok((fires, silent))
}

#[test]
fn every_alert_is_tested_for_firing_and_for_silence() -> Result<()> {
    let (fires, silent) = tested()?;
    let mut complaints = Vec::new();
    for alert in alerts()? {
        let of = |key: &str| alert.get(key).map(String::as_str).unwrap_or_default();
        let name = of("alert");
        let rule = format!("{name} {} {}", of("severity"), of("window"));
        if !fires.contains(&rule) {
            complaints.push(format!("no test sees {rule} fire"));
        }
        if !silent.contains(name) {
            complaints.push(format!("no test sees {name} silent"));
        }
    }
    none(&complaints)
}

#[test]
fn every_alert_says_what_is_wrong_and_where_its_runbook_is() -> Result<()> {
    let mut complaints = Vec::new();
    for alert in alerts()? {
        let of = |key: &str| alert.get(key).map(String::as_str).unwrap_or_default();
        let name = of("alert");
        if !["page", "ticket"].contains(&of("severity")) {
            complaints.push(format!("{name} has the severity {:?}", of("severity")));
        }
        for key in ["summary", "description"] {
            if of(key).is_empty() {
                complaints.push(format!("{name} has no {key}"));
            }
        }
        if of("runbook_url") != format!("{URL}{name}.html") {
            complaints.push(format!("{name} leads to {}", of("runbook_url")));
        }
    }
    none(&complaints)
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() -> Result<()> {
    let named: BTreeSet<String> = alerts()?
        .into_iter()
        .filter_map(|alert| Some(format!("{}.md", alert.get("alert")?)))
        .collect();
    let entries = fs::read_dir(root().join("docs/runbooks"))?;
    let mut written: BTreeSet<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    ensure!(
        written.remove("README.md"),
        "docs/runbooks has no README.md"
    );
    assert_eq!(named, written);

    let index = fs::read_to_string(root().join("docs/runbooks/README.md"))?;
    // `make docs` builds the pages that are in it, each as .html where it is as .md here.
    let site = fs::read_to_string(root().join("docs/SUMMARY.md"))?;
    let table = fs::read_to_string(root().join("docs/dashboards.md"))?;
    let mut complaints = Vec::new();
    for name in written {
        let text = fs::read_to_string(root().join("docs/runbooks").join(&name))?;
        complaints.extend(
            lacks(&text)
                .into_iter()
                .map(|lack| format!("{name} {lack}")),
        );
        let linked = format!("(runbooks/{name})");
        if !index.contains(&format!("({name})"))
            || !table.contains(&linked)
            || !site.contains(&linked)
        {
            complaints.push(format!("{name} is not listed"));
        }
    }
    none(&complaints)
}

/// What a runbook lacks of its parts.
fn lacks(text: &str) -> Vec<String> {
    let part = |title: &str| {
        let (_, rest) = text.split_once(&format!("\n## {title}\n"))?;
        rest.split("\n## ").next().map(str::trim)
    };
    let mut lacks: Vec<String> = PARTS
        .iter()
        .filter(|title| part(title).is_none_or(str::is_empty))
        .map(|title| format!("does not say: {title}"))
        .collect();
    if part("How to look").is_none_or(|look| !look.contains("```")) {
        lacks.push("has no command".to_owned());
    }
    lacks
}

#[test]
fn a_runbook_without_a_part_is_found_out() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/runbooks/SluiceRedisAway.md"))?;
    assert!(lacks(&text).is_empty());
    let (before, _) = text.split_once("\n## What to do").context("a runbook")?;
    assert_eq!(
        lacks(before),
        ["does not say: What to do", "does not say: When to ignore"]
    );
    Ok(())
}

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
/// How names of cases end in which nothing happens.
const IDLE: &str = "without traffic";
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

/// What a test expects of one alert.
#[derive(Default)]
struct Case {
    alert: String,
    /// Nothing happens in it, as its name says.
    idle: bool,
    /// The rules that fire, as name, severity and window.
    fires: BTreeSet<String>,
}

fn cases() -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for entry in fs::read_dir(root().join("grafana/tests"))? {
        let mut idle = false;
        for line in fs::read_to_string(entry?.path())?.lines() {
            if let Some(name) = value(line, "name") {
                idle = name.ends_with(IDLE);
            } else if let Some(alert) = value(line, "alertname") {
                let alert = alert.to_owned();
                let fires = BTreeSet::new();
                cases.push(Case { alert, idle, fires });
            } else if let (Some(labels), Some(case)) = (value(line, "exp_labels"), cases.last_mut())
            {
                let label = |key: &str| {
                    let mut labels = labels.trim_matches(['{', '}']).split(", ");
                    labels.find_map(|one| value(one, key)).unwrap_or_default()
                };
                let (severity, window) = (label("severity"), label("window"));
                let rule = format!("{} {severity} {window}", case.alert);
                case.fires.insert(rule);
            }
        }
    }
    ensure!(cases.len() > 100, "only {} cases", cases.len());
    Ok(cases)
}

/// What no case sees of an alert.
fn unseen(alert: &Rule, cases: &[Case]) -> Vec<String> {
    let of = |key: &str| alert.get(key).map(String::as_str).unwrap_or_default();
    let name = of("alert");
    let rule = format!("{name} {} {}", of("severity"), of("window"));
    let about: Vec<&Case> = cases.iter().filter(|case| case.alert == name).collect();
    let seen = |wanted: &dyn Fn(&Case) -> bool| about.iter().any(|case| wanted(case));
    let checks = [
        (seen(&|case| case.fires.contains(&rule)), "fire"),
        (
            seen(&|case| !case.idle && !case.fires.contains(&rule)),
            "silent although something happens",
        ),
        (
            seen(&|case| case.idle && case.fires.is_empty()),
            "silent without traffic",
        ),
    ];
    checks
        .into_iter()
        .filter(|(is_seen, _)| !is_seen)
        .map(|(_, what)| format!("no test sees {rule} {what}"))
        .collect()
}

#[test]
fn every_alert_is_tested_for_firing_and_for_silence() -> Result<()> {
    let cases = cases()?;
    let complaints: Vec<String> = alerts()?
        .iter()
        .flat_map(|alert| unseen(alert, &cases))
        .collect();
    none(&complaints)
}

#[test]
fn an_alert_without_a_case_is_found_out() -> Result<()> {
    let named = |alert: &Rule| {
        alert
            .get("alert")
            .is_some_and(|name| name == "SluiceRedisAway")
    };
    let alert = alerts()?.into_iter().find(named).context("the alert")?;
    let fault = |case: &Case| !case.idle && case.fires.is_empty();
    type Left = fn(&Case) -> bool;
    let kept: [(&str, Left); 3] = [
        ("fire", |case| case.fires.is_empty()),
        ("silent although something happens", |case| {
            case.idle || !case.fires.is_empty()
        }),
        ("silent without traffic", |case| !case.idle),
    ];
    ensure!(cases()?.iter().any(fault), "no case to leave out");
    for (lack, left) in kept {
        let cases: Vec<Case> = cases()?.into_iter().filter(left).collect();
        let rule = "SluiceRedisAway page ";
        assert_eq!(
            unseen(&alert, &cases),
            [format!("no test sees {rule} {lack}")]
        );
    }
    Ok(())
}

/// An alert whose metrics are not there is silent whatever it says: cases without traffic have those of all rules.
#[test]
fn cases_without_traffic_have_every_metric_of_the_rules() -> Result<()> {
    let mut complaints = Vec::new();
    for path in rule_files()? {
        let rules = fs::read_to_string(&path)?;
        let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
        let metrics: BTreeSet<&str> = words
            .filter(|word| {
                *word == "up" || word.starts_with("sluice_") || word.starts_with("process_")
            })
            .collect();
        ensure!(metrics.len() > 3, "only {metrics:?}");
        let name = path.file_name().context("a file's name")?;
        let tests = fs::read_to_string(root().join("grafana/tests").join(name))?;
        let idle: String = tests
            .split("\n  - name: ")
            .filter(|case| {
                let title = case.lines().next().unwrap_or_default();
                title.trim_matches('"').ends_with(IDLE)
            })
            .collect();
        for metric in metrics {
            if !idle.contains(&format!("'{metric}{{")) {
                complaints.push(format!("no case without traffic has {metric}"));
            }
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

//! What rules and dashboards ask labels for is what docs/metrics.md says they can be: a misspelt value matches nothing, for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};

use crate::{none, panels, prometheus::rule_files, root};

/// Labels whose values are no enumeration: who was scraped, and bounds of buckets.
const FREE: [&str; 8] = [
    "cluster",
    "namespace",
    "node",
    "job",
    "instance",
    "le",
    "version",
    "commit",
];
/// What a histogram's series end with.
const ENDS: [&str; 3] = ["_bucket", "_count", "_sum"];

/// The values that a metric's label can have.
type Values = BTreeMap<(String, String), BTreeSet<String>>;

/// The table "Label values" of docs/metrics.md, and the names of the objectives in what rules record.
fn listed() -> Result<Values> {
    let page = fs::read_to_string(root().join("docs/metrics.md"))?;
    let (_, table) = page
        .split_once("\n## Label values\n")
        .context("docs/metrics.md has no label values")?;
    let mut listed = Values::new();
    for line in table.lines().take_while(|line| !line.starts_with("## ")) {
        let mut words = line.split('`').skip(1).step_by(2);
        let head = words.next().and_then(|head| head.split_once('{'));
        if let Some((metric, label)) = head {
            let key = (metric.to_owned(), label.trim_end_matches('}').to_owned());
            listed.insert(key, words.map(str::to_owned).collect());
        }
    }
    ensure!(listed.len() > 15, "only {} labels are listed", listed.len());

    let (mut recorded, mut objectives) = (BTreeSet::new(), BTreeSet::new());
    for path in rule_files()? {
        for line in fs::read_to_string(path)?.lines().map(str::trim) {
            recorded.extend(line.strip_prefix("- record: ").map(str::to_owned));
            objectives.extend(line.strip_prefix("slo: ").map(str::to_owned));
        }
    }
    ensure!(objectives.len() == 3, "objectives: {objectives:?}");
    for metric in recorded {
        listed.insert((metric, "slo".to_owned()), objectives.clone());
    }
    Ok(listed)
}

/// Every selector of our metrics in a text: the metric, and what stands between its braces.
fn selectors(text: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (start, _) in text.match_indices("sluice") {
        let rest = &text[start..];
        let (metric, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        if let Some(inside) = rest.strip_prefix('{') {
            let mut quoted = false;
            let end = inside.find(|c| {
                quoted ^= c == '"';
                c == '}' && !quoted
            });
            found.push((metric, &inside[..end.unwrap_or(inside.len())]));
        }
    }
    found
}

/// The labels between braces, each with the text that it is held against.
fn matchers(inside: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = inside.split('"').collect();
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| {
            let label = pair[0].trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            (label, pair[1])
        })
        .collect()
}

/// Whether one alternative, with `.*` at one of its ends at most, is a value of the label.
fn is_value(alternative: &str, values: &BTreeSet<String>) -> bool {
    values.iter().any(|value| {
        if let Some(end) = alternative.strip_prefix(".*") {
            value.ends_with(end)
        } else if let Some(start) = alternative.strip_suffix(".*") {
            value.starts_with(start)
        } else {
            value == alternative
        }
    })
}

/// What selectors of a text ask for and never get; and how many values were held against the list.
fn wrong(text: &str, listed: &Values) -> (usize, Vec<String>) {
    let (mut held, mut wrong) = (0, Vec::new());
    for (series, inside) in selectors(text) {
        let ends = ENDS.iter().filter_map(|end| series.strip_suffix(end));
        let metrics: Vec<&str> = ends.chain([series]).collect();
        for (label, asked) in matchers(inside) {
            if FREE.contains(&label) {
                continue;
            }
            let key = |metric: &&str| listed.get(&((*metric).to_owned(), label.to_owned()));
            let Some(values) = metrics.iter().find_map(key) else {
                wrong.push(format!("{series} has no label {label}"));
                continue;
            };
            for alternative in asked.split('|') {
                held += 1;
                if !is_value(alternative, values) {
                    wrong.push(format!("{series} has no {label}={alternative:?}"));
                }
            }
        }
    }
    (held, wrong)
}

#[test]
fn rules_and_dashboards_ask_for_label_values_that_there_are() -> Result<()> {
    let listed = listed()?;
    let mut complaints = Vec::new();
    for path in rule_files()? {
        let (held, wrong) = wrong(&fs::read_to_string(&path)?, &listed);
        ensure!(held > 5, "only {held} values in {}", path.display());
        complaints.extend(wrong);
    }
    let mut all = 0;
    for name in panels::NAMES {
        let dashboard = panels::load(name)?;
        for panel in panels::panels(&dashboard) {
            for query in panels::queries(panel) {
                let (held, wrong) = wrong(query, &listed);
                all += held;
                let of = panels::name(&dashboard, panel);
                complaints.extend(wrong.into_iter().map(|wrong| format!("{of}: {wrong}")));
            }
        }
    }
    ensure!(all > 15, "only {all} values in dashboards");
    none(&complaints)
}

#[test]
fn a_misspelt_value_or_label_is_found_out() -> Result<()> {
    let listed = listed()?;
    let right = r#"sum(rate(sluice_resets_told_total{cluster="eu", reason=~"rollback|failover"}[5m]))
        / sluice_redis_command_duration_seconds_count{class!="publish"} > sluice_limit{limit=~".*_in_flight"}
        and sluice:slo_failures:ratio5m{slo="delivery-latency"}"#;
    assert_eq!(wrong(right, &listed), (5, Vec::new()));
    for (good, bad, complaint) in [
        (
            "failover",
            "fail_over",
            "sluice_resets_told_total has no reason=\"fail_over\"",
        ),
        (
            "reason=~",
            "reasons=~",
            "sluice_resets_told_total has no label reasons",
        ),
        (
            "\"publish\"",
            "\"publishing\"",
            "sluice_redis_command_duration_seconds_count has no class=\"publishing\"",
        ),
        (
            ".*_in_flight",
            ".*_inflight",
            "sluice_limit has no limit=\".*_inflight\"",
        ),
        (
            "delivery-latency",
            "latency",
            "sluice:slo_failures:ratio5m has no slo=\"latency\"",
        ),
    ] {
        assert_eq!(wrong(&right.replace(good, bad), &listed).1, [complaint]);
    }
    Ok(())
}

//! Whether queries are answered: by numbers, from metrics that a node exports or a rule records.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;
use sluice_e2e::{http, node::Node};

use crate::{
    panels::{self, list, text},
    prometheus::Prometheus,
};

/// What Grafana puts in place of its variables, here.
const VARIABLES: [(&str, &str); 6] = [
    ("$__rate_interval", "10s"),
    ("$__interval", "5s"),
    ("$__range", "60s"),
    ("$cluster", "eu"),
    ("$namespace", "prod"),
    ("$node", ".*"),
];
/// Made by Prometheus itself.
const BUILT_IN: [&str; 2] = ["up", "ALERTS"];
/// Prefixes of names that must be metrics.
const OURS: [&str; 3] = ["sluice_", "sluice:", "process_"];

/// The names that a query may use.
pub async fn known_metrics(prometheus: &Prometheus, nodes: &[Node]) -> Result<BTreeSet<String>> {
    let mut known: BTreeSet<String> = BUILT_IN.map(str::to_owned).into();
    for node in nodes {
        let scrape = http::get(node.admin(), "/metrics").await?.body;
        let samples = scrape.lines().filter(|line| !line.starts_with('#'));
        known.extend(samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())));
    }
    for rule in rules(prometheus).await? {
        if rule["type"] == "recording" {
            known.insert(text(&rule["name"]).to_owned());
        }
    }
    Ok(known)
}

/// All rules as Prometheus has loaded and evaluated them.
pub async fn rules(prometheus: &Prometheus) -> Result<Vec<Value>> {
    let groups = prometheus.api("rules", &[]).await?;
    let rules = list(&groups["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]));
    Ok(rules.cloned().collect())
}

/// Names in a query that look like ours and that nobody exports.
pub fn unknown<'a>(query: &'a str, known: &BTreeSet<String>) -> Vec<&'a str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    words
        .filter(|word| OURS.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !known.contains(*word))
        .collect()
}

/// A query as Grafana would send it.
pub fn substituted(query: &str) -> String {
    VARIABLES
        .iter()
        .fold(query.to_owned(), |query, (variable, value)| {
            query.replace(variable, value)
        })
}

/// What is wrong with the answers to a dashboard's queries, and how many were asked.
pub async fn complaints(
    prometheus: &Prometheus,
    dashboard: &Value,
    known: &BTreeSet<String>,
    seconds: u64,
) -> (usize, Vec<String>) {
    let (mut asked, mut complaints) = (0, Vec::new());
    let mut risen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let annotations = list(&dashboard["annotations"]["list"]).iter();
    let mut all: Vec<(String, &Value, bool)> = annotations
        .map(|one| {
            let name = format!("{}: annotation", text(&dashboard["uid"]));
            (name, one, false)
        })
        .collect();
    for panel in panels::panels(dashboard) {
        let may_be_empty = panel.get("mayBeEmpty").is_some();
        let targets = list(&panel["targets"]).iter();
        all.extend(targets.map(|target| (panels::name(dashboard, panel), target, may_be_empty)));
    }
    for (name, target, may_be_empty) in all {
        let query = text(&target["expr"]);
        asked += 1;
        for word in unknown(query, known) {
            complaints.push(format!("{name}: no node exports {word}"));
        }
        let query = substituted(query);
        let wrong = match prometheus.lately(&query, seconds).await {
            Ok(series) => {
                let legends = risen.entry(name.clone()).or_default();
                let format = text(&target["legendFormat"]);
                legends.extend(rising(&series).map(|one| legend(format, &one["metric"])));
                not_numbers(&series, may_be_empty)
            }
            Err(error) => Some(format!("{error:#}")),
        };
        complaints.extend(wrong.map(|wrong| format!("{name}: {wrong}: {query}")));
    }
    for panel in panels::panels(dashboard) {
        let name = panels::name(dashboard, panel);
        let lines = risen.remove(&name).unwrap_or_default();
        let flat = unrisen(&panel["provoked"], &lines).into_iter();
        complaints.extend(flat.map(|line| format!("{name}: {line} stays at 0, and was provoked")));
    }
    (asked, complaints)
}

/// What a panel's mark says is provoked and is not among the lines that rose: any line at all, or those of a list.
fn unrisen(mark: &Value, risen: &BTreeSet<String>) -> Vec<String> {
    let is_flat = |legend: &&str| !legend.split('|').any(|either| risen.contains(either));
    match mark {
        Value::Null => Vec::new(),
        Value::Bool(true) if risen.is_empty() => vec!["all of it".to_owned()],
        Value::Bool(true) => Vec::new(),
        Value::Array(legends) if !legends.is_empty() => {
            let flat = legends.iter().map(text).filter(is_flat);
            flat.map(|legend| format!("{legend:?}")).collect()
        }
        Value::Bool(false)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => vec![format!("{mark}, which is no mark,")],
    }
}

/// The series with a value above 0.
fn rising(series: &[Value]) -> impl Iterator<Item = &Value> {
    let above = |value: &Value| {
        let number = text(&value[1]).parse::<f64>();
        number.is_ok_and(|number| number > 0.0)
    };
    series
        .iter()
        .filter(move |one| list(&one["values"]).iter().any(above))
}

/// How Grafana calls a series.
fn legend(format: &str, labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    labels.fold(format.to_owned(), |legend, (name, value)| {
        legend.replace(&format!("{{{{{name}}}}}"), text(value))
    })
}

/// Why an answer is none, if so: there is no series, or one that is not made of finite numbers.
pub fn not_numbers(series: &[Value], may_be_empty: bool) -> Option<String> {
    if series.is_empty() && !may_be_empty {
        return Some("empty".to_owned());
    }
    for one in series {
        let values = list(&one["values"]).iter().chain(one.get("value"));
        for value in values {
            let number: f64 = text(&value[1]).parse().unwrap_or(f64::NAN);
            if !number.is_finite() {
                return Some(format!("{} in {}", value[1], one["metric"]));
            }
        }
    }
    None
}

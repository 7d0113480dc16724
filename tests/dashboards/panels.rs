//! Dashboards as Grafana reads them: their panels however deep, and what every panel must have.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::root;

pub const NAMES: [&str; 6] = [
    "sluice-overview",
    "sluice-delivery",
    "sluice-connections",
    "sluice-redis",
    "sluice-nodes",
    "sluice-capacity",
];
const DATASOURCE: &str = "${datasource}";
const VARIABLES: [&str; 4] = ["datasource", "cluster", "namespace", "node"];
const GRID: u64 = 24;
/// A description shorter than this says nothing.
const LEAST_DESCRIPTION: usize = 25;

/// One dashboard as it is in the tree.
pub fn load(name: &str) -> Result<Value> {
    let path = root().join(format!("grafana/dashboards/{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// Every panel that shows something; rows are opened.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in list(&dashboard["panels"]) {
        if panel["type"] == "row" {
            found.extend(list(&panel["panels"]));
        } else {
            found.push(panel);
        }
    }
    found
}

/// The queries of a panel.
pub fn queries(panel: &Value) -> Vec<&str> {
    list(&panel["targets"])
        .iter()
        .filter_map(|target| target["expr"].as_str())
        .collect()
}

/// How a panel is called in a complaint.
pub fn name(dashboard: &Value, panel: &Value) -> String {
    let (uid, title) = (text(&dashboard["uid"]), text(&panel["title"]));
    format!("{uid}: {title:?}")
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a dashboard lacks, to be read and to work with any datasource.
pub fn lacks(dashboard: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for panel in panels(dashboard) {
        let name = name(dashboard, panel);
        complaints.extend(
            panel_lacks(panel)
                .into_iter()
                .map(|lack| format!("{name} {lack}")),
        );
    }
    let variables: BTreeSet<&str> = list(&dashboard["templating"]["list"])
        .iter()
        .map(|variable| text(&variable["name"]))
        .collect();
    let uid = text(&dashboard["uid"]);
    for variable in VARIABLES {
        if !variables.contains(variable) {
            complaints.push(format!("{uid} lacks the variable {variable}"));
        }
    }
    let annotations = list(&dashboard["annotations"]["list"]);
    if !annotations
        .iter()
        .any(|one| text(&one["expr"]).contains("sluice_build_info"))
    {
        complaints.push(format!("{uid} does not mark nodes that start"));
    }
    if list(&dashboard["links"]).is_empty() {
        complaints.push(format!("{uid} does not lead to the others"));
    }
    complaints.extend(misplaced(dashboard));
    complaints
}

fn panel_lacks(panel: &Value) -> Vec<&'static str> {
    let defaults = &panel["fieldConfig"]["defaults"];
    let targets = list(&panel["targets"]);
    let is_free = |source: &Value| source["uid"] == DATASOURCE && source["type"] == "prometheus";
    let checks = [
        (!text(&panel["title"]).is_empty(), "has no title"),
        (
            text(&panel["description"]).len() >= LEAST_DESCRIPTION,
            "has no description",
        ),
        (!text(&defaults["unit"]).is_empty(), "has no unit"),
        (
            !list(&defaults["thresholds"]["steps"]).is_empty(),
            "has no thresholds",
        ),
        (!queries(panel).is_empty(), "asks nothing"),
        (
            is_free(&panel["datasource"]) && targets.iter().all(|one| is_free(&one["datasource"])),
            "names a datasource of its own",
        ),
        (
            panel
                .get("mayBeEmpty")
                .is_none_or(|why| text(why).len() > 10),
            "may be empty and does not say why",
        ),
    ];
    checks
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, lack)| lack)
        .collect()
}

/// Panels that share a number, reach beyond the grid, or lie upon each other.
fn misplaced(dashboard: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(dashboard) {
        let name = name(dashboard, panel);
        if !ids.insert(panel["id"].as_u64()) {
            complaints.push(format!("{name} shares its id"));
        }
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap_or(GRID + 1);
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        if x + w > GRID {
            complaints.push(format!("{name} reaches beyond the grid"));
        }
        let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        if cells.filter(|cell| !taken.insert(*cell)).count() > 0 {
            complaints.push(format!("{name} lies upon another"));
        }
    }
    complaints
}

//! Dashboards, rules and runbooks are true: a real Prometheus that watches real nodes under load and faults answers every query,
//! and what is written in several places is the same in all.

mod answers;
mod files;
mod labels;
mod panels;
mod pictures;
mod play;
mod prometheus;
mod runbooks;
mod strangers;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::{
    installed,
    lab::{self, Lab, Weight},
    node::Node,
    wait,
};

use play::Play;
use prometheus::Prometheus;

const LIMIT: Duration = Duration::from_secs(240);
/// How far back the panels look: the whole play.
const LOOK_BACK: u64 = 240;
const SCRAPED: Duration = Duration::from_secs(20);

fn root() -> PathBuf {
    installed::root()
}

/// Fails with all complaints, a line each.
fn none(complaints: &[String]) -> Result<()> {
    ensure!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    Ok(())
}

/// Nodes, load and faults, all of it seen by a Prometheus.
async fn played(lab: &Lab) -> Result<(Play, Prometheus)> {
    let (mut play, prometheus) = Play::begin(lab).await?;
    play.all_faults(&prometheus).await?;
    let scraped = "sum(up) == 3 and sum(sluice_ready) == 3";
    for query in [scraped, "sluice:error_budget_left:ratio30d"] {
        wait::until(SCRAPED, query, async || {
            Ok((!prometheus.now(query).await?.is_empty()).then_some(()))
        })
        .await?;
    }
    Ok((play, prometheus))
}

#[tokio::test]
async fn every_panel_and_every_rule_is_answered_under_load_and_faults() {
    lab::run(Weight::Heavy, LIMIT, async |lab| {
        let (play, prometheus) = played(lab).await?;
        let known = answers::known_metrics(&prometheus, &play.nodes).await?;
        let mut complaints = Vec::new();
        for name in panels::NAMES {
            let dashboard = panels::load(name)?;
            let (asked, wrong) =
                answers::complaints(&prometheus, &dashboard, &known, LOOK_BACK).await;
            ensure!(asked > 10, "only {asked} queries in {name}");
            complaints.extend(wrong);
        }
        complaints.extend(rules_that_fail(&prometheus, &known).await?);
        none(&complaints)?;
        faults_were_alerted(&prometheus).await?;
        variables_find_what_there_is(&prometheus, &play.nodes).await?;
        broken_dashboards_are_found_out(&prometheus, &known).await
    })
    .await;
}

/// Every rule is evaluated without an error, from metrics that there are, and what is recorded is numbers.
async fn rules_that_fail(prometheus: &Prometheus, known: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    let rules = answers::rules(prometheus).await?;
    ensure!(rules.len() > 50, "only {} rules were loaded", rules.len());
    for rule in rules {
        let (name, query) = (panels::text(&rule["name"]), panels::text(&rule["query"]));
        if rule["health"] != "ok" {
            complaints.push(format!("{name}: {}", rule["lastError"]));
        }
        for word in answers::unknown(query, known) {
            complaints.push(format!("{name}: no node exports {word}"));
        }
        if rule["type"] == "recording" {
            let series = prometheus.now(name).await?;
            complaints.extend(
                answers::not_numbers(&series, false).map(|wrong| format!("{name}: {wrong}")),
            );
        }
    }
    Ok(complaints)
}

/// One of the alerts that these faults are about has no waiting time, and has fired. (That another was waiting, the play saw.)
async fn faults_were_alerted(prometheus: &Prometheus) -> Result<()> {
    let alert = "ALERTS{alertname=\"SluiceResetsTold\", alertstate=\"firing\"}";
    let fired = prometheus
        .now(&format!("count_over_time({alert}[{LOOK_BACK}s])"))
        .await?;
    ensure!(!fired.is_empty(), "a reset was told and nobody was");
    Ok(())
}

/// What the variables of a dashboard offer: the deployment, and each node by its name or address.
async fn variables_find_what_there_is(prometheus: &Prometheus, nodes: &[Node]) -> Result<()> {
    let offered = prometheus
        .api("label/node/values", &[("match[]", "sluice_build_info")])
        .await?;
    let offered: BTreeSet<&str> = panels::list(&offered).iter().map(panels::text).collect();
    let first = nodes[0].admin().to_string();
    ensure!(
        offered == BTreeSet::from([first.as_str(), "n1", "n2"]),
        "nodes on offer: {offered:?}"
    );
    Ok(())
}

type Break = fn(&mut Value);

/// The verifier is no friend: each way to break a dashboard is found, and is the only thing that is.
async fn broken_dashboards_are_found_out(
    prometheus: &Prometheus,
    known: &BTreeSet<String>,
) -> Result<()> {
    let breaks: [(&str, Break); 11] = [
        ("no node exports sluice_conections", |panel| {
            panel["targets"][0]["expr"] = json!("sum(sluice_conections{node=~\"$node\"})");
        }),
        ("empty", |panel| {
            panel["targets"][0]["expr"] = json!("sum(sluice_connections{node=\"nobody\"})");
        }),
        ("NaN", |panel| {
            panel["targets"][0]["expr"] = json!("0 * sum(sluice_connections) / 0")
        }),
        ("stays at 0", |panel| {
            panel["provoked"] = json!(true);
            for target in panel["targets"].as_array_mut().into_iter().flatten() {
                target["expr"] = json!("0 * sum(sluice_connections)");
            }
        }),
        ("\"ended|closed\" stays at 0", |panel| {
            panel["provoked"] = json!(["opened", "ended|closed"]);
            panel["targets"][1]["expr"] = json!("0 * sum(sluice_connections)");
        }),
        ("parse error", |panel| {
            panel["targets"][0]["expr"] = json!("sum(sluice_connections")
        }),
        ("asks nothing", |panel| panel["targets"] = json!([])),
        ("has no unit", |panel| {
            panel["fieldConfig"]["defaults"]["unit"] = json!("");
        }),
        ("has no description", |panel| {
            panel["description"] = json!("Streams.")
        }),
        ("has no thresholds", |panel| {
            panel["fieldConfig"]["defaults"]["thresholds"] = json!(null);
        }),
        ("names a datasource of its own", |panel| {
            panel["targets"][0]["datasource"]["uid"] = json!("prometheus");
        }),
    ];
    for (complaint, broken) in breaks {
        let mut dashboard = panels::load("sluice-connections")?;
        let panel = panels::list(&dashboard["panels"])
            .iter()
            .position(|panel| panel["title"] == "Opened and ended")
            .context("the panel to break")?;
        broken(&mut dashboard["panels"][panel]);
        let mut found = panels::lacks(&dashboard);
        found.extend(
            answers::complaints(prometheus, &dashboard, known, LOOK_BACK)
                .await
                .1,
        );
        ensure!(
            found.iter().any(|one| one.contains(complaint))
                && found.iter().all(|one| one.contains("\"Opened and ended\"")),
            "a panel that {complaint:?} should tell of: {found:?}"
        );
    }
    Ok(())
}

//! What needs no running node: dashboards are what their sources make, panels are whole, rules pass promtool, and every metric
//! that there is has its place.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{none, panels, root};

/// Runs a program in `folder` of the repository and gives what it wrote; fails with that when it fails.
fn run(folder: &str, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root().join(folder))
        .output()
        .with_context(|| format!("{program}: is it installed? (make setup)"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}:\n{text}");
    Ok(text)
}

fn files(folder: &str) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(root().join(folder))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

#[test]
fn dashboards_are_what_their_sources_make() -> Result<()> {
    let made = tempfile::tempdir()?;
    let folder = made.path().to_string_lossy().into_owned();
    run(
        ".",
        "jsonnet",
        &["--multi", &folder, "grafana/src/main.jsonnet"],
    )?;
    let named: BTreeSet<String> = panels::NAMES.map(|name| format!("{name}.json")).into();
    assert_eq!(files("grafana/dashboards")?, named);
    for name in named {
        let rendered = fs::read_to_string(Path::new(&folder).join(&name))?;
        let kept = fs::read_to_string(root().join("grafana/dashboards").join(&name))?;
        ensure!(
            rendered == kept,
            "grafana/dashboards/{name} is not what grafana/src makes: run `make dashboards`"
        );
    }
    Ok(())
}

#[test]
fn every_panel_is_described_and_works_with_any_datasource() -> Result<()> {
    let mut complaints = Vec::new();
    let mut all = 0;
    for name in panels::NAMES {
        let dashboard = panels::load(name)?;
        assert_eq!(dashboard["uid"], name);
        all += panels::panels(&dashboard).len();
        complaints.extend(panels::lacks(&dashboard));
    }
    ensure!(all > 80, "only {all} panels");
    none(&complaints)
}

#[test]
fn few_panels_may_be_empty() -> Result<()> {
    let mut marked = Vec::new();
    for name in panels::NAMES {
        let dashboard = panels::load(name)?;
        for panel in panels::panels(&dashboard) {
            if panel.get("mayBeEmpty").is_some() {
                marked.push(panels::name(&dashboard, panel));
            }
        }
    }
    ensure!(marked.len() <= 2, "{marked:?} may be empty");
    Ok(())
}

/// Counters begin at 0, which is an answer: panels of faults that the play provokes must show more.
#[test]
fn panels_of_faults_that_the_play_provokes_are_marked() -> Result<()> {
    let mut marked = Vec::new();
    for name in panels::NAMES {
        let dashboard = panels::load(name)?;
        for panel in panels::panels(&dashboard) {
            if panel.get("provoked").is_some() {
                marked.push(panels::name(&dashboard, panel));
            }
        }
    }
    ensure!(marked.len() >= 25, "only {marked:?} are marked");
    Ok(())
}

#[test]
fn rules_and_configuration_pass_promtool() -> Result<()> {
    run(
        "grafana",
        "promtool",
        &[
            "check",
            "rules",
            "--lint=all",
            "--lint-fatal",
            "rules/sluice-alerts.yaml",
            "rules/sluice-slo.yaml",
        ],
    )?;
    let told = run(
        "grafana",
        "promtool",
        &["check", "config", "prometheus.yaml"],
    )?;
    ensure!(told.contains("2 rule files found"), "{told}");
    Ok(())
}

#[test]
fn alerts_fire_and_stay_silent_as_tested() -> Result<()> {
    let tests = files("grafana/tests")?;
    assert_eq!(files("grafana/rules")?, tests);
    let paths: Vec<String> = tests.iter().map(|name| format!("tests/{name}")).collect();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(paths.iter().map(String::as_str));
    run("grafana", "promtool", &arguments)?;
    Ok(())
}

/// Every metric of docs/metrics.md is in a dashboard or a rule.
#[test]
fn every_metric_is_shown_somewhere() -> Result<()> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let page = fs::read_to_string(root().join("docs/metrics.md"))?;
    let metrics: BTreeSet<&str> = page
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("sluice_") || word.starts_with("process_"))
        .filter(|word| *word != "process_")
        .collect();
    ensure!(metrics.len() > 40, "only {} metrics", metrics.len());
    let mut shown = String::new();
    for name in panels::NAMES {
        for panel in panels::panels(&panels::load(name)?) {
            shown += &panels::queries(panel).join(" ");
        }
    }
    for rules in crate::prometheus::rule_files()? {
        shown += &fs::read_to_string(rules)?;
    }
    let words: BTreeSet<&str> = shown.split(|c| !is_name(c)).collect();
    let missing: Vec<String> = metrics
        .iter()
        .filter(|metric| {
            !["", "_bucket", "_count"]
                .iter()
                .any(|end| words.contains(format!("{metric}{end}").as_str()))
        })
        .map(|metric| format!("{metric} is in no dashboard and no rule"))
        .collect();
    none(&missing)
}

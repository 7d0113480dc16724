//! deploy/systemd, before systemd's own judge: `systemd-analyze` runs without systemd being in charge of the machine.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{installed, lab::Lab};
use tokio::process::Command;

use crate::tools::{self, run};

const UNITS: [&str; 2] = ["sluice-gateway.service", "sluice-gateway@.service"];
/// What `systemd-analyze security` calls exposure, in tenths: 0 to 100. The units have 12.
const MOST_EXPOSURE: &str = "15";
/// What a node may need beyond its drain window.
const MARGIN: Duration = Duration::from_secs(10);
const PROGRAM: &str = "/usr/local/bin/sluice-gateway";

fn text(name: &str) -> Result<String> {
    let path = installed::root().join("deploy/systemd").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The lines `Name=value` of a unit; a name that stands several times has its values joined.
fn directives(unit: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in unit.lines().filter_map(|line| line.split_once('=')) {
        let values = found.entry(name.to_owned()).or_default();
        values.push_str(value);
        values.push(' ');
    }
    found.retain(|name, _| !name.starts_with('#'));
    found
}

/// A default of the gateway, in seconds.
pub fn default_seconds(key: &str) -> Result<u64> {
    let defaults = fs::read_to_string(installed::root().join("gateway/src/defaults.toml"))?;
    let line = defaults
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key} = \"")))
        .with_context(|| format!("defaults.toml has no {key}"))?;
    Ok(line.trim_end_matches("s\"").parse()?)
}

/// Copies the units, with the program that was built in place of the installed one.
fn copies(dir: &Path) -> Result<()> {
    let built = installed::built()?.join("sluice-gateway");
    for name in UNITS {
        let unit = text(name)?;
        ensure!(unit.contains(&format!("ExecStart={PROGRAM}\n")), "{name}");
        fs::write(
            dir.join(name),
            unit.replace(PROGRAM, &built.display().to_string()),
        )?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs systemd-analyze: scripts/deploy-validate installs it and runs this"]
async fn systemd_finds_nothing_wrong_with_the_units() -> Result<()> {
    let lab = Lab::new()?;
    copies(lab.dir())?;
    for name in UNITS {
        let instance = lab.dir().join(name.replace('@', "@1"));
        if name.contains('@') {
            fs::copy(lab.dir().join(name), &instance)?;
        }
        let path = instance.display().to_string();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", &path]);
        let said = tools::ended(command).await?;
        // It also ends with 0 over a word that it does not know, which it only names.
        ensure!(
            said.code == Some(0) && said.error.is_empty(),
            "{name}: {said:?}"
        );

        let spoilt = fs::read_to_string(&instance)?.replace("ProtectSystem=", "ProtectSytem=");
        fs::write(&instance, spoilt)?;
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", &path]);
        let said = tools::ended(command).await?;
        ensure!(
            said.error.contains("ProtectSytem"),
            "a misspelt word was let through: {said:?}"
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs systemd-analyze: scripts/deploy-validate installs it and runs this"]
async fn the_units_leave_little_open() -> Result<()> {
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    for name in UNITS {
        let path = format!("deploy/systemd/{name}");
        let words = ["security", "--offline=yes", &threshold, "--no-pager", &path];
        let said = run("systemd-analyze", &words).await?;
        let level = said.lines().find(|line| line.contains("Overall exposure"));
        println!("{name}: {}", level.context("no level")?.trim());
    }
    Ok(())
}

#[test]
fn a_node_has_time_to_drain_before_systemd_kills_it() -> Result<()> {
    let drain = Duration::from_secs(default_seconds("deadline")?);
    for name in UNITS {
        let unit = directives(&text(name)?);
        let stop = unit.get("TimeoutStopSec").context("TimeoutStopSec")?;
        let stop = Duration::from_secs(stop.trim().parse()?);
        ensure!(
            stop >= drain + MARGIN,
            "{name}: {stop:?} for a drain of {drain:?}"
        );
        ensure!(
            unit["KillSignal"].trim() == "SIGTERM",
            "{name}: {}",
            unit["KillSignal"]
        );
        // The exit code of a bad configuration (docs/install.md): starting again would not help.
        ensure!(unit["RestartPreventExitStatus"].trim() == "64");
    }
    Ok(())
}

/// The two units differ in nothing but how they are numbered.
#[test]
fn the_template_is_hardened_as_the_single_unit_is() -> Result<()> {
    let single = directives(&text(UNITS[0])?);
    let mut template = directives(&text(UNITS[1])?);
    for name in ["Environment", "EnvironmentFile", "Description"] {
        template.remove(name);
    }
    for (name, value) in &template {
        ensure!(single.get(name) == Some(value), "{name} differs: {value}");
    }
    ensure!(
        template.len() + 2 == single.len(),
        "the template lacks something"
    );
    Ok(())
}

/// The example of the environment file, with its secret filled in, starts a gateway; as it comes, it is refused.
#[tokio::test]
async fn the_example_of_the_environment_lacks_only_its_secret() -> Result<()> {
    for (secret, code) in [("", 64), ("0123456789abcdef0123456789abcdef", 0)] {
        let mut command = Command::new(installed::built()?.join("sluice-gateway"));
        command.arg("--check-config");
        let file = text("gateway.env")?;
        for (name, value) in file.lines().filter_map(|line| line.split_once('=')) {
            if name.starts_with("SLUICE__") {
                command.env(name, value);
            }
        }
        if !secret.is_empty() {
            command.env("SLUICE__AUTH__JWT__SECRET", secret);
        }
        let ended = tools::ended(command).await?;
        ensure!(
            ended.code == Some(code),
            "with the secret {secret:?}: {ended:?}"
        );
        ensure!(code == 0 || ended.error.contains("auth.jwt"), "{ended:?}");
    }
    Ok(())
}

//! deploy/compose/compose.yaml, as Compose itself reads it (`config` asks no engine), profile by profile.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{installed, lab::Lab, nginx};
use tokio::{process::Command, time::timeout};

use crate::{
    tools::{self, Ended, sluice},
    units::default_seconds,
};

const FILE: &str = "deploy/compose/compose.yaml";
const GATEWAYS: [&str; 3] = ["gateway-1", "gateway-2", "gateway-3"];
/// Each profile, and what it has besides Redis and the gateways.
const PROFILES: [(&str, &[&str]); 5] = [
    ("core", &[]),
    ("lb", &["nginx"]),
    ("obs", &["grafana", "prometheus"]),
    ("load", &["nginx", "publisher", "reader"]),
    ("validated", &["doctor", "nginx"]),
];
/// What ends by itself, or has nothing to be asked for.
const WITHOUT_CHECK: [&str; 3] = ["publisher", "reader", "doctor"];
/// What has its healthcheck in its image; tests/deploy/image.rs runs that.
const CHECKED_BY_IMAGE: [&str; 3] = GATEWAYS;
/// A publisher that has not ended by then waits for Redis to come.
const GOES_ON: Duration = Duration::from_secs(5);
/// What a node may need beyond its drain window.
const MARGIN: u64 = 10;

/// Compose as scripts/setup installs it, or the machine's own.
fn program() -> Result<PathBuf> {
    let ours = installed::target()?.join("tools/docker-compose");
    Ok(if ours.is_file() {
        ours
    } else {
        "docker-compose".into()
    })
}

async fn config(file: &Path, profile: &str) -> Result<Ended> {
    let mut command = Command::new(program()?);
    command
        .args(["--project-directory", "deploy/compose", "--file"])
        .arg(file);
    command.args(["--profile", profile, "config", "--format", "json"]);
    command.current_dir(installed::root());
    tools::ended(command).await
}

/// The services of a profile.
pub async fn services(profile: &str) -> Result<BTreeMap<String, Value>> {
    let text = config(Path::new(FILE), profile).await?.output()?;
    let value: Value = serde_json::from_str(&text)?;
    let services = value["services"].as_object().context("services")?;
    Ok(services
        .iter()
        .map(|(name, service)| (name.clone(), service.clone()))
        .collect())
}

/// Every service of every profile.
async fn all() -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for (profile, _) in PROFILES {
        found.extend(services(profile).await?);
    }
    Ok(found)
}

pub fn words(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn each_profile_has_what_it_says_and_a_misspelt_key_is_refused() -> Result<()> {
    for (profile, others) in PROFILES {
        let mut wanted: Vec<&str> = [&["redis"], &GATEWAYS[..], others].concat();
        wanted.sort_unstable();
        let found = services(profile).await?;
        ensure!(found.keys().eq(wanted), "{profile} has {:?}", found.keys());
    }
    let lab = Lab::new()?;
    let spoilt = lab.dir().join("compose.yaml");
    let text = fs::read_to_string(installed::root().join(FILE))?;
    fs::write(&spoilt, text.replace("read_only: true", "readonly: true"))?;
    let said = config(&spoilt, "core").await?;
    ensure!(
        said.code != Some(0) && said.error.contains("readonly"),
        "{said:?}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn every_service_is_confined_bounded_and_watched() -> Result<()> {
    for (name, service) in all().await? {
        let fail = |what: &str| format!("{name}: {what}: {service}");
        ensure!(service["read_only"] == true, fail("it can write"));
        ensure!(
            words(&service["cap_drop"]) == ["ALL"] && service["cap_add"].is_null(),
            fail("it has rights")
        );
        ensure!(
            words(&service["security_opt"]) == ["no-new-privileges:true"],
            fail("it can get rights")
        );
        ensure!(
            service["mem_limit"].is_string() && service["pids_limit"].is_number(),
            fail("no bound")
        );
        ensure!(
            service["privileged"].is_null() && service["network_mode"].is_null(),
            fail("too much")
        );
        let image = service["image"].as_str().context("an image")?;
        let tag = image.rsplit_once(':').context("a tag")?.1;
        let numbers = tag
            .trim_start_matches('v')
            .split(['.', '-'])
            .filter(|word| word.parse::<u32>().is_ok());
        ensure!(numbers.count() == 3, fail("not a whole version"));
        let checked =
            service["healthcheck"]["test"].is_array() || CHECKED_BY_IMAGE.contains(&name.as_str());
        ensure!(
            checked != WITHOUT_CHECK.contains(&name.as_str()),
            fail("its health")
        );
        for port in service["ports"].as_array().into_iter().flatten() {
            ensure!(port["host_ip"] == "127.0.0.1", fail("open to the network"));
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume["source"].as_str().context("a source")?;
            let is_bind = volume["type"] == "bind";
            ensure!(
                !is_bind || Path::new(source).exists(),
                "{name}: {source} does not exist"
            );
            ensure!(
                !is_bind || volume["read_only"] == true,
                fail("it can write a file of ours")
            );
        }
        for (_, other) in service["depends_on"].as_object().into_iter().flatten() {
            ensure!(
                other["condition"] == "service_healthy",
                fail("does not wait for health")
            );
        }
    }
    Ok(())
}

/// The gateways' settings are taken by a gateway; they have time to drain; Prometheus knows all of them.
#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn the_gateways_settings_are_good_and_they_have_time_to_drain() -> Result<()> {
    let services = all().await?;
    let targets = fs::read_to_string(installed::root().join("grafana/targets/sluice.yaml"))?;
    for name in GATEWAYS {
        let service = &services[name];
        let mut command = Command::new(installed::built()?.join("sluice-gateway"));
        command.arg("--check-config");
        for (key, value) in service["environment"].as_object().context("settings")? {
            command.env(key, value.as_str().context("a text")?);
        }
        let ended = tools::ended(command).await?;
        ensure!(ended.code == Some(0), "{name}: {ended:?}");
        ensure!(service["environment"]["SLUICE__NODE__NAME"] == name);
        let grace = service["stop_grace_period"]
            .as_str()
            .context("a grace period")?;
        let grace: u64 = grace.trim_end_matches('s').parse()?;
        ensure!(
            grace >= default_seconds("deadline")? + MARGIN,
            "{name}: {grace} s"
        );
        ensure!(
            targets.contains(&format!("- {name}:9090\n")),
            "Prometheus does not know {name}"
        );
    }
    Ok(())
}

/// The command lines of the `sluice` services are understood: they fail only because nobody is where they are sent.
#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn the_command_lines_are_understood() -> Result<()> {
    let services = all().await?;
    for name in WITHOUT_CHECK {
        let line: Vec<String> = words(&services[name]["command"])
            .iter()
            .map(|word| {
                word.replace("//redis:6379", "//127.0.0.1:1")
                    .replace("//nginx:8080", "//127.0.0.1:1")
            })
            .collect();
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        ensure!(line.len() > 2, "{name} has no command");
        match timeout(GOES_ON, sluice(&line)).await {
            Ok(ended) => {
                let ended = ended?;
                ensure!(ended.code == Some(4), "{name}: {ended:?}");
            }
            // A line that is not understood ends at once.
            Err(_) => ensure!(name == "publisher", "{name} goes on"),
        }
    }
    Ok(())
}

/// Prometheus keeps what the longest window of the objectives looks back on, and a day more.
#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn prometheus_keeps_what_the_objectives_look_back_on() -> Result<()> {
    let services = services("obs").await?;
    let flags = words(&services["prometheus"]["command"]);
    let kept = flags
        .iter()
        .find_map(|flag| flag.strip_prefix("--storage.tsdb.retention.time="));
    let kept = kept.and_then(|days| days.strip_suffix('d'));
    let kept: u64 = kept.context("no retention in days")?.parse()?;
    let rules = fs::read_to_string(installed::root().join("grafana/rules/sluice-slo.yaml"))?;
    let windows = rules.split('[').skip(1);
    let windows = windows.filter_map(|rest| rest.split_once("d]")?.0.parse::<u64>().ok());
    let longest = windows.max().context("no window in days in the rules")?;
    ensure!(kept > longest, "{kept} d are kept, and {longest} asked for");
    Ok(())
}

/// What nginx's service runs before nginx: the shipped configuration, with all its addresses replaced, is taken by nginx.
#[tokio::test]
#[ignore = "needs docker-compose: scripts/deploy-validate installs it and runs this"]
async fn nginx_takes_its_configuration_with_the_gateways_addresses() -> Result<()> {
    let services = services("lb").await?;
    let lab = Lab::new()?;
    let (nginx, folder) = (&services["nginx"], lab.dir().display().to_string());
    for volume in nginx["volumes"].as_array().context("volumes")? {
        let (from, to) = (
            &volume["source"],
            volume["target"].as_str().context("a target")?,
        );
        let to = lab.dir().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(from.as_str().context("a source")?, to)?;
    }
    fs::create_dir_all(lab.dir().join("etc/nginx/conf.d"))?;
    fs::write(
        lab.dir().join("etc/nginx/nginx.conf"),
        nginx::around(lab.dir(), "", "include conf.d/*.conf;"),
    )?;
    let entrypoint = words(&nginx["entrypoint"]);
    let script = entrypoint.last().context("a script")?;
    let script = script
        .replace("/sluice/", &format!("{folder}/sluice/"))
        .replace("/etc/nginx/", &format!("{folder}/etc/nginx/"))
        .replace(
            "exec nginx",
            &format!("exec nginx -t -e {folder}/nginx.log -c {folder}/etc/nginx/nginx.conf"),
        );
    let mut command = Command::new("sh");
    command.args(["-euc", &script]);
    tools::ended(command).await?.output()?;
    let made = fs::read_to_string(lab.dir().join("etc/nginx/conf.d/sluice.conf"))?;
    ensure!(!made.contains("127.0.0.1:"), "an address is left: {made}");
    for name in GATEWAYS {
        let address = &services[name]["networks"]["sluice"]["ipv4_address"];
        let address = address.as_str().context("an address")?;
        ensure!(
            made.contains(&format!("server {address}:8080 ")),
            "{name} is missing"
        );
    }
    let proxy = &services["nginx"]["networks"]["sluice"]["ipv4_address"];
    let trusted = &services["gateway-1"]["environment"]["SLUICE__HTTP__TRUSTED_PROXIES"];
    ensure!(
        proxy == trusted && proxy.is_string(),
        "{proxy} is not trusted"
    );
    Ok(())
}

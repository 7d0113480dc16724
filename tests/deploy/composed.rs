//! The compose file's images of others, as far as they can be had here: the real Redis and Prometheus with their services' own
//! command lines, users, mounts and checks of health, from a root that is read-only and has programs and nothing else.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::lab::Lab;

use crate::{
    compose::{services, words},
    tools::{self, Ended},
};

/// Whom the program is run as where its service does not say: the image's own user, "nobody".
const NOBODY: &str = "65534:65534";

/// Makes the root and enters it with a network of its own, starts the service and asks after its health, then what is asked. Its
/// arguments: the root, the user, a file of mounts, the service's command, its check, and a question, each of them for a shell.
const RUN: &str = r#"
root=$1 user=$2 mounts=$3 service=$4 check=$5 question=$6
mount --bind "$root" "$root"
for folder in usr bin lib lib64 dev; do
  [ ! -e "/$folder" ] || { mkdir "$root/$folder" && mount --bind "/$folder" "$root/$folder"; }
done
mkdir "$root/proc" && mount -t proc proc "$root/proc"
. "$mounts"
mount -o remount,bind,ro "$root"
ip link set lo up
inside() { setpriv --no-new-privs chroot --userspec="$user" "$root" sh -c "$1"; }
inside "exec $service" >&2 &
n=0
until inside "$check" >&2; do
  kill -0 $! || { echo 'the service has ended' >&2; exit 1; }
  n=$((n + 1)) && [ $n -lt 100 ] || { echo 'the service does not come up' >&2; exit 1; }
  sleep 0.2
done
inside "$question"
"#;

/// `word` for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// The service's mounts as a script; the folders of its volumes are made, and belong to its user, as the image has them.
fn mounts(service: &Value, dir: &Path, user: &str) -> Result<PathBuf> {
    let ids: Vec<u32> = user.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let mut script = String::new();
    for (n, volume) in service["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let (source, target) = (&volume["source"], volume["target"].as_str());
        let target = quoted(target.context("a target")?);
        let mut source = PathBuf::from(source.as_str().context("a source")?);
        if volume["type"] == "volume" {
            source = dir.join(format!("volume-{n}"));
            fs::create_dir(&source)?;
            chown(&source, ids.first().copied(), ids.get(1).copied())?;
        }
        let make = if source.is_dir() { "mkdir -p" } else { "touch" };
        let from = quoted(&source.display().to_string());
        script +=
            &format!("mkdir -p \"$(dirname \"$root\"/{target})\"; {make} \"$root\"/{target}\n");
        script += &format!("mount --bind {from} \"$root\"/{target}\n");
        if volume["read_only"] == true {
            script += &format!("mount -o remount,bind,ro \"$root\"/{target}\n");
        }
    }
    for mount in words(&service["tmpfs"]) {
        let (target, options) = mount.split_once(':').unwrap_or((&mount, "mode=1777"));
        let target = quoted(target);
        script += &format!(
            "mkdir -p \"$root\"/{target}; mount -t tmpfs -o {options} tmpfs \"$root\"/{target}\n"
        );
    }
    let file = dir.join("mounts.sh");
    fs::write(&file, script)?;
    Ok(file)
}

/// Starts `program` with the words of its service, waits until the service's check finds it healthy, and asks `question`.
async fn run(service: &Value, program: &[&str], question: &str) -> Result<Ended> {
    let lab = Lab::new()?;
    let root = lab.dir().join("root");
    fs::create_dir(&root)?;
    let user = service["user"].as_str().unwrap_or(NOBODY);
    let mounts = mounts(service, lab.dir(), user)?;
    let mut command_line: Vec<String> = program.iter().map(|&word| word.to_owned()).collect();
    command_line.extend(words(&service["command"]));
    let check = words(&service["healthcheck"]["test"]);
    let (kind, check) = check.split_first().context("a check")?;
    ensure!(kind == "CMD", "a check of another kind: {kind}");
    let mut command = tools::tree(&["--mount", "--net"]);
    command
        .args(["sh", "-euc", RUN, "sh"])
        .arg(&root)
        .arg(user)
        .arg(mounts)
        .args([&line(&command_line), &line(check), question]);
    tools::ended(command).await
}

/// Redis finds its folders in a root that has none of its own, keeps its data on the volume, and is as deploy/redis has it.
#[tokio::test]
#[ignore = "needs docker-compose and root: scripts/deploy-validate runs this where it can"]
async fn redis_comes_up_with_its_services_command_and_mounts() -> Result<()> {
    let service = &services("core").await?["redis"];
    let question = "redis-cli --raw config get dir; redis-cli --raw config get appendonly; redis-cli --raw config get maxmemory-policy";
    let said = run(service, &[], question).await?.output()?;
    ensure!(
        said == "dir\n/data\nappendonly\nyes\nmaxmemory-policy\nnoeviction\n",
        "{said}"
    );
    Ok(())
}

/// Prometheus takes its service's flags, finds its rules and targets, and keeps what the objectives look back on.
#[tokio::test]
#[ignore = "needs docker-compose, prometheus and root: scripts/deploy-validate runs this where it can"]
async fn prometheus_comes_up_with_its_services_command_and_mounts() -> Result<()> {
    let service = &services("obs").await?["prometheus"];
    let ask = |what: &str| format!("wget -q -O - http://127.0.0.1:9090/api/v1/{what}; echo; ");
    // Targets are found a moment after it is ready; whoever waits for ever is ended.
    let found = format!(
        "until {} grep gateway-3:9090; do sleep 0.2; done",
        ask("targets").replace("; echo;", " |")
    );
    let question = ["status/flags", "rules"].map(ask).concat() + &found;
    let said = run(service, &["prometheus"], &question).await?.output()?;
    ensure!(
        said.contains("\"storage.tsdb.retention.time\":\"31d\""),
        "{said}"
    );
    ensure!(said.contains("SluiceNodeDown"), "no rules: {said}");
    ensure!(said.contains("gateway-3:9090"), "no targets: {said}");
    Ok(())
}

//! The units of deploy/systemd, run by a systemd that is process 1 of namespaces of its own: what it forbids is forbidden.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    installed,
    lab::{self, Weight},
    wait,
};
use tokio::process::{Child, Command};

use crate::tools::{self, Ended};

const PATIENCE: Duration = Duration::from_secs(20);
const UNIT: &str = "sluice-gateway.service";
/// The example of the environment file, changed in what a test must: open to all, and without a Redis.
const CHANGES: [(&str, &str); 2] = [
    (
        "SLUICE__AUTH__MODE=jwt",
        "SLUICE__AUTH__MODE=anonymous\nSLUICE__DRAIN__DEADLINE=2s\n",
    ),
    (
        "SLUICE__REDIS__URL=redis://127.0.0.1:6379",
        "SLUICE__BROKER__MODE=embedded",
    ),
];

/// A control group of a test's own; removed with all that systemd has made in it.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Group> {
        let tree = Path::new("/sys/fs/cgroup");
        let named = tree.join("systemd");
        let tree = if named.is_dir() {
            named
        } else {
            tree.to_owned()
        };
        let group = tree.join(format!("sluice-test-{}", std::process::id()));
        fs::create_dir(&group).context("making a control group")?;
        Ok(Group(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last processes are gone a moment after the first.
        let remove = "for n in 1 2 3 4 5; do find \"$0\" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d \"$0\" ] || exit 0; sleep 0.2; done; exit 1";
        let removed = std::process::Command::new("sh")
            .args(["-c", remove])
            .arg(&self.0)
            .status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("{} is left", self.0.display());
        }
    }
}

/// A booted systemd; killed with all below it when dropped.
struct Machine {
    _around: Child,
    pid: u32,
    _group: Group,
}

impl Machine {
    async fn boot(dir: &Path) -> Result<Machine> {
        let group = Group::new()?;
        let root = installed::root().canonicalize()?;
        let mut settings = fs::read_to_string(root.join("deploy/systemd/gateway.env"))?;
        for (old, new) in CHANGES {
            ensure!(settings.contains(old), "gateway.env has no {old}");
            settings = settings.replace(old, new);
        }
        let (file, log) = (
            dir.join("gateway.env"),
            fs::File::create(dir.join("systemd.log"))?,
        );
        fs::write(&file, settings)?;
        let enter = "echo $$ >\"$1/cgroup.procs\"; shift; exec unshare --mount --pid --fork --uts --ipc --net --cgroup --kill-child sh \"$@\"";
        let around = Command::new("sh")
            .args(["-euc", enter, "sh"])
            .arg(&group.0)
            .arg(root.join("tests/deploy/boot.sh"))
            .arg(dir)
            .arg(&root)
            .arg(installed::built()?.join("sluice-gateway"))
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()?;
        let outer = around.id().context("it has ended")?;
        let pid = wait::until(PATIENCE, "systemd runs", async || {
            let runs = |pid: &u32| {
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("systemd"))
            };
            Ok(tools::only_child(outer).filter(runs))
        })
        .await?;
        let machine = Machine {
            _around: around,
            pid,
            _group: group,
        };
        wait::until(PATIENCE, "systemd answers", async || {
            let state = machine.inside(&["systemctl", "is-system-running"]).await?;
            Ok(state.output.starts_with("running").then_some(()))
        })
        .await?;
        Ok(machine)
    }

    /// Runs `words` within.
    async fn inside(&self, words: &[&str]) -> Result<Ended> {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--",
        ]);
        command.args(words);
        tools::ended(command).await
    }

    async fn shows(&self, unit: &str, property: &str) -> Result<String> {
        let words = ["systemctl", "show", "--value", "--property", property, unit];
        Ok(self.inside(&words).await?.output()?.trim().to_owned())
    }

    /// `sluice` from outside, on the network within.
    fn sluice(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--"]);
        command.arg(installed::built()?.join("sluice")).args(words);
        Ok(command)
    }

    /// Publishes through the gateway on `port` and reads it back.
    async fn serves(&self, port: u16) -> Result<()> {
        let gateway = format!("http://127.0.0.1:{port}");
        wait::until(PATIENCE, "the gateway takes an event", async || {
            let publish = self.sluice(&["publish", "orders", "one", "--gateway", &gateway])?;
            Ok((tools::ended(publish).await?.code == Some(0)).then_some(()))
        })
        .await?;
        let tail = self.sluice(&[
            "tail",
            "orders",
            "--last",
            "1",
            "--count",
            "1",
            "--gateway",
            &gateway,
        ])?;
        let read = tools::ended(tail).await?.output()?;
        ensure!(read == "one\n", "{read:?}");
        Ok(())
    }
}

/// What the kernel says of the unit's process.
async fn is_confined(machine: &Machine) -> Result<()> {
    let pid = machine.shows(UNIT, "MainPID").await?;
    let status = machine
        .inside(&["cat", &format!("/proc/{pid}/status")])
        .await?
        .output()?;
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default()
    };
    let user = machine
        .inside(&["id", "--user", "sluice"])
        .await?
        .output()?;
    ensure!(
        line("Uid:").split('\t').all(|id| id == user.trim()) && user.trim() != "0",
        "{status}"
    );
    ensure!(
        line("CapEff:") == "0000000000000000" && line("CapBnd:") == "0000000000000000",
        "{status}"
    );
    ensure!(
        line("NoNewPrivs:") == "1" && line("Seccomp:") == "2",
        "{status}"
    );
    let mounts = machine
        .inside(&["cat", &format!("/proc/{pid}/mountinfo")])
        .await?
        .output()?;
    ensure!(tools::root_is_read_only(&mounts), "{mounts}");
    Ok(())
}

/// Stops the unit once a stream is open.
async fn drained(machine: &Machine) -> Result<()> {
    let words = ["curl", "--silent", "http://127.0.0.1:9090/metrics"];
    wait::until(PATIENCE, "the stream is open", async || {
        let scrape = machine.inside(&words).await?;
        Ok(scrape
            .output
            .contains("\nsluice_connections 1\n")
            .then_some(()))
    })
    .await?;
    machine
        .inside(&["systemctl", "stop", UNIT])
        .await?
        .output()?;
    Ok(())
}

/// The unit starts as it is, serves under all that it forbids itself, and drains when it is stopped; with a wrong setting it fails
/// and is not started again; two of the template run beside each other.
#[tokio::test]
#[ignore = "needs root and systemd: scripts/deploy-validate runs this where it can"]
async fn systemd_runs_the_units_as_they_are() {
    lab::run(Weight::Light, Duration::from_secs(120), async |lab| {
        let machine = Machine::boot(lab.dir()).await?;
        machine
            .inside(&["systemctl", "start", UNIT])
            .await?
            .output()?;
        machine.serves(8080).await?;
        is_confined(&machine).await?;

        let url = "http://127.0.0.1:8080/v1/events?channel=orders";
        let accept = "Accept: text/event-stream";
        let words = ["curl", "--silent", "--no-buffer", "--header", accept, url];
        let (stream, stopped) = tokio::join!(machine.inside(&words), drained(&machine));
        stopped?;
        let stream = stream?.output()?;
        ensure!(
            stream.contains("sluice.close") && stream.contains("\"drain\""),
            "{stream}"
        );
        for (property, wanted) in [
            ("Result", "success"),
            ("ExecMainStatus", "0"),
            ("ActiveState", "inactive"),
        ] {
            let found = machine.shows(UNIT, property).await?;
            ensure!(found == wanted, "{property} is {found}");
        }
        let spoil = "echo SLUICE__DRAIN__DEADLINE=never >>/etc/sluice/gateway.env";
        machine.inside(&["sh", "-c", spoil]).await?.output()?;
        // The service is of the type `exec`: that it is run is all that `start` waits for.
        machine.inside(&["systemctl", "start", UNIT]).await?;
        wait::until(PATIENCE, "the unit has failed", async || {
            Ok((machine.shows(UNIT, "ActiveState").await? == "failed").then_some(()))
        })
        .await?;
        ensure!(machine.shows(UNIT, "ExecMainStatus").await? == "64");
        ensure!(
            machine.shows(UNIT, "NRestarts").await? == "0",
            "a wrong setting was tried again"
        );

        machine
            .inside(&["sed", "-i", "$d", "/etc/sluice/gateway.env"])
            .await?
            .output()?;
        machine
            .inside(&["systemctl", "start", "sluice-gateway@1", "sluice-gateway@2"])
            .await?
            .output()?;
        machine.serves(8081).await?;
        machine.serves(8082).await
    })
    .await;
}

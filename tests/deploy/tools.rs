//! Programs that the tests run to their end.

use std::{
    fs,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::installed;
use tokio::{process::Command, time::timeout};

/// How long such a program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A finished program.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub error: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Its output, if it ended with 0.
    pub fn output(self) -> Result<String> {
        ensure!(
            self.code == Some(0),
            "exit code {:?}\n{}\n{}",
            self.code,
            self.output,
            self.error
        );
        Ok(self.output)
    }
}

/// Runs `command` to its end.
pub async fn ended(mut command: Command) -> Result<Ended> {
    let run = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run)
        .await
        .with_context(|| format!("{command:?} did not end within {PATIENCE:?}"))?
        .with_context(|| format!("starting {command:?}: is it installed? `make setup` does it"))?;
    Ok(Ended::from(output))
}

/// `unshare` with `options` and a process tree of its own, which ends with this test however that ends: killed with what it
/// returns, or with the thread that starts it. What runs in it must stay root (the kernel forgets the bond with a change of user),
/// but what that starts need not.
pub fn tree(options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork"]);
    command.arg("--kill-child").args(options).kill_on_drop(true);
    command
}

/// The one child of a process, if it has one.
pub fn only_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.trim().parse().ok()
}

/// Whether the process whose `/proc/…/mountinfo` this is cannot write to its root.
pub fn root_is_read_only(mounts: &str) -> bool {
    let mut fields = mounts.lines().map(|line| line.split(' ').skip(4));
    let root = fields.find_map(|mut fields| (fields.next() == Some("/")).then(|| fields.next()));
    let options = root.flatten().unwrap_or_default();
    options.split(',').any(|option| option == "ro")
}

/// Runs `program` with `words` in the repository and gives what it printed; fails with what it said.
pub async fn run(program: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(words).current_dir(installed::root());
    let ended = ended(command).await?;
    ended
        .output()
        .with_context(|| format!("{program} {words:?}"))
}

/// Runs the `sluice` that was built beside this test.
pub async fn sluice(words: &[&str]) -> Result<Ended> {
    let mut command = Command::new(installed::built()?.join("sluice"));
    command.args(words);
    ended(command).await
}

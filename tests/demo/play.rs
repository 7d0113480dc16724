//! One `make` target as a person runs it: in a process group of its own, as a terminal's foreground job has it, with its
//! output kept, and ended by the interrupt that Ctrl-C sends to that group.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    lab::{self, Lab},
    process::{self, Signal},
    wait,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `make` target; interrupted when dropped, so that it ends its parts.
pub struct Play {
    child: Child,
    output: PathBuf,
    /// What a person started beside it.
    beside: Vec<Child>,
}

/// So many ports that nobody listens on.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = lab::free_port()?;
    }
    Ok(ports)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the programs built beside this test.
pub fn programs() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("the folder of programs")?;
    Ok(folder.to_owned())
}

/// Types a line into a shell in the repository, waits for its end, and gives what it prints.
pub async fn shell(line: &str) -> Result<String> {
    let run = typed(line)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output();
    let output = timeout(PATIENCE, run)
        .await
        .with_context(|| line.to_owned())??;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}\n{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Types a line into a shell in the repository and leaves it running until the result is dropped.
pub fn in_background(line: &str) -> Result<Child> {
    Ok(typed(&format!("exec {line}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// A line as typed into a shell in the repository, to be started.
pub fn typed(line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(root());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Drop for Play {
    fn drop(&mut self) {
        // A test that failed half-way: the group is asked to end what it started, and not waited for.
        if let Some(make) = self.child.id() {
            let group = format!("kill -TERM -- -{make}");
            let asked = std::process::Command::new("bash")
                .args(["-c", &group])
                .status();
            drop(asked);
        }
    }
}

impl Play {
    pub fn start(target: &str, lab: &Lab, settings: &[(&str, String)]) -> Result<Play> {
        let output = lab.dir().join(format!("make-{target}.log"));
        // Both outputs are this one file, and none may write over what the other has said.
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(&output)?;
        let child = Command::new("make")
            .args(["--no-print-directory", target])
            .current_dir(root())
            .env("BIN", programs()?)
            .env("TMPDIR", lab.dir())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file)
            .spawn()
            .with_context(|| format!("starting make {target}"))?;
        Ok(Play {
            child,
            output,
            beside: Vec::new(),
        })
    }

    /// All it has said so far, on both of its outputs.
    pub fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.output)?)
    }

    /// The same in lines, without the space around them.
    pub fn lines(&self) -> Result<Vec<String>> {
        Ok(self
            .output()?
            .lines()
            .map(|line| line.trim().to_owned())
            .collect())
    }

    pub async fn until_printed(&self, words: &str) -> Result<()> {
        let what = format!("{words:?} is printed");
        let printed = wait::until(PATIENCE, &what, async || {
            Ok(self.output()?.contains(words).then_some(()))
        });
        printed
            .await
            .with_context(|| self.output().unwrap_or_default())
    }

    /// What follows `words` in the first line that has them.
    pub fn line_after(&self, words: &str) -> Result<String> {
        let mut found = self.all_lines_after(words)?.into_iter();
        found
            .next()
            .with_context(|| format!("{words:?} was not printed"))
    }

    pub fn all_lines_after(&self, words: &str) -> Result<Vec<String>> {
        let lines = self.lines()?;
        let after = lines.iter().filter_map(|line| line.split_once(words));
        Ok(after.map(|(_, rest)| rest.to_owned()).collect())
    }

    /// Keeps what a person started beside it until the end.
    pub fn keep(&mut self, child: Child) {
        self.beside.push(child);
    }

    /// Kills the one process of it whose command line has `words`.
    pub async fn kill(&self, words: &str) -> Result<()> {
        let make = self.child.id().context("it has ended")?;
        let found: Vec<u32> = descendants(make)?
            .into_iter()
            .filter(|pid| command_line(*pid).contains(words))
            .collect();
        ensure!(found.len() == 1, "{words:?} runs {} times", found.len());
        process::send(found[0], Signal::Kill)
    }

    pub async fn until_ended(&mut self) -> Result<ExitStatus> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.context("it did not end")??)
    }

    /// Ctrl-C: the interrupt goes to the whole foreground group. No process of it is left then, and nothing was wrong.
    pub async fn ends_on_ctrl_c(mut self) -> Result<()> {
        self.beside.clear();
        let make = self.child.id().context("it has ended")?;
        let all = descendants(make)?;
        ensure!(all.len() >= 2, "only {all:?} run");
        let before = self.output()?.len();
        shell(&format!("kill -INT -- -{make}")).await?;
        let status = self.until_ended().await?;
        let interrupted = status.signal() == Some(2) || matches!(status.code(), Some(0 | 130));
        let said = self.output()?;
        let said = said.get(before..).unwrap_or_default();
        ensure!(interrupted, "{status}\n{said}");
        for word in ["rror", "killed", "panicked", "traceback"] {
            ensure!(!said.contains(word), "{said}");
        }
        let left: Vec<String> = all
            .into_iter()
            .filter(|pid| process::state(*pid).is_ok_and(|state| state != 'Z'))
            .map(command_line)
            .collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}

/// The processes that `pid` has started, and theirs.
fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name in brackets: the state, then the parent.
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (child, parent)));
    }
    let (mut found, mut next) = (Vec::new(), vec![pid]);
    while let Some(pid) = next.pop() {
        let children = parents.iter().filter(|(_, parent)| *parent == pid);
        next.extend(children.map(|(child, _)| *child));
        found.push(pid);
    }
    Ok(found.split_off(1))
}

fn command_line(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.replace('\0', " ")
}

//! Signals to the processes that a scenario started itself, and what the kernel says about them.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::wait;

/// The signals the scenarios use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    Interrupt,
    Terminate,
    Kill,
    Stop,
    Continue,
    Hangup,
    Quit,
    User1,
    User2,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Hangup => "HUP",
            Signal::Quit => "QUIT",
            Signal::User1 => "USR1",
            Signal::User2 => "USR2",
        }
    }
}

/// Sends `signal` to the process `pid`. The shell's own `kill` does it: no unsafe code, no further package.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{} {pid}", signal.name())])
        .stdin(Stdio::null())
        .status()
        .context("running sh for kill")?;
    ensure!(
        status.success(),
        "kill -{} {pid} failed: {status}",
        signal.name()
    );
    Ok(())
}

/// Stops the process with SIGSTOP and returns once the kernel says that it is stopped.
pub async fn stop(pid: u32) -> Result<()> {
    send(pid, Signal::Stop)?;
    wait::until(
        Duration::from_secs(5),
        "the process is stopped",
        async || Ok((state(pid)? == 'T').then_some(())),
    )
    .await
}

/// The kernel's one-letter state of a process (`R`, `S`, `T`, `Z`, …), from `/proc/<pid>/stat`.
pub fn state(pid: u32) -> Result<char> {
    stat_field(pid, 3)?
        .chars()
        .next()
        .context("an empty state in /proc")
}

/// The processes whose parent is `pid`, in the order of their ids.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(one) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that is gone by now is nobody's child.
        if stat_field(one, 4).is_ok_and(|parent| parent == pid.to_string()) {
            found.push(one);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// User and system CPU time used so far, from `/proc/<pid>/stat`, at the kernel's 100 ticks a second.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let ticks: u64 = stat_field(pid, 14)?.parse::<u64>()? + stat_field(pid, 15)?.parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Resident memory in bytes, from `VmRSS` of `/proc/<pid>/status`.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Memory that the kernel keeps for itself in slabs, all of the machine's: sockets are there, and whatever else goes on.
pub fn kernel_slab_bytes() -> Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("Slab:"))
        .context("no Slab in /proc/meminfo")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Field `number` (from 1, as in proc(5)) of `/proc/<pid>/stat`; fields 1 and 2 are not offered.
fn stat_field(pid: u32, number: usize) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The second field is the name in brackets and may hold spaces: count from behind it.
    let after_name = stat.rsplit_once(") ").context("malformed /proc stat")?.1;
    let field = after_name
        .split(' ')
        .nth(number - 3)
        .context("a short /proc stat")?;
    Ok(field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stopped_process_is_seen_stopped_and_runs_on_afterwards() -> Result<()> {
        let mut child = Command::new("sleep").arg("30").spawn()?;
        let pid = child.id();
        stop(pid).await?;
        assert_eq!(state(pid)?, 'T');
        send(pid, Signal::Continue)?;
        wait::until(Duration::from_secs(5), "it runs", async || {
            Ok((state(pid)? == 'S').then_some(()))
        })
        .await?;
        assert!(resident_bytes(pid)? > 0);
        assert!(children(std::process::id())?.contains(&pid));
        cpu_time(pid)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

//! `scripts/run` says the same wherever its outputs go: into a socket, or both into one file.

use std::{
    fs,
    io::Read,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use sluice_e2e::{
    http,
    lab::{self, Weight},
    process::{self, Signal},
    wait,
};
use tokio::time::timeout;

use crate::play::{self, PATIENCE, free_ports};

/// Programs that start others often give them a socket for an output: the page is there all the same, and what the gateway says
/// comes through.
#[tokio::test]
async fn make_run_starts_with_a_socket_for_its_errors() {
    lab::run(Weight::Light, Duration::from_secs(40), async |lab| {
        let [http, admin] = free_ports()?;
        let (mut ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let mut run = play::typed("exec scripts/run")
            .env("BIN", play::programs()?)
            .env("TMPDIR", lab.dir())
            .env("SLUICE__HTTP__BIND", format!("127.0.0.1:{http}"))
            .env("SLUICE__ADMIN__BIND", format!("127.0.0.1:{admin}"))
            .stdout(Stdio::null())
            .stderr(OwnedFd::from(theirs))
            .spawn()?;
        let page = format!("127.0.0.1:{http}").parse()?;
        let answered = wait::until(PATIENCE, "the page answers", async || {
            ensure!(run.try_wait()?.is_none(), "scripts/run has ended");
            let answer = http::get(page, "/").await;
            Ok(answer.ok().filter(|answer| answer.head.status == 200))
        })
        .await;
        let pid = run.id();
        if let Some(pid) = pid {
            process::send(pid, Signal::Terminate)?;
        }
        timeout(PATIENCE, run.wait()).await??;
        let mut said = String::new();
        ours.read_to_string(&mut said)?;
        ensure!(answered?.body.contains("<html"), "{said}");
        ensure!(said.contains("embedded"), "{said}");
        Ok(())
    })
    .await;
}

/// `make run >file 2>&1`: what the gateway has said first is not written over by what comes after.
#[tokio::test]
async fn make_run_into_one_file_loses_nothing() {
    lab::run(Weight::Light, Duration::from_secs(40), async |lab| {
        let [http, admin] = free_ports()?;
        let log = lab.dir().join("run.log");
        let mut run = play::typed("exec scripts/run >\"$TMPDIR/run.log\" 2>&1")
            .env("BIN", play::programs()?)
            .env("TMPDIR", lab.dir())
            .env("SLUICE__HTTP__BIND", format!("127.0.0.1:{http}"))
            .env("SLUICE__ADMIN__BIND", format!("127.0.0.1:{admin}"))
            .spawn()?;
        let last = "Ctrl-C ends it.";
        let told = wait::until(PATIENCE, "it says how to end it", async || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            Ok(said.contains(last).then_some(said))
        })
        .await;
        if let Some(pid) = run.id() {
            process::send(pid, Signal::Terminate)?;
        }
        timeout(PATIENCE, run.wait()).await??;
        let said = told?;
        let at = |words: &str| said.find(words).context(words.to_owned());
        ensure!(at("embedded")? < at(last)?, "{said}");
        ensure!(at("listening")? < at(last)?, "{said}");
        Ok(())
    })
    .await;
}

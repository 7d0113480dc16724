//! Clients that others wrote read Sluice's stream: libraries of several languages, the JDK's and Go's HTTP clients with a
//! few lines of parsing, and curl. Each goes the same way, step by step, on real gateways behind a fault proxy, and
//! must end with exactly what was published. What a library cannot do is declared in the roster and asserted as
//! exactly that. The table in docs/clients.md is made here.

mod journey;
mod page;
mod program;
mod roster;
mod texts;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, stream};
use sluice_e2e::{installed, lab::Lab};
use tokio::time::timeout;

use crate::{
    page::Row,
    roster::{CLIENTS, Client},
};

/// More at once would make each other slow on two cores.
const AT_ONCE: usize = 3;
/// One client's whole way.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs one client's way on a bench of its own.
async fn go(client: &Client) -> Result<Row> {
    let lab = Lab::new()?;
    let walked = timeout(LIMIT, journey::walk(&lab, client)).await;
    if let Err(error) = walked.unwrap_or_else(|_| bail!("it did not end within {LIMIT:?}")) {
        bail!("{}: {error:#}\n{}", client.program, lab.log_tails());
    }
    Row::of(client)
}

#[tokio::test]
#[ignore = "scripts/clients installs the clients and runs this"]
async fn independent_clients_get_the_stream_exactly_as_it_was_published() {
    let only = page::variable("SLUICE_CLIENTS").unwrap_or_default();
    let wanted =
        |client: &Client| only.is_empty() || only.split(',').any(|name| name == client.name);
    let (mut run, mut absent) = (Vec::new(), Vec::new());
    for client in CLIENTS {
        if client.language.is_here().expect("scripts/clients answers") && wanted(client) {
            run.push(client);
        } else {
            absent.push(client);
        }
    }
    let mut results: Vec<Result<Row>> = stream::iter(run).map(go).buffered(AT_ONCE).collect().await;
    results.extend(absent.into_iter().map(|client| Ok(Row::absent(client))));
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(row) => rows.push(row),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    print!("{}", page::report(&rows));
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
    page::compare_or_write(&rows).expect("docs/clients.md");
}

/// A language that is missing, and cannot be installed, ends the run in words; it is never a silent skip.
#[test]
fn a_missing_language_ends_the_script_and_is_named() -> Result<()> {
    let stands_in = [
        ("node", "echo v99.0.0"),
        ("npm", "echo 99.0.0"),
        ("python3", "echo Python 3.99.0"),
        ("javac", "echo javac 99.0.0"),
        ("curl", "exit 0"),
    ];
    for (missing, package) in [
        ("node", "nodejs"),
        ("npm", "npm"),
        ("python3", "python3-venv"),
        ("javac", "default-jdk-headless"),
        ("curl", "curl"),
    ] {
        // All that the script finds: no apt-get, and no cargo.
        let programs = tempfile::tempdir()?;
        for tool in ["bash", "dirname", "sed", "sort"] {
            let there = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            let there = there.iter().find(|path| path.exists()).context(tool)?;
            symlink(there, programs.path().join(tool))?;
        }
        for (name, text) in stands_in.iter().filter(|(name, _)| *name != missing) {
            let path = programs.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let ended = Command::new("/usr/bin/env")
            .arg("-i")
            .arg(format!("PATH={}", programs.path().display()))
            .arg("bash")
            .arg(installed::root().join("scripts/clients"))
            .output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(1), "{missing}: {ended:?}");
        let words = format!("is missing and there is no apt-get: install {package},");
        ensure!(said.contains(&words), "{missing}: {said}");
    }
    Ok(())
}

/// Each client has a program in the tree and a snippet on the page.
#[test]
fn each_client_has_a_snippet_on_the_page() -> Result<()> {
    let page = page::text()?;
    ensure!(
        page == page::with_snippets(&page)?,
        "the snippets of docs/clients.md are not those of the programs: renew them with `make clients-table`"
    );
    for client in CLIENTS {
        let marker = page::snippet_marker(client.program);
        ensure!(page.contains(&marker), "docs/clients.md lacks {marker}");
    }
    Ok(())
}

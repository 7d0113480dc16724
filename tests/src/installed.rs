//! Where the tests find what is not their own: the repository, the programs built beside them, and what the scripts install of other
//! languages, of which not every machine has all.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the profile that this test was built in.
pub fn built() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2);
    Ok(folder.context("the folder of programs")?.to_owned())
}

/// The folder of all that is built and installed.
pub fn target() -> Result<PathBuf> {
    let built = built()?;
    Ok(built.parent().context("the target folder")?.to_owned())
}

/// Where the packages are: `node`, `python` and `go`.
pub fn folder() -> Result<PathBuf> {
    Ok(target()?.join("clients"))
}

/// Whether this machine has `node`, `python`, `java`, `go` or `shell` in a version that serves, as the script that
/// installs sees it.
pub fn has(language: &str) -> Result<bool> {
    let answer = Command::new("bash")
        .arg(root().join("scripts/clients"))
        .args(["--has", language])
        .stdin(Stdio::null())
        .output()?;
    let error = String::from_utf8_lossy(&answer.stderr);
    ensure!(
        error.is_empty() && matches!(answer.status.code(), Some(0 | 1)),
        "scripts/clients --has {language}: {} {error}",
        answer.status
    );
    Ok(answer.status.success())
}

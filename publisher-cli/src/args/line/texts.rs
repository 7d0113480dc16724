//! `sluice completions` and `sluice man` as written.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Args)]
pub struct CompletionsLine {
    /// The shell that is to complete
    pub shell: Shell,
}

#[derive(Args)]
pub struct ManLine {
    /// The command whose page to print; without it, the page of sluice itself
    pub command: Option<String>,
    /// Write the pages of all commands as files into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

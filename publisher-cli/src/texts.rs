//! `sluice completions` and `sluice man`: texts made of the command line itself.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::args::{Man, command_line};
use crate::failure::{Failure, printable};
use crate::output::Output;

/// Prints a shell's completions.
///
/// # Errors
/// As [`Output::line`].
pub fn completions(shell: Shell) -> Result<(), Failure> {
    // Into memory: the generator does not bear a closed pipe.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "sluice", &mut text);
    print(&text)
}

/// Prints one page, or writes all and prints their paths.
///
/// # Errors
/// There is no such command, or a file cannot be written.
pub fn man(job: Man) -> Result<(), Failure> {
    match job {
        Man::Print { command } => {
            let pages = pages();
            let name = command.map_or_else(|| "sluice".into(), |name| format!("sluice-{name}"));
            let page = pages
                .iter()
                .find(|page| page.get_display_name().unwrap_or("sluice") == name)
                .ok_or_else(|| {
                    Failure::usage(
                        format!("there is no page {}", printable(&name)),
                        "name a command as `sluice help` lists it, such as `sluice man publish`",
                    )
                })?;
            print(&render(page.clone())?)
        }
        Man::Write { dir } => write(&dir),
    }
}

/// The program and each of its commands, those of `token` too, as each has a page.
fn pages() -> Vec<Command> {
    let mut program = without_help(command_line());
    program.build();
    let mut pages = Vec::new();
    let mut next = vec![&program];
    while let Some(command) = next.pop() {
        pages.push(command.clone());
        next.extend(command.get_subcommands().filter(|one| !one.is_hide_set()));
    }
    pages
}

/// A page for `help` would say nothing.
fn without_help(command: Command) -> Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}

fn render(command: Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    Page::new(command)
        .manual("Sluice")
        .source(concat!("sluice ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(|error| Failure::failed(format!("cannot make the page: {error}")))?;
    Ok(text)
}

fn write(dir: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::Failed {
        what: format!("cannot write {}: {error}", path.display()),
        hint: Some("give a folder that can be made or written to".into()),
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut output = Output::new();
    for page in pages() {
        let name = page.get_display_name().unwrap_or("sluice");
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, render(page)?).map_err(|error| failed(&path, error))?;
        output.line(path.display().to_string().as_bytes())?;
    }
    output.flush()
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(text.trim_ascii_end())?;
    output.flush()
}

//! `sluice`: publish to Sluice's channels and follow them from a shell.
//! This file only parses, runs and turns the outcome into an exit code.

mod args;
mod backoff;
mod channels;
mod demo;
mod doctor;
mod explain;
mod failure;
mod gateway_history;
mod gateway_link;
mod gateway_publish;
mod gateway_tail;
mod history;
mod install_function;
mod ndjson;
mod notice;
mod output;
mod pace;
mod place;
mod publish;
mod redis_history;
mod redis_link;
mod redis_publish;
mod redis_read;
mod redis_tail;
mod sse;
mod tail;
mod texts;
mod token;

use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let json = args::asks_json(&line);
    let command = match args::parse(line) {
        Ok(command) => command,
        Err(args::Stop::Clap(told)) if json && told.use_stderr() => {
            return misuse(&told).report(json);
        }
        Err(args::Stop::Clap(told)) => {
            // Help, version and clap's own usage errors; a closed pipe is no news here.
            drop(told.print());
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
        Err(args::Stop::Usage(failure)) => return failure.report(json),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(json),
    };
    let outcome = runtime.block_on(run(command));
    // A thread that still waits for standard input must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// A usage error in clap's words, without the lines that only repeat the usage.
fn misuse(told: &clap::Error) -> Failure {
    let words = told.to_string();
    let what = words.split("\n\n").next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let lines: Vec<_> = what.lines().map(str::trim).collect();
    Failure::usage(lines.join(" "), "`sluice help` tells what there is")
}

async fn run(command: Command) -> Result<(), Failure> {
    let work = async {
        match command {
            Command::Publish(job) => publish::run(job).await,
            Command::Tail(job) => tail::run(job).await,
            Command::History(job) => history::run(job).await,
            Command::Channels(job) => channels::run(job).await,
            Command::Completions(shell) => texts::completions(shell),
            Command::Man(job) => texts::man(job),
            Command::Token(job) => token::run(&job),
            Command::InstallFunction(job) => install_function::run(job).await,
            Command::Demo(job) => demo::run(job).await,
            Command::Doctor(job) => doctor::run(job).await,
        }
    };
    tokio::select! {
        outcome = work => outcome,
        signal = tokio::signal::ctrl_c() => Err(match signal {
            Ok(()) => Failure::Interrupted,
            Err(error) => Failure::failed(format!("cannot listen for Ctrl-C: {error}")),
        }),
    }
}

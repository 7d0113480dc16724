//! `sluice`: publish to Sluice's channels and follow them from a shell.
//! This file only parses, runs and turns the outcome into an exit code.

mod args;
mod backoff;
mod doctor;
mod failure;
mod gateway_link;
mod gateway_publish;
mod gateway_tail;
mod install_function;
mod ndjson;
mod output;
mod pace;
mod publish;
mod redis_link;
mod redis_publish;
mod redis_tail;
mod sse;
mod tail;

use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(args::Stop::Clap(told)) => {
            // Help, version and clap's own usage errors; a closed pipe is no news here.
            drop(told.print());
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
        Err(args::Stop::Usage(failure)) => return failure.report(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(),
    };
    let outcome = runtime.block_on(run(command));
    // A thread that still waits for standard input must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    let work = async {
        match command {
            Command::Publish(job) => publish::run(job).await,
            Command::Tail(job) => tail::run(job).await,
            Command::InstallFunction(job) => install_function::run(job).await,
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

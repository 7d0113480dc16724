//! `sluice doctor`: looks at a deployment from outside, at Redis, at the gateway or both, and says what to do about
//! what it finds. It changes no setting; what it publishes goes to channels of its own.

mod finding;
mod gateway;
mod redis;
mod report;

use std::io::IsTerminal;

use crate::args::Doctor;
use crate::failure::Failure;
use crate::output::Output;
use finding::Status;
use report::Section;

/// One side of the deployment, looked at.
struct Looked {
    section: Section,
    /// Why nothing could be looked at, if so.
    unreachable: Option<Failure>,
}

/// Looks, prints the report, and fails if there is a problem in it.
///
/// # Errors
/// There is at least one problem; or nothing that was named could be reached.
pub async fn run(job: Doctor) -> Result<(), Failure> {
    if job.gateway.is_some() && std::io::stderr().is_terminal() && !job.json {
        eprintln!(
            "watching a quiet stream for {}; --quiet-for shortens it",
            humantime::format_duration(job.quiet_for)
        );
    }
    let mut looked = Vec::new();
    if let Some(address) = &job.redis {
        looked.push(redis::look(address).await);
    }
    if let Some(address) = &job.gateway {
        looked.push(gateway::look(address, &job).await?);
    }
    let nothing_reached = looked.iter().all(|side| side.unreachable.is_some());
    let first_failure = looked.iter_mut().find_map(|side| side.unreachable.take());
    let sections: Vec<Section> = looked.into_iter().map(|side| side.section).collect();
    print(&sections, &job)?;
    let problems = report::count(&sections, Status::Problem);
    match (first_failure, problems) {
        (Some(failure), _) if nothing_reached => Err(failure),
        (_, 0) => Ok(()),
        (_, 1) => Err(Failure::failed("one problem was found")),
        (_, many) => Err(Failure::failed(format!("{many} problems were found"))),
    }
}

fn print(sections: &[Section], job: &Doctor) -> Result<(), Failure> {
    let mut output = Output::new();
    let lines = if job.json {
        report::json_lines(sections)
    } else {
        report::text_lines(sections, job.may_colour && std::io::stdout().is_terminal())
    };
    for line in lines {
        output.line(line.as_bytes())?;
    }
    output.flush()
}

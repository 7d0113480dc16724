//! Rolls a deployment under load, judges what the clients saw, and prints one line of JSON; fails when a promise was
//! broken. Bounded in every direction.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use sluice_e2e::{
    lab::Lab,
    rollout::{self, Plan},
};

/// Three nodes behind nginx, each in turn replaced by a new one, under load.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(200..=9_000))]
    clients: u16,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    channels: u16,
    /// Events per second over all channels.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Seconds of `drain.deadline`.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=300))]
    deadline: u64,
    /// Seconds under load before the roll, and after it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60))]
    calm: u64,
    /// Program of the old version, such as the last release; without it both are this tree's, under other names.
    #[arg(long)]
    old: Option<PathBuf>,
    /// Draws the rate of reconnects into this SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let plan = Plan {
        clients: args.clients.into(),
        channels: args.channels.into(),
        rate: args.rate,
        nodes: 3,
        deadline: Duration::from_secs(args.deadline),
        lead: Duration::from_secs(1),
        pre_stop: Duration::from_secs(2),
        calm: Duration::from_secs(args.calm),
        old_program: args.old,
        sabotage: None,
    };
    let lab = Lab::new()?;
    let drill = rollout::run(&lab, &plan)
        .await
        .with_context(|| lab.log_tails())?;
    println!("{}", drill.figures.json);
    if let Some(path) = args.plot {
        let title = format!(
            "{} clients on {} nodes, each replaced in turn, {} events/s",
            plan.clients, plan.nodes, plan.rate
        );
        fs::write(&path, rollout::plot(&drill.figures, &title))
            .with_context(|| path.display().to_string())?;
    }
    drill.whole()
}

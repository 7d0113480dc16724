//! `sluice tail` as written.

use std::num::NonZeroU64;

use clap::Args;

use super::link::LinkLine;
use super::start::{StartLine, count};

#[derive(Args)]
pub struct TailLine {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL")]
    pub channels: Vec<String>,
    #[command(flatten)]
    pub start: StartLine,
    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = count)]
    pub count: Option<NonZeroU64>,
    /// Print {"cursor","channel","id","type","event_id","data"} per event instead of its data
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub link: LinkLine,
}

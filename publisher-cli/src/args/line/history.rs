//! `sluice history` as written.

use std::num::NonZeroU64;

use clap::Args;

use super::link::LinkLine;
use super::start::{StartLine, count};

#[derive(Args)]
pub struct HistoryLine {
    /// The channel
    pub channel: String,
    #[command(flatten)]
    pub start: StartLine,
    /// Stop after this many events, and say where to go on if there are more
    #[arg(long, value_name = "N", value_parser = count)]
    pub limit: Option<NonZeroU64>,
    /// Print {"channel","id","type","event_id","data"} per event instead of position, type and data
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub link: LinkLine,
}

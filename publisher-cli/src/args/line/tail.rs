//! `sluice tail` as written.

use std::num::NonZeroU64;

use clap::Args;

use super::link::{AdminLine, LinkLine};
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
    /// Say on standard error why the token may or may not read each channel; and when a stream ends, what became of its
    /// last event, or of this one
    #[arg(
        long,
        value_name = "POSITION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub explain: Option<String>,
    #[command(flatten)]
    pub link: LinkLine,
    #[command(flatten)]
    pub admin: AdminLine,
}

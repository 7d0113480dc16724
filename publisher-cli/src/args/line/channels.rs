//! `sluice channels` as written.

use clap::Args;
use sluice_wire::pattern::{Pattern, PatternError};

use super::link::RedisLine;

#[derive(Args)]
pub struct ChannelsLine {
    /// Only these: `*` stands for one segment, a last `**` for the rest, such as 'orders.*'
    #[arg(value_parser = pattern)]
    pub pattern: Option<Pattern>,
    /// Print {"channel","subscribers","nodes"} per channel
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisLine,
    /// Taken only to say what to give instead.
    #[arg(long, hide = true)]
    pub gateway: Option<String>,
}

fn pattern(text: &str) -> Result<Pattern, PatternError> {
    Pattern::parse(text, None)
}

//! `sluice channels` as written.

use clap::Args;

use super::link::RedisLine;
use crate::pattern::Pattern;

#[derive(Args)]
pub struct ChannelsLine {
    /// Only these: `*` stands for one segment, a last `**` for the rest, such as 'orders.*'
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

//! `sluice install-function` as written.

use std::time::Duration;

use clap::Args;

use super::link::RedisLine;

#[derive(Args)]
pub struct InstallFunctionLine {
    /// Print the library's text instead of loading it
    #[arg(long)]
    pub print: bool,
    /// Print the same script for use with EVAL, for servers without functions
    #[arg(long)]
    pub eval: bool,
    /// Load it even if this version is there, for instance to change the settings below
    #[arg(long)]
    pub replace: bool,
    /// Print an object that says what was done
    #[arg(long, conflicts_with_all = ["print", "eval"])]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingsLine,
    #[command(flatten)]
    pub redis: RedisLine,
}

/// What is rendered into the script for publishers that do not say otherwise.
#[derive(Args)]
#[command(next_help_heading = "Settings of the deployment")]
pub struct SettingsLine {
    /// Events kept per channel [default: 1000]
    #[arg(long, value_name = "N")]
    pub maxlen: Option<u32>,
    /// How long a channel's events are kept after the last one [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// How long a channel's place is remembered after its last event [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub head_ttl: Option<Duration>,
    /// How long a repeated event id is recognised [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idem_ttl: Option<Duration>,
    /// The largest event's data [default: 64KiB]
    #[arg(long, value_name = "SIZE")]
    pub event_bytes: Option<bytesize::ByteSize>,
    /// Publish with SPUBLISH, for a Redis Cluster
    #[arg(long)]
    pub sharded: bool,
}

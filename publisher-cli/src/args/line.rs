//! The command line as written: what clap accepts and what its help says. It resolves nothing.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sluice_wire::Keys;
use sluice_wire::event::{check_event_id, check_event_type};

use super::doctor::DoctorLine;
use crate::pace::Rate;

/// The most events `--last` asks for.
const LAST_MOST: u32 = 10_000;

/// Publish to Sluice's channels and follow them.
#[derive(Parser)]
#[command(name = "sluice", version, after_help = EXIT_CODES)]
pub struct Line {
    #[command(subcommand)]
    pub command: CommandLine,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 some of a batch failed, 4 unreachable, 130 interrupted.";

#[derive(Subcommand)]
pub enum CommandLine {
    /// Publish one event, or one a line of standard input, and print the position of each
    Publish(PublishLine),
    /// Print the events of one or more channels as they come
    Tail(TailLine),
    /// Load the publish function into Redis, where it is absent or older
    InstallFunction(InstallFunctionLine),
    /// Find what makes a deployment fail, and say what to do
    Doctor(DoctorLine),
}

#[derive(Args)]
pub struct PublishLine {
    /// The channel; with --ndjson the one for lines that name none
    pub channel: Option<String>,
    /// The event's data; `-` takes all of standard input, byte for byte
    #[arg(allow_hyphen_values = true)]
    pub data: Option<String>,
    /// The event's type; with --ndjson the one for lines that name none
    #[arg(long, value_name = "TYPE", value_parser = event_type)]
    pub event: Option<String>,
    /// The event's id: a repeat within the deployment's window is answered with the first position
    #[arg(long, value_name = "EVENT_ID", value_parser = event_id, conflicts_with = "ndjson")]
    pub id: Option<String>,
    /// Read one event a line: {"channel":"c","type":"t","id":"i","data":any}; all but data may be left out
    #[arg(long)]
    pub ndjson: bool,
    /// At most so many events per time, such as 100/s, 10/m or 100
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Print an object per event instead of its position
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub link: LinkLine,
}

#[derive(Args)]
pub struct TailLine {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL")]
    pub channels: Vec<String>,
    /// Begin after this cursor: a position, or an id that the gateway gave
    #[arg(long, value_name = "CURSOR", group = "start")]
    pub from: Option<String>,
    /// Begin with the events of this time, such as 5m
    #[arg(long, value_name = "AGE", group = "start", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Begin with this many of the latest events of each channel
    #[arg(long, value_name = "N", group = "start", value_parser = clap::value_parser!(u32).range(..=i64::from(LAST_MOST)))]
    pub last: Option<u32>,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroU64>,
    /// Print {"channel","id","type","event_id","data"} per event instead of its data
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub link: LinkLine,
}

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

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct RedisLine {
    /// Redis to work on, such as redis://127.0.0.1:6379
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_REDIS_URL",
        hide_env_values = true
    )]
    pub redis: Option<String>,
    /// What the names of Sluice's keys begin with
    #[arg(long, value_name = "PREFIX", env = "SLUICE_REDIS_PREFIX", hide_env_values = true, default_value = Keys::DEFAULT_PREFIX, value_parser = Keys::new)]
    pub prefix: Keys,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = timeout)]
    pub timeout: Duration,
}

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct LinkLine {
    #[command(flatten)]
    pub redis: RedisLine,
    /// Gateway to work through instead, such as http://127.0.0.1:8080
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_GATEWAY_URL",
        hide_env_values = true
    )]
    pub gateway: Option<String>,
    /// Token for the gateway
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SLUICE_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
}

fn event_type(text: &str) -> Result<String, String> {
    check_event_type(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn event_id(text: &str) -> Result<String, String> {
    check_event_id(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// A time that is not nothing.
pub fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("wait for some time, such as 4s".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

//! `sluice publish` as written.

use clap::Args;
use sluice_wire::event::{check_event_id, check_event_type};

use super::link::LinkLine;
use crate::pace::Rate;

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
    /// Read one event a line: {"channel":"c","type":"t","event_id":"i","data":any}; all but data may be left out
    #[arg(long)]
    pub ndjson: bool,
    /// The trace that the events belong to, as in W3C Trace Context; with --ndjson of lines that name none
    #[arg(long, env = "TRACEPARENT", hide_env_values = true)]
    pub traceparent: Option<String>,
    /// At most so many events per time, such as 100/s, 10/m or 100
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Print an object per event instead of its position
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub link: LinkLine,
}

fn event_type(text: &str) -> Result<String, String> {
    check_event_type(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn event_id(text: &str) -> Result<String, String> {
    check_event_id(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

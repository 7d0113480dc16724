//! The command line, resolved: what each command needs, checked, in its own types.
//! Secrets are wrapped here, so that no later message can show them.

mod demo;
mod doctor;
mod explain;
mod install_function;
mod line;
mod link;
mod start;
mod token;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use clap_complete::Shell;
use sluice_wire::pattern::Pattern;
use sluice_wire::{Channel, Cursor, TraceContext};

use crate::failure::Failure;
use crate::pace::Rate;
pub use demo::Demo;
pub use doctor::Doctor;
pub use explain::Explain;
pub use install_function::InstallFunction;
use install_function::install_function;
use line::{ChannelsLine, CommandLine, HistoryLine, Line, PublishLine, TailLine};
pub use link::{GatewayAddress, Link, RedisAddress, Secret};
use link::{link, needed_redis};
use start::start;
pub use start::{Since, Start};
pub use token::{Action, Inspect, Jwks, KeySource, Keygen, Mint, Moment, Token};

/// What to do, with everything needed to do it.
#[derive(Debug)]
pub enum Command {
    Publish(Publish),
    Tail(Tail),
    History(History),
    Channels(Channels),
    Token(Token),
    InstallFunction(InstallFunction),
    Doctor(Doctor),
    Demo(Demo),
    Completions(Shell),
    Man(Man),
}

/// `sluice publish`, resolved.
#[derive(Debug)]
pub struct Publish {
    pub link: Link,
    pub source: Source,
    pub rate: Option<Rate>,
    pub json: bool,
}

/// Where the events of `sluice publish` come from.
#[derive(Debug)]
pub enum Source {
    /// One event.
    One {
        channel: Channel,
        event_type: Option<String>,
        event_id: Option<String>,
        /// `None`: standard input.
        data: Option<String>,
        traceparent: Option<TraceContext>,
    },
    /// Standard input holds one event a line.
    Ndjson {
        channel: Option<Channel>,
        event_type: Option<String>,
        traceparent: Option<TraceContext>,
    },
}

/// `sluice tail`, resolved.
#[derive(Debug)]
pub struct Tail {
    pub link: Link,
    pub channels: Vec<Channel>,
    pub start: Start,
    pub count: Option<NonZeroU64>,
    pub json: bool,
    pub explain: Option<Explain>,
}

/// `sluice history`, resolved.
#[derive(Debug)]
pub struct History {
    pub link: Link,
    pub channel: Channel,
    pub start: Start,
    pub limit: Option<NonZeroU64>,
    pub json: bool,
}

/// `sluice channels`, resolved.
#[derive(Debug)]
pub struct Channels {
    pub address: RedisAddress,
    pub pattern: Option<Pattern>,
    pub json: bool,
}

/// `sluice man`, resolved.
#[derive(Debug)]
pub enum Man {
    Print { command: Option<String> },
    Write { dir: PathBuf },
}

/// The whole command line as clap knows it, for the texts made of it.
pub fn command_line() -> clap::Command {
    Line::command()
}

/// Whether the line asks for JSON. Read from the words, so that a line that cannot be understood is answered in it too.
pub fn asks_json(line: &[OsString]) -> bool {
    line.iter()
        .take_while(|word| *word != OsStr::new("--"))
        .any(|word| word == OsStr::new("--json"))
}

/// Why there is no command to run.
pub enum Stop {
    /// Help, version, or a usage error in clap's own words.
    Clap(clap::Error),
    Usage(Failure),
}

/// Reads the command line and the environment variables it names.
///
/// # Errors
/// [`Stop`], for help as well as for what cannot be acted on.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let matches = Line::command()
        .try_get_matches_from(line)
        .map_err(Stop::Clap)?;
    let line = Line::from_arg_matches(&matches).map_err(Stop::Clap)?;
    let matches = matches.subcommand().map_or(&matches, |(_, inner)| inner);
    resolve(line, matches).map_err(Stop::Usage)
}

fn resolve(line: Line, matches: &ArgMatches) -> Result<Command, Failure> {
    Ok(match line.command {
        CommandLine::Publish(line) => Command::Publish(Publish {
            source: source(&line, traceparent(&line, matches)?)?,
            link: link(&line.link, matches)?,
            rate: line.rate,
            json: line.json,
        }),
        CommandLine::Tail(line) => Command::Tail(tail(line, matches)?),
        CommandLine::History(line) => Command::History(history(line, matches)?),
        CommandLine::Channels(line) => Command::Channels(channels_listed(line)?),
        CommandLine::Token(line) => Command::Token(token::resolve(line, matches)?),
        CommandLine::InstallFunction(line) => Command::InstallFunction(install_function(&line)?),
        CommandLine::Doctor(line) => Command::Doctor(doctor::resolve(line)?),
        CommandLine::Demo(line) => Command::Demo(demo::resolve(&line, matches)?),
        CommandLine::Completions(line) => Command::Completions(line.shell),
        CommandLine::Man(line) => Command::Man(match line.dir {
            Some(dir) => Man::Write { dir },
            None => Man::Print {
                command: line.command,
            },
        }),
    })
}

fn tail(line: TailLine, matches: &ArgMatches) -> Result<Tail, Failure> {
    let link = link(&line.link, matches)?;
    Ok(Tail {
        explain: explain::resolve(line.explain.as_deref(), &line.admin, &link)?,
        start: start(line.start)?,
        link,
        channels: channels(line.channels)?,
        count: line.count,
        json: line.json,
    })
}

/// A bad one is refused where it was written here; one that came with the environment is nobody's fault here, and is ignored.
fn traceparent(line: &PublishLine, matches: &ArgMatches) -> Result<Option<TraceContext>, Failure> {
    let Some(text) = &line.traceparent else {
        return Ok(None);
    };
    let context = TraceContext::parse(text);
    if context.is_none() && matches.value_source("traceparent") == Some(ValueSource::CommandLine) {
        return Err(Failure::usage(
            format!("`{text}` is no traceparent"),
            "such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, in lower case and with ids that are not zero",
        ));
    }
    Ok(context)
}

fn source(line: &PublishLine, traceparent: Option<TraceContext>) -> Result<Source, Failure> {
    const FORMS: &str =
        "publish CHANNEL DATA, or publish CHANNEL - to read standard input, or publish --ndjson";
    // `-` is standard input, in the channel's place too where lines may name their own channels.
    let name = line
        .channel
        .as_deref()
        .filter(|name| !(line.ndjson && *name == "-"));
    let channel = name
        .map(|name| Channel::parse(name).map_err(|error| bad_channel(name, &error.to_string())))
        .transpose()?;
    match (channel, line.data.as_deref()) {
        (channel, None | Some("-")) if line.ndjson => Ok(Source::Ndjson {
            channel,
            event_type: line.event.clone(),
            traceparent,
        }),
        (_, Some(_)) if line.ndjson => Err(Failure::usage(
            "--ndjson reads its events from standard input, but DATA was given",
            FORMS,
        )),
        (Some(channel), Some(data)) => Ok(Source::One {
            channel,
            event_type: line.event.clone(),
            event_id: line.id.clone(),
            data: (data != "-").then(|| data.to_owned()),
            traceparent,
        }),
        (Some(_), None) => Err(Failure::usage("no data to publish", FORMS)),
        (None, _) => Err(Failure::usage("no channel to publish to", FORMS)),
    }
}

fn bad_channel(name: &str, why: &str) -> Failure {
    Failure::usage(
        format!("`{name}` is no channel: {why}"),
        "a channel is 1 to 128 of A-Z a-z 0-9 _ . : - without an empty segment between dots",
    )
}

/// The channels to follow, each once, as many as one connection carries.
fn channels(names: Vec<String>) -> Result<Vec<Channel>, Failure> {
    let mut channels: Vec<Channel> = Vec::new();
    for name in names {
        let channel =
            Channel::parse(&name).map_err(|error| bad_channel(&name, &error.to_string()))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.len() > Cursor::MAX_CHANNELS {
        return Err(Failure::usage(
            format!(
                "{} channels, but one connection carries at most {}",
                channels.len(),
                Cursor::MAX_CHANNELS
            ),
            "run one `sluice tail` per group of channels",
        ));
    }
    Ok(channels)
}

fn history(line: HistoryLine, matches: &ArgMatches) -> Result<History, Failure> {
    let name = line.channel;
    let channel = Channel::parse(&name).map_err(|error| bad_channel(&name, &error.to_string()))?;
    let start = start(line.start)?;
    if let Start::From {
        cursor: Cursor::Many(places),
        ..
    } = &start
        && places.get(&channel).is_none()
    {
        return Err(Failure::usage(
            format!("the cursor of --from has no place for {channel}"),
            "give a position of this channel, or a cursor that it has a part in",
        ));
    }
    Ok(History {
        link: link(&line.link, matches)?,
        channel,
        start,
        limit: line.limit,
        json: line.json,
    })
}

fn channels_listed(line: ChannelsLine) -> Result<Channels, Failure> {
    const HINT: &str =
        "pass --redis URL or set SLUICE_REDIS_URL: nodes report who listens in Redis";
    if line.gateway.is_some() {
        return Err(Failure::usage("`channels` does not ask a gateway", HINT));
    }
    Ok(Channels {
        address: needed_redis(&line.redis, "no Redis to find the channels in", HINT)?,
        pattern: line.pattern,
        json: line.json,
    })
}

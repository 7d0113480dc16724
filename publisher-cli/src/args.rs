//! The command line, resolved: what each command needs, checked, in its own types.
//! Secrets are wrapped here, so that no later message can show them.

mod doctor;
mod line;

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use redis::IntoConnectionInfo;
use sluice_wire::{Channel, Cursor, Defaults, Keys};

use crate::failure::Failure;
use crate::pace::Rate;
pub use doctor::Doctor;
use line::{
    CommandLine, InstallFunctionLine, Line, LinkLine, PublishLine, RedisLine, SettingsLine,
    TailLine,
};

/// What to do, with everything needed to do it.
#[derive(Debug)]
pub enum Command {
    Publish(Publish),
    Tail(Tail),
    InstallFunction(InstallFunction),
    Doctor(Doctor),
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
    },
    /// Standard input holds one event a line.
    Ndjson {
        channel: Option<Channel>,
        event_type: Option<String>,
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
}

/// Where a tail begins.
#[derive(Clone, Debug)]
pub enum Start {
    Live,
    From { text: String, cursor: Cursor },
    Since(Duration),
    Last(u32),
}

/// `sluice install-function`, resolved.
#[derive(Debug)]
pub enum InstallFunction {
    PrintLibrary(Defaults),
    PrintScript(Defaults),
    Install {
        address: RedisAddress,
        defaults: Defaults,
        /// Whether the command line asked for settings other than the built-in ones.
        settings_given: bool,
        replace: bool,
    },
}

/// How Sluice is reached.
#[derive(Debug)]
pub enum Link {
    Redis(RedisAddress),
    Gateway(GatewayAddress),
}

/// A Redis server and the names Sluice uses in it.
#[derive(Clone)]
pub struct RedisAddress {
    pub info: redis::ConnectionInfo,
    pub keys: Keys,
    pub timeout: Duration,
}

/// A gateway and what to show it.
#[derive(Clone, Debug)]
pub struct GatewayAddress {
    pub base: reqwest::Url,
    pub token: Option<Secret>,
    pub timeout: Duration,
}

/// A text that no message shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} prefix {:?}", self.keys.prefix())
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}", self.info.addr())
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        write!(f, "the gateway at {host}:{port}")
    }
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
            source: source(&line)?,
            link: link(&line.link, matches)?,
            rate: line.rate,
            json: line.json,
        }),
        CommandLine::Tail(line) => Command::Tail(Tail {
            start: start(&line)?,
            link: link(&line.link, matches)?,
            channels: channels(line.channels)?,
            count: line.count,
            json: line.json,
        }),
        CommandLine::InstallFunction(line) => Command::InstallFunction(install_function(&line)?),
        CommandLine::Doctor(line) => Command::Doctor(doctor::resolve(line)?),
    })
}

fn source(line: &PublishLine) -> Result<Source, Failure> {
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

fn start(line: &TailLine) -> Result<Start, Failure> {
    if let Some(text) = &line.from {
        let cursor = Cursor::parse(text).map_err(|error| {
            Failure::usage(
                format!("--from: {error}"),
                "a position as `sluice publish` prints it, or the id of an event as the gateway sent it",
            )
        })?;
        return Ok(Start::From {
            text: text.clone(),
            cursor,
        });
    }
    Ok(match (line.since, line.last) {
        (Some(age), _) => Start::Since(age),
        (None, Some(count)) => Start::Last(count),
        (None, None) => Start::Live,
    })
}

fn install_function(line: &InstallFunctionLine) -> Result<InstallFunction, Failure> {
    let (defaults, settings_given) = defaults(&line.settings)?;
    if line.eval {
        return Ok(InstallFunction::PrintScript(defaults));
    }
    if line.print {
        return Ok(InstallFunction::PrintLibrary(defaults));
    }
    let url = line.redis.redis.as_deref().ok_or_else(|| {
        Failure::usage(
            "no Redis to install the function in",
            "pass --redis URL or set SLUICE_REDIS_URL",
        )
    })?;
    Ok(InstallFunction::Install {
        address: redis_address(url, &line.redis)?,
        defaults,
        settings_given,
        replace: line.replace,
    })
}

/// The settings asked for over the built-in ones, and whether any was asked for.
fn defaults(line: &SettingsLine) -> Result<(Defaults, bool), Failure> {
    let built_in = Defaults::default();
    let event_bytes = match line.event_bytes {
        Some(size) => usize::try_from(size.as_u64()).map_err(|_| {
            Failure::usage(
                format!("--event-bytes {size} is too large"),
                "give a size such as 64KiB",
            )
        })?,
        None => built_in.event_bytes,
    };
    let given = line.sharded
        || line.maxlen.is_some()
        || line.event_bytes.is_some()
        || [line.ttl, line.head_ttl, line.idem_ttl]
            .iter()
            .any(Option::is_some);
    let defaults = Defaults {
        maxlen: line.maxlen.unwrap_or(built_in.maxlen),
        ttl: line.ttl.unwrap_or(built_in.ttl),
        head_ttl: line.head_ttl.unwrap_or(built_in.head_ttl),
        idem_ttl: line.idem_ttl.unwrap_or(built_in.idem_ttl),
        event_bytes,
        sharded: line.sharded,
    };
    Ok((defaults, given))
}

/// Redis or the gateway: a flag beats an environment variable, and two of a kind are one too many.
fn link(line: &LinkLine, matches: &ArgMatches) -> Result<Link, Failure> {
    let flag = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
    let chosen = match (given(&line.redis.redis), given(&line.gateway)) {
        (Some(redis), Some(gateway)) => match (flag("redis"), flag("gateway")) {
            (true, false) => (Some(redis), None),
            (false, true) => (None, Some(gateway)),
            (true, true) | (false, false) => {
                return Err(Failure::usage(
                    "both Redis and a gateway given",
                    "pass one of --redis and --gateway; a flag beats SLUICE_REDIS_URL and SLUICE_GATEWAY_URL",
                ));
            }
        },
        one => one,
    };
    match chosen {
        (Some(url), _) => Ok(Link::Redis(redis_address(&url, &line.redis)?)),
        (None, Some(url)) => Ok(Link::Gateway(gateway_address(&url, line)?)),
        (None, None) => Err(Failure::usage(
            "neither Redis nor a gateway given",
            "pass --redis URL or --gateway URL, or set SLUICE_REDIS_URL or SLUICE_GATEWAY_URL",
        )),
    }
}

/// The URL itself is never shown: it may hold a password.
fn redis_address(url: &str, line: &RedisLine) -> Result<RedisAddress, Failure> {
    const FORM: &str = "one server, as redis://[user:password@]host[:port][/db]";
    let bad = |why: &str| Failure::usage(format!("not a Redis URL: {why}"), FORM);
    if url.contains(',') {
        return Err(bad("it names several servers"));
    }
    if url.starts_with("rediss:") {
        return Err(bad("this build of sluice has no TLS"));
    }
    if !["redis://", "redis+unix://", "unix://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(bad("it does not begin with redis://"));
    }
    let info = url
        .into_connection_info()
        .map_err(|error| bad(error.detail().unwrap_or(error.category())))?;
    // RESP3: messages of subscriptions and replies share one connection.
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(redis::ProtocolVersion::RESP3);
    Ok(RedisAddress {
        info: info.set_redis_settings(settings),
        keys: line.prefix.clone(),
        timeout: line.timeout,
    })
}

fn gateway_address(url: &str, line: &LinkLine) -> Result<GatewayAddress, Failure> {
    const FORM: &str = "the gateway's public address, such as http://127.0.0.1:8080";
    let bad = |why: &str| Failure::usage(format!("not a gateway URL: {why}"), FORM);
    let base = reqwest::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
    match base.scheme() {
        "http" | "https" => {}
        other => return Err(bad(&format!("`{other}` is no scheme it speaks"))),
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(bad("it has a query or a fragment"));
    }
    let token = line
        .token
        .clone()
        .filter(|token| !token.is_empty())
        .map(Secret);
    if let Some(token) = &token
        && !token.expose().bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(Failure::usage(
            "the token has characters that no token has",
            "pass it as issued, without spaces or line ends",
        ));
    }
    Ok(GatewayAddress {
        base,
        token,
        timeout: line.redis.timeout,
    })
}

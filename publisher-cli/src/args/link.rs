//! How Sluice is reached, resolved: Redis or a gateway, from flags and environment variables.
//! Secrets are wrapped here, so that no later message can show them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use redis::IntoConnectionInfo;
use sluice_wire::Keys;

use super::line::{LinkLine, RedisLine};
use crate::failure::Failure;

/// How Sluice is reached.
#[derive(Clone, Debug)]
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
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

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

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::Redis(address) => address.fmt(f),
            Link::Gateway(address) => address.fmt(f),
        }
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

/// Redis or the gateway: a flag beats an environment variable, and two of a kind are one too many.
pub fn link(line: &LinkLine, matches: &ArgMatches) -> Result<Link, Failure> {
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
        (None, Some(url)) => {
            let gateway = gateway_address(&url, line.token.clone(), line.redis.timeout)?;
            Ok(Link::Gateway(gateway))
        }
        (None, None) => Err(Failure::usage(
            "neither Redis nor a gateway given",
            "pass --redis URL or --gateway URL, or set SLUICE_REDIS_URL or SLUICE_GATEWAY_URL",
        )),
    }
}

/// The Redis of a command that works on nothing else.
pub fn needed_redis(line: &RedisLine, none: &str, hint: &str) -> Result<RedisAddress, Failure> {
    match line.redis.as_deref() {
        None | Some("") => Err(Failure::usage(none, hint)),
        Some(url) => redis_address(url, line),
    }
}

/// The URL itself is never shown: it may hold a password.
pub fn redis_address(url: &str, line: &RedisLine) -> Result<RedisAddress, Failure> {
    const FORM: &str =
        "one server, as redis://[user:password@]host[:port][/db], or rediss:// for TLS";
    let bad = |why: &str| Failure::usage(format!("not a Redis URL: {why}"), FORM);
    if url.contains(',') {
        return Err(bad("it names several servers"));
    }
    if !["redis://", "rediss://", "redis+unix://", "unix://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(bad("it does not begin with redis:// or rediss://"));
    }
    if url.contains('#') {
        return Err(bad("it has a fragment; certificates are always verified"));
    }
    let info = url
        .into_connection_info()
        .map_err(|error| bad(error.detail().unwrap_or(error.category())))?;
    let info = with_certificates(info, url, line)?;
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

/// What TLS goes by, out of the files.
fn with_certificates(
    info: redis::ConnectionInfo,
    url: &str,
    line: &RedisLine,
) -> Result<redis::ConnectionInfo, Failure> {
    let given = [&line.redis_ca, &line.redis_cert, &line.redis_key];
    if !url.starts_with("rediss://") {
        return match given.iter().any(|file| file.is_some()) {
            false => Ok(info),
            true => Err(Failure::usage(
                "certificates given for a connection without TLS",
                "write rediss:// instead of redis://, or leave --redis-ca, --redis-cert and --redis-key out",
            )),
        };
    }
    let read = |file: &Option<PathBuf>| {
        let read = file.as_ref().map(|path| {
            let why = |error| format!("{} cannot be read: {error}", path.display());
            std::fs::read(path).map_err(|error| Failure::usage(why(error), "give a PEM file"))
        });
        read.transpose()
    };
    let own = read(&line.redis_cert)?.zip(read(&line.redis_key)?);
    let certificates = redis::TlsCertificates {
        client_tls: own.map(|(client_cert, client_key)| redis::ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: read(&line.redis_ca)?,
    };
    match redis::Client::build_with_tls(info, certificates) {
        Ok(client) => Ok(client.get_connection_info().clone()),
        Err(error) => Err(Failure::usage(
            format!("the certificates cannot be used: {error}"),
            "give PEM files: --redis-ca, and --redis-cert with --redis-key",
        )),
    }
}

pub fn gateway_address(
    url: &str,
    token: Option<String>,
    timeout: Duration,
) -> Result<GatewayAddress, Failure> {
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
    let token = token.filter(|token| !token.is_empty()).map(Secret);
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
        timeout,
    })
}

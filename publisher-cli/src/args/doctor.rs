//! `sluice doctor`: its command line and what it resolves to.

use std::time::Duration;

use clap::Args;

use super::line::{RedisLine, timeout};
use super::link::{GatewayAddress, RedisAddress, gateway_address, redis_address};
use crate::failure::Failure;

/// `sluice doctor`, resolved.
#[derive(Debug)]
pub struct Doctor {
    /// At least one of the two is there.
    pub redis: Option<RedisAddress>,
    pub gateway: Option<GatewayAddress>,
    pub origin: Option<String>,
    pub quiet_for: Duration,
    pub json: bool,
    pub may_colour: bool,
}

#[derive(Args)]
pub struct DoctorLine {
    /// The page's origin to check CORS for, such as https://app.example.com
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub origin: Option<String>,
    /// How long to watch a quiet stream for proxies that cut it
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = timeout)]
    pub quiet_for: Duration,
    /// Print one object per finding and a summary, instead of text
    #[arg(long)]
    pub json: bool,
    /// Set to anything, the text has no colours (https://no-color.org)
    #[arg(long, hide = true, env = "NO_COLOR", hide_env = true)]
    pub no_color: Option<String>,
    #[command(flatten)]
    pub redis: RedisLine,
    /// Gateway to check, such as http://127.0.0.1:8080; give its address as clients see it
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_GATEWAY_URL",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub gateway: Option<String>,
    /// Token for the gateway; it must allow the channels `sluice-doctor.*`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SLUICE_TOKEN",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub token: Option<String>,
}

/// Both addresses are taken when both are given: the doctor looks at a deployment from both sides.
pub fn resolve(line: DoctorLine) -> Result<Doctor, Failure> {
    let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
    let redis = given(&line.redis.redis).map(|url| redis_address(&url, &line.redis));
    let gateway =
        given(&line.gateway).map(|url| gateway_address(&url, line.token, line.redis.timeout));
    if redis.is_none() && gateway.is_none() {
        return Err(Failure::usage(
            "neither Redis nor a gateway given",
            "pass --redis URL, --gateway URL or both, or set SLUICE_REDIS_URL or SLUICE_GATEWAY_URL",
        ));
    }
    if line.origin.is_some() && gateway.is_none() {
        return Err(Failure::usage(
            "--origin is about the gateway, and none is given",
            "pass --gateway URL too",
        ));
    }
    Ok(Doctor {
        redis: redis.transpose()?,
        gateway: gateway.transpose()?,
        origin: line.origin,
        quiet_for: line.quiet_for,
        json: line.json,
        may_colour: line.no_color.unwrap_or_default().is_empty(),
    })
}

/// An origin as a browser sends it: scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Result<String, String> {
    const FORM: &str = "an origin is a scheme and a host, such as https://app.example.com";
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}: {FORM}"))?;
    let is_web = matches!(url.scheme(), "http" | "https");
    let origin = url.origin().ascii_serialization();
    if !is_web || text.trim_end_matches('/') != origin {
        return Err(if is_web {
            format!("{FORM}; a browser would send {origin}")
        } else {
            FORM.into()
        });
    }
    Ok(origin)
}

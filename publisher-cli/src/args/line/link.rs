//! How Sluice is reached, as written: the options that many commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sluice_wire::Keys;

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
    /// PEM file of the authorities that may sign Redis's certificate (rediss://); otherwise the system's
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_REDIS_CA",
        hide_env_values = true
    )]
    pub redis_ca: Option<PathBuf>,
    /// PEM file of the certificate to show to Redis
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_REDIS_CERT",
        hide_env_values = true,
        requires = "redis_key"
    )]
    pub redis_cert: Option<PathBuf>,
    /// PEM file of that certificate's key
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_REDIS_KEY",
        hide_env_values = true,
        requires = "redis_cert"
    )]
    pub redis_key: Option<PathBuf>,
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

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct AdminLine {
    /// Admin address of the gateway, for --explain, such as http://127.0.0.1:9090
    #[arg(
        long,
        value_name = "URL",
        env = "SLUICE_ADMIN_URL",
        hide_env_values = true
    )]
    pub admin: Option<String>,
    /// Token for the admin address
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SLUICE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    pub admin_token: Option<String>,
}

pub fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("wait for some time, such as 4s".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

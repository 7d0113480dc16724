//! What must hold of each section, and between sections, before anything starts.

mod carriers;
mod jwt;
mod limits;
mod node;
mod redis_tls;
mod requests;
mod tls;

use std::time::Duration;

use super::findings::Findings;
use super::kinds::Size;
use super::sections::{
    AdminConfig, BrokerConfig, BrokerMode, DrainConfig, HealthConfig, HistoryConfig, HttpConfig,
    LogConfig, PollConfig, RedisConfig, RedisMode, StreamConfig,
};
use super::{Config, origin};

const ADMIN_TOKEN_MIN_BYTES: usize = 16;
const PREFIX_MAX_BYTES: usize = 64;
const ORIGINS_MAX: usize = 256;
const NETWORKS_MAX: usize = 256;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
const fn minutes(count: u64) -> Duration {
    secs(count * 60)
}
const fn days(count: u64) -> Duration {
    secs(count * 86_400)
}

/// Checks the whole configuration.
pub fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    node::name(&config.node, &mut findings);
    http(&config.http, &mut findings);
    tls::files(&config.tls, &mut findings);
    tls::http2(config, &mut findings);
    admin(&config.admin, &mut findings);
    broker(&config.broker, &config.redis, &mut findings);
    redis(&config.redis, &mut findings);
    jwt::check(&config.auth, &mut findings);
    carriers::session(&config.session, &mut findings);
    carriers::tickets(&config.tickets, &mut findings);
    history(&config.history, &mut findings);
    stream(&config.stream, &mut findings);
    poll(&config.poll, &mut findings);
    limits::check(&config.limits, &mut findings);
    limits::callers(&config.limits, &mut findings);
    node::reports(&config.redis, &mut findings);
    requests::check(&config.limits, &mut findings);
    node::canary(&config.canary, &mut findings);
    drain(&config.drain, &mut findings);
    health(&config.health, &mut findings);
    log(&config.log, &mut findings);
    findings.at_least(
        "http.body_bytes",
        &config.http.body_bytes,
        "limits.event_bytes",
        &config.limits.event_bytes,
    );
    findings
}

fn http(http: &HttpConfig, found: &mut Findings) {
    found.within("http.workers", &http.workers, 0, 256);
    found.within(
        "http.body_bytes",
        &http.body_bytes,
        Size::kib(1),
        Size::mib(64),
    );
    found.within("http.head_timeout", &http.head_timeout, ms(100), minutes(1));
    found.within("http.keep_alive", &http.keep_alive, secs(1), minutes(10));
    if http.cors_origins.len() > ORIGINS_MAX {
        found.refuse(
            "http.cors_origins",
            format!("more than {ORIGINS_MAX} origins"),
        );
    }
    if http.trusted_proxies.len() > NETWORKS_MAX {
        found.refuse(
            "http.trusted_proxies",
            format!("more than {NETWORKS_MAX} ranges"),
        );
    }
    for text in &http.cors_origins {
        if let Err(complaint) = origin::check(text) {
            found.refuse("http.cors_origins", format!("`{text}` {complaint}"));
        }
    }
}

fn admin(admin: &AdminConfig, found: &mut Findings) {
    if admin
        .token
        .as_ref()
        .is_some_and(|token| token.expose().len() < ADMIN_TOKEN_MIN_BYTES)
    {
        found.refuse(
            "admin.token",
            format!("is shorter than {ADMIN_TOKEN_MIN_BYTES} bytes"),
        );
    }
}

fn broker(broker: &BrokerConfig, redis: &RedisConfig, found: &mut Findings) {
    match broker.mode {
        BrokerMode::Redis if redis.url.is_none() => found.refuse(
            "redis.url",
            "must be set, for example redis://127.0.0.1:6379 (or set broker.mode to embedded, or start with --dev, to try Sluice without Redis)",
        ),
        BrokerMode::Redis | BrokerMode::Embedded => {}
    }
}

fn redis(redis: &RedisConfig, found: &mut Findings) {
    match redis.mode {
        RedisMode::Standalone => {}
        RedisMode::Sentinel | RedisMode::Cluster => found.refuse(
            "redis.mode",
            format!(
                "`{}` is not available yet in this version; use standalone",
                redis.mode
            ),
        ),
    }
    if redis.sentinel_master.is_some() && redis.mode != RedisMode::Sentinel {
        found.refuse("redis.sentinel_master", "is only for redis.mode sentinel");
    }
    redis_tls::check(redis, found);
    let prefix = redis.prefix.as_bytes();
    let visible = prefix
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !b"{}".contains(byte));
    if prefix.is_empty() || prefix.len() > PREFIX_MAX_BYTES || !visible {
        found.refuse(
            "redis.prefix",
            format!("must be 1 to {PREFIX_MAX_BYTES} visible ASCII characters without braces (braces pick the cluster slot)"),
        );
    }
    found.within("redis.pool_size", &redis.pool_size, 1, 256);
    found.within(
        "redis.connect_timeout",
        &redis.connect_timeout,
        ms(50),
        minutes(1),
    );
    found.within(
        "redis.response_timeout",
        &redis.response_timeout,
        ms(100),
        minutes(1),
    );
    found.within(
        "redis.audit_interval",
        &redis.audit_interval,
        ms(50),
        minutes(5),
    );
    found.within(
        "redis.probe_interval",
        &redis.probe_interval,
        ms(50),
        minutes(1),
    );
    found.within(
        "redis.probe_timeout",
        &redis.probe_timeout,
        ms(100),
        minutes(1),
    );
    found.below(
        "redis.probe_interval",
        &redis.probe_interval,
        "redis.probe_timeout",
        &redis.probe_timeout,
    );
    found.within("redis.backoff_min", &redis.backoff_min, ms(1), secs(10));
    found.within("redis.backoff_max", &redis.backoff_max, ms(10), minutes(1));
    found.within("redis.linger", &redis.linger, Duration::ZERO, minutes(10));
    found.at_least(
        "redis.backoff_max",
        &redis.backoff_max,
        "redis.backoff_min",
        &redis.backoff_min,
    );
}

fn history(history: &HistoryConfig, found: &mut Findings) {
    found.within("history.max_events", &history.max_events, 1, 1_000_000);
    found.within("history.ttl", &history.ttl, secs(1), days(365));
    found.within("history.head_ttl", &history.head_ttl, secs(1), days(365));
    found.within("history.idem_ttl", &history.idem_ttl, secs(1), days(7));
    found.at_least(
        "history.head_ttl",
        &history.head_ttl,
        "history.ttl",
        &history.ttl,
    );
}

fn stream(stream: &StreamConfig, found: &mut Findings) {
    found.within("stream.heartbeat", &stream.heartbeat, ms(100), minutes(5));
    found.within("stream.retry", &stream.retry, ms(100), minutes(5));
    found.within(
        "stream.overload_retry",
        &stream.overload_retry,
        ms(100),
        minutes(60),
    );
    found.within("stream.max_age", &stream.max_age, secs(1), days(7));
    found.within("stream.open_wait", &stream.open_wait, ms(10), secs(30));
    found.within(
        "stream.slow_consumer_age",
        &stream.slow_consumer_age,
        ms(100),
        minutes(10),
    );
    found.within(
        "stream.expiring_lead",
        &stream.expiring_lead,
        Duration::ZERO,
        days(1),
    );
    found.within(
        "stream.send_buffer",
        &stream.send_buffer,
        Size::kib(4),
        Size::mib(16),
    );
    found.within(
        "stream.user_timeout",
        &stream.user_timeout,
        ms(100),
        minutes(10),
    );
    found.at_least(
        "stream.max_age",
        &stream.max_age,
        "stream.heartbeat",
        &stream.heartbeat,
    );
}

fn poll(poll: &PollConfig, found: &mut Findings) {
    found.within("poll.timeout", &poll.timeout, Duration::ZERO, minutes(10));
    found.within("poll.max_timeout", &poll.max_timeout, secs(1), minutes(10));
    found.at_least(
        "poll.max_timeout",
        &poll.max_timeout,
        "poll.timeout",
        &poll.timeout,
    );
}

fn drain(drain: &DrainConfig, found: &mut Findings) {
    found.within("drain.deadline", &drain.deadline, ms(100), minutes(60));
    found.within(
        "drain.readiness_lead",
        &drain.readiness_lead,
        Duration::ZERO,
        minutes(5),
    );
    found.below(
        "drain.readiness_lead",
        &drain.readiness_lead,
        "drain.deadline",
        &drain.deadline,
    );
}

fn health(health: &HealthConfig, found: &mut Findings) {
    if let Some(grace) = &health.redis_grace {
        found.within("health.redis_grace", grace, secs(1), days(1));
    }
}

fn log(log: &LogConfig, found: &mut Findings) {
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.filter) {
        found.refuse(
            "log.filter",
            format!("the value is not a list of filter directives: {error}"),
        );
    }
}

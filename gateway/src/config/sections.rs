//! One struct per section of the configuration. Each component receives only its own; `defaults.toml` says
//! what every key means, and a test holds the two together.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forms::{duration, list, off_or_duration, optional, text};
use super::kinds::{RedisUrl, Secret, Size, choice};
use super::network::Network;

/// `[node]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Not set, it is made of the host's name and the process id.
    #[serde(with = "optional")]
    pub name: Option<String>,
}

/// `[http]`: the public listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    #[serde(with = "text")]
    pub bind: SocketAddr,
    /// 0 means one per core.
    pub workers: usize,
    #[serde(with = "list")]
    pub cors_origins: Vec<String>,
    #[serde(with = "text")]
    pub body_bytes: Size,
    #[serde(with = "text")]
    pub head_bytes: Size,
    #[serde(with = "duration")]
    pub head_timeout: Duration,
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    #[serde(with = "list")]
    pub trusted_proxies: Vec<Network>,
    #[serde(with = "text")]
    pub forwarded_header: ForwardedHeader,
}

choice! {
    /// Where trusted proxies write whom they speak for.
    ForwardedHeader {
        XForwardedFor = "x-forwarded-for",
        /// RFC 7239.
        Forwarded = "forwarded",
    }
}

/// `[tls]`: the certificate of the public listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Both or none.
    #[serde(with = "optional")]
    pub certificate_file: Option<String>,
    #[serde(with = "optional")]
    pub key_file: Option<String>,
    #[serde(with = "duration")]
    pub reload_interval: Duration,
}

/// `[admin]`: the listener for probes, metrics and commands.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    #[serde(with = "text")]
    pub bind: SocketAddr,
    #[serde(with = "optional")]
    pub token: Option<Secret>,
}

choice! {
    /// Where events come from.
    BrokerMode {
        /// Redis pub/sub and streams.
        Redis = "redis",
        /// This process only.
        Embedded = "embedded",
    }
}

/// `[broker]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    #[serde(with = "text")]
    pub mode: BrokerMode,
}

choice! {
    /// How Redis is laid out.
    RedisMode {
        Standalone = "standalone",
        Sentinel = "sentinel",
        Cluster = "cluster",
    }
}

choice! {
    /// Whether the gateway may load the publish library.
    Functions { Auto = "auto", Never = "never" }
}

/// `[redis]`: the connection to Redis and how its loss is noticed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Present whenever the broker is Redis.
    #[serde(with = "optional")]
    pub url: Option<RedisUrl>,
    #[serde(with = "optional")]
    pub ca_file: Option<String>,
    #[serde(with = "optional")]
    pub client_certificate_file: Option<String>,
    #[serde(with = "optional")]
    pub client_key_file: Option<String>,
    #[serde(with = "text")]
    pub mode: RedisMode,
    #[serde(with = "optional")]
    pub sentinel_master: Option<String>,
    pub prefix: String,
    pub pool_size: usize,
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    #[serde(with = "duration")]
    pub audit_interval: Duration,
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    #[serde(with = "duration")]
    pub backoff_min: Duration,
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    #[serde(with = "duration")]
    pub linger: Duration,
    #[serde(with = "text")]
    pub functions: Functions,
    /// 0 switches reports off.
    #[serde(with = "duration")]
    pub report_interval: Duration,
}

choice! {
    /// Who may connect.
    AuthMode {
        /// Everyone, to every channel that is not reserved.
        Anonymous = "anonymous",
        /// Bearers of a signed token.
        Jwt = "jwt",
    }
}

/// `[auth]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    #[serde(with = "text")]
    pub mode: AuthMode,
    /// What callers without credentials may read where others need a token.
    #[serde(with = "list")]
    pub anonymous_subscribe: Vec<String>,
    /// Whether `?token=` is read.
    pub query_token: bool,
    pub jwt: JwtConfig,
}

choice! {
    /// Signature algorithms that are verified (RFC 7518, section 3.1; RFC 8037, section 3.1).
    JwtAlgorithm {
        Hs256 = "HS256", Hs384 = "HS384", Hs512 = "HS512",
        Rs256 = "RS256", Rs384 = "RS384", Rs512 = "RS512",
        Ps256 = "PS256", Ps384 = "PS384", Ps512 = "PS512",
        Es256 = "ES256", Es384 = "ES384", EdDsa = "EdDSA",
    }
}

choice! {
    /// From where a browser sends a cookie along (RFC 6265bis, section 5.5.7).
    SameSite { Strict = "strict", Lax = "lax", None = "none" }
}

/// `[session]`: the cookie that carries a token.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    pub cookie: String,
    #[serde(with = "text")]
    pub same_site: SameSite,
    #[serde(with = "optional")]
    pub domain: Option<String>,
}

/// `[tickets]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TicketsConfig {
    #[serde(with = "duration")]
    pub ttl: Duration,
}

/// `[auth.jwt]`: the verification keys and the claims that are checked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// One of `secret`, the files, and `jwks_url` is present whenever the mode is `jwt`.
    #[serde(with = "optional")]
    pub secret: Option<Secret>,
    #[serde(with = "list")]
    pub public_key_file: Vec<String>,
    #[serde(with = "optional")]
    pub jwks_url: Option<String>,
    #[serde(with = "optional")]
    pub jwks_file: Option<String>,
    /// Empty: what fits the keys.
    #[serde(with = "list")]
    pub algorithms: Vec<JwtAlgorithm>,
    #[serde(with = "optional")]
    pub issuer: Option<String>,
    #[serde(with = "list")]
    pub audience: Vec<String>,
    #[serde(with = "duration")]
    pub leeway: Duration,
    #[serde(with = "duration")]
    pub max_lifetime: Duration,
    pub require_iat: bool,
    #[serde(with = "duration")]
    pub jwks_refresh: Duration,
    #[serde(with = "duration")]
    pub jwks_timeout: Duration,
    #[serde(with = "text")]
    pub jwks_bytes: Size,
}

/// `[history]`: what is kept per channel.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryConfig {
    pub max_events: u32,
    #[serde(with = "duration")]
    pub ttl: Duration,
    #[serde(with = "duration")]
    pub head_ttl: Duration,
    #[serde(with = "duration")]
    pub idem_ttl: Duration,
}

/// `[stream]`: the life of one stream.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    #[serde(with = "duration")]
    pub retry: Duration,
    #[serde(with = "duration")]
    pub max_age: Duration,
    #[serde(with = "duration")]
    pub open_wait: Duration,
    #[serde(with = "duration")]
    pub slow_consumer_age: Duration,
    #[serde(with = "duration")]
    pub overload_retry: Duration,
    /// 0 switches the warning off.
    #[serde(with = "duration")]
    pub expiring_lead: Duration,
    #[serde(with = "text")]
    pub send_buffer: Size,
    #[serde(with = "duration")]
    pub user_timeout: Duration,
}

/// `[poll]`: how long a poll waits.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PollConfig {
    #[serde(with = "duration")]
    pub timeout: Duration,
    #[serde(with = "duration")]
    pub max_timeout: Duration,
}

/// `[limits]`: the bound of every queue, ring and wait.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// 0 fits it to the process's file descriptors.
    pub connections: usize,
    pub channels_per_connection: usize,
    #[serde(with = "text")]
    pub event_bytes: Size,
    pub ring_events: usize,
    #[serde(with = "text")]
    pub ring_bytes: Size,
    pub worker_queue: usize,
    pub broker_queue: usize,
    pub sync_buffer: usize,
    pub backfills: usize,
    pub backfill_page: usize,
    pub backfill_events: usize,
    pub new_heads_per_second: u32,
    pub embedded_channels: usize,
    pub streams_per_connection: usize,
    pub http2_streams: usize,
    pub http2_resets_per_second: u32,
    #[serde(with = "text")]
    pub page_bytes: Size,
    #[serde(with = "text")]
    pub batch_bytes: Size,
    pub batch_events: usize,
    pub batches_at_once: usize,
    pub standing_orders: usize,
    pub ended_streams: usize,
    /// 0 is off, here and in all that follow.
    pub connections_per_ip: usize,
    pub sockets_per_ip: usize,
    pub connections_per_subject: usize,
    #[serde(with = "text")]
    pub subject_policy: SubjectPolicy,
    #[serde(with = "duration")]
    pub subject_lease: Duration,
    pub attempts_per_ip_per_second: u32,
    pub attempts_per_ip_burst: u32,
    pub publishes_per_subject_per_second: u32,
    pub publishes_per_subject_burst: u32,
    pub ip_entries: usize,
}

choice! {
    /// What becomes of a subject's stream that is one too many.
    SubjectPolicy {
        /// It is refused.
        Reject = "reject",
        /// It opens, and the subject's oldest ends.
        EvictOldest = "evict_oldest",
    }
}

/// `[canary]`: probes of the node's own delivery.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryConfig {
    pub enabled: bool,
    #[serde(with = "duration")]
    pub interval: Duration,
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// `[drain]`: how the node leaves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DrainConfig {
    #[serde(with = "duration")]
    pub deadline: Duration,
    #[serde(with = "duration")]
    pub readiness_lead: Duration,
}

/// `[health]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    #[serde(with = "off_or_duration")]
    pub redis_grace: Option<Duration>,
}

choice! {
    /// How log lines look.
    LogFormat { Human = "human", Json = "json" }
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    #[serde(with = "text")]
    pub format: LogFormat,
    pub filter: String,
}

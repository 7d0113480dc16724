//! What each component needs to know, out of the validated configuration.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sluice_wire::keys::Keys;
use sluice_wire::publish::Defaults;

use crate::auth::revoked::RevocationCheck;
use crate::broker::embedded::EmbeddedSettings;
use crate::broker::leases::LeaseSettings;
use crate::broker::redis::{Certificates, RedisSettings, Topology};
use crate::broker::reports::ReportSettings;
use crate::broker::{BackendSettings, Broker, BrokerSettings, canary};
use crate::canary::Pass;
use crate::config::{BrokerMode, Config, Functions, RedisConfig, SubjectPolicy};
use crate::connection::StreamLimits;
use crate::http::admin::access::Access;
use crate::http::admin::connections::Roll;
use crate::http::admin::{Admin, AdminLimits};
use crate::http::admission::GateSettings;
use crate::http::admission::rates::Pace;
use crate::http::admission::shares::Shares;
use crate::http::credentials::Carriers;
use crate::http::forwarded::Forwarding;
use crate::http::page;
use crate::http::params::SubscribeLimits;
use crate::http::peer::SocketOptions;
use crate::http::poll::PollLimits;
use crate::http::routes::PublicLimits;
use crate::http::transport::{Crowd, Http2Limits, Transport};
use crate::hub::chain::ChainLimits;
use crate::hub::node::NodeLimits;
use crate::hub::ring::RingLimits;
use crate::lifecycle::{Admission, Drain};
use crate::metrics::Metrics;

/// Descriptors kept for everything but streams: Redis, listeners, probes, files.
const OTHER_DESCRIPTORS: usize = 256;
/// Sockets without a stream, where there are descriptors for them.
const IDLE_SOCKETS: usize = 1_024;
/// Sockets beyond the streams in any case.
const SPARE_SOCKETS: usize = 64;
/// Descriptors to count on where the system does not tell its limit.
const USUAL_DESCRIPTORS: usize = 1_024;
/// Bytes that one pull of a stream gives at most.
const CHUNK_BYTES: usize = 64 * 1_024;

pub(super) fn workers(config: &Config) -> usize {
    match config.http.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// The demo page of a gateway that listens at `bind`.
pub(super) fn page(config: &Config, bind: SocketAddr) -> page::Index {
    let redis = match config.broker.mode {
        BrokerMode::Embedded => None,
        BrokerMode::Redis => config.redis.url.as_ref(),
    };
    page::Index::new(
        bind,
        redis.map(|url| (url.expose(), config.redis.prefix.as_str())),
    )
}

/// The limit of streams: as configured, or what the descriptors allow.
pub(super) fn connections(config: &Config) -> usize {
    match config.limits.connections {
        0 => descriptors().saturating_sub(OTHER_DESCRIPTORS).max(1),
        connections => connections,
    }
}

/// Sockets that one worker may hold, streams and idle ones: few enough that all together leave
/// [`OTHER_DESCRIPTORS`] alone, but for [`SPARE_SOCKETS`] to tell newcomers that the node is full.
pub(super) fn sockets_per_worker(limit: usize, workers: usize) -> usize {
    share(limit, descriptors(), workers)
}

/// Sockets that all workers together may hold.
pub(super) fn sockets(admission: &Admission, workers: usize) -> usize {
    sockets_per_worker(admission.limit(), workers).saturating_mul(workers)
}

fn share(limit: usize, descriptors: usize, workers: usize) -> usize {
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let idle = limit.saturating_add(IDLE_SOCKETS);
    let all = idle.min(most).max(limit.saturating_add(SPARE_SOCKETS));
    all.div_ceil(workers.max(1))
}

fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits
        .lines()
        .find_map(|line| {
            line.strip_prefix("Max open files")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(USUAL_DESCRIPTORS)
}

pub(super) fn broker(config: &Config) -> Result<BrokerSettings, String> {
    let limits = &config.limits;
    let chain = ChainLimits {
        buffer: limits.sync_buffer,
        page: limits.backfill_page,
        backfill: limits.backfill_events,
        ..ChainLimits::default()
    };
    let backend = match config.broker.mode {
        BrokerMode::Embedded => BackendSettings::Embedded(EmbeddedSettings {
            channels: limits.embedded_channels,
        }),
        BrokerMode::Redis => BackendSettings::Redis(redis(config)?),
    };
    Ok(BrokerSettings {
        node: NodeLimits {
            chain,
            backfills: limits.backfills,
            linger: config.redis.linger,
            audit_interval: config.redis.audit_interval,
        },
        events: events(config),
        canary: canary::terms(events(config), config.canary.interval),
        worker_queue: limits.worker_queue,
        queue: limits.broker_queue,
        new_heads_per_second: limits.new_heads_per_second,
        standing_orders: limits.standing_orders,
        leases: leases(config),
        backend,
    })
}

fn events(config: &Config) -> Defaults {
    Defaults {
        maxlen: config.history.max_events,
        ttl: config.history.ttl,
        head_ttl: config.history.head_ttl,
        idem_ttl: config.history.idem_ttl,
        event_bytes: config.limits.event_bytes.get(),
        sharded: false,
    }
}

fn redis(config: &Config) -> Result<RedisSettings, String> {
    let redis = &config.redis;
    let url = redis.url.as_ref().ok_or("redis.url is missing")?;
    Ok(RedisSettings {
        topology: Topology::standalone(url.expose(), certificates(redis)?)
            .map_err(|error| format!("redis.url: {error}"))?,
        keys: Keys::new(&redis.prefix).map_err(|error| format!("redis.prefix: {error}"))?,
        pool: redis.pool_size,
        connect_timeout: redis.connect_timeout,
        response_timeout: redis.response_timeout,
        probe_interval: redis.probe_interval,
        probe_timeout: redis.probe_timeout,
        backoff_min: redis.backoff_min,
        backoff_max: redis.backoff_max,
        install_functions: redis.functions == Functions::Auto,
        reports: (!redis.report_interval.is_zero()).then(|| ReportSettings {
            node: node_name(config),
            interval: redis.report_interval,
        }),
    })
}

/// Reads the files of TLS to Redis; they are read once, at the start.
fn certificates(redis: &RedisConfig) -> Result<Certificates, String> {
    let read = |key: &str, path: &Option<String>| {
        let read = path.as_ref().map(|path| {
            std::fs::read(path).map_err(|error| format!("{key}: {path} cannot be read: {error}"))
        });
        read.transpose()
    };
    let authorities = read("redis.ca_file", &redis.ca_file)?;
    if let (Some(path), Some(pem)) = (&redis.ca_file, &authorities)
        && !CertificateDer::pem_slice_iter(pem).any(|found| found.is_ok())
    {
        return Err(format!("redis.ca_file: {path} holds no PEM certificate"));
    }
    let certificate = read(
        "redis.client_certificate_file",
        &redis.client_certificate_file,
    )?;
    let key = read("redis.client_key_file", &redis.client_key_file)?;
    let own = certificate.zip(key);
    if let Some((certificate, key)) = &own {
        fits(certificate, key).map_err(|why| {
            format!("redis.client_certificate_file, redis.client_key_file: {why}")
        })?;
    }
    Ok(Certificates { authorities, own })
}

/// Whether a certificate and a key, as PEM text, belong together.
fn fits(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no PEM certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("there is no PEM private key: {error}"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map(|_| ())
        .map_err(|error| format!("the key does not fit the certificate: {error}"))
}

pub(super) fn streams(config: &Config) -> StreamLimits {
    let stream = &config.stream;
    let limits = &config.limits;
    StreamLimits {
        node: node_name(config),
        ring: RingLimits {
            entries: limits.ring_events,
            bytes: limits.ring_bytes.get(),
        },
        ring_age: stream.slow_consumer_age * 2,
        heartbeat: stream.heartbeat,
        retry: stream.retry,
        limit_retry: stream.overload_retry,
        max_age: stream.max_age,
        open_wait: stream.open_wait,
        slow_consumer_age: stream.slow_consumer_age,
        backfill_events: u32::try_from(limits.backfill_events).unwrap_or(u32::MAX),
        chunk_bytes: CHUNK_BYTES,
        expiring_lead: stream.expiring_lead,
        ended_streams: limits.ended_streams,
    }
}

/// The name of this node: as configured, or made once.
pub(super) fn node_name(config: &Config) -> String {
    static MADE: LazyLock<String> = LazyLock::new(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        default_name(host.trim(), std::process::id(), rand::random())
    });
    config.node.name.clone().unwrap_or_else(|| MADE.clone())
}

/// The host's name, in Kubernetes the pod's, and the process id. Containers on one host's network share the first, and the
/// second is 1 in each: that one tells nothing apart.
fn default_name(host: &str, pid: u32, random: u16) -> String {
    let host = if host.is_empty() { "sluice" } else { host };
    if pid == 1 {
        format!("{host}:1-{random:04x}")
    } else {
        format!("{host}:{pid}")
    }
}

pub(super) fn public(config: &Config) -> PublicLimits {
    PublicLimits {
        subscribe: SubscribeLimits {
            channels: config.limits.channels_per_connection,
            last: config.history.max_events,
        },
        poll: PollLimits {
            timeout: config.poll.timeout,
            max_timeout: config.poll.max_timeout,
            page_bytes: u32::try_from(config.limits.page_bytes.get()).unwrap_or(u32::MAX),
        },
        event_bytes: config.limits.event_bytes.get(),
        batch_bytes: config.limits.batch_bytes.get(),
        batch_events: config.limits.batch_events,
        batch_wait: batch_wait(config),
        batches_at_once: config.limits.batches_at_once,
        page_bytes: config.limits.page_bytes.get(),
        body_bytes: config.http.body_bytes.get(),
        body_wait: config.http.head_timeout,
        streams_per_connection: config.limits.streams_per_connection,
        overload_retry: config.stream.overload_retry,
    }
}

pub(super) fn carriers(config: &Config) -> Carriers {
    Carriers {
        session: config.session.clone(),
        ticket_ttl: config.tickets.ttl,
        query_token: config.auth.query_token,
    }
}

/// As much time for each byte as any other body has.
fn batch_wait(config: &Config) -> Duration {
    let bodies = config.limits.batch_bytes.get() / config.http.body_bytes.get().max(1);
    let bodies = u32::try_from(bodies).unwrap_or(u32::MAX).max(1);
    config.http.head_timeout.saturating_mul(bodies)
}

pub(super) fn gate(config: &Config) -> GateSettings {
    let limits = &config.limits;
    let pace = |per_second: u32, burst: u32| (per_second > 0).then_some(Pace { per_second, burst });
    GateSettings {
        forwarding: forwarding(config),
        connections_per_address: (limits.connections_per_ip > 0)
            .then_some(limits.connections_per_ip),
        attempts: pace(
            limits.attempts_per_ip_per_second,
            limits.attempts_per_ip_burst,
        ),
        publishes: pace(
            limits.publishes_per_subject_per_second,
            limits.publishes_per_subject_burst,
        ),
        entries: limits.ip_entries,
    }
}

fn leases(config: &Config) -> Option<LeaseSettings> {
    let limits = &config.limits;
    (limits.connections_per_subject > 0).then_some(LeaseSettings {
        most: limits.connections_per_subject,
        evicts: limits.subject_policy == SubjectPolicy::EvictOldest,
        lasting: limits.subject_lease,
    })
}

/// How a listener takes its connections.
pub(super) fn transport(
    config: &Config,
    (tls, canary): (Option<Arc<ServerConfig>>, Option<Pass>),
    metrics: &Metrics,
) -> Transport {
    Transport {
        sockets: SocketOptions {
            send_buffer: config.stream.send_buffer.get(),
            user_timeout: config.stream.user_timeout,
        },
        head_timeout: config.http.head_timeout,
        keep_alive: config.http.keep_alive,
        http2: Http2Limits {
            streams: config.limits.http2_streams,
            resets_per_second: config.limits.http2_resets_per_second,
            head_bytes: config.http.head_bytes.get(),
            idle: config.http.keep_alive,
        },
        tls,
        ended: metrics.transport.ended.clone(),
        open: Admission::new(usize::MAX),
        crowd: crowd(config, canary),
    }
}

fn crowd(config: &Config, canary: Option<Pass>) -> Option<Crowd> {
    let most = config.limits.sockets_per_ip;
    (most > 0).then(|| Crowd {
        shares: Arc::new(Shares::new(most)),
        forwarding: forwarding(config),
        canary,
    })
}

fn forwarding(config: &Config) -> Forwarding {
    Forwarding::new(
        config.http.trusted_proxies.clone(),
        config.http.forwarded_header,
    )
}

/// The commands of the admin listener that is bound there.
pub(super) fn admin(
    config: &Config,
    bound: SocketAddr,
    broker: &Broker,
    roll: Roll,
    metrics: &Metrics,
) -> Admin {
    let access = Access::new(config.admin.token.as_ref(), bound);
    if !access.is_open() {
        tracing::info!(%bound, "admin commands are off: `admin.token` is not set, and this address can be reached from elsewhere");
    }
    let leeway = config.auth.jwt.leeway;
    Admin {
        access,
        broker: broker.clone(),
        roll,
        limits: AdminLimits {
            // As `exp` may be so far ahead by an issuer's clock, and is accepted for so long after it by ours.
            token_lifetime: config.auth.jwt.max_lifetime + leeway * 2,
            leeway,
            body_wait: config.http.head_timeout,
        },
        metrics: metrics.control.clone(),
    }
}

/// What verified callers are asked for last.
pub(super) fn revocations(broker: &Broker) -> RevocationCheck {
    RevocationCheck::new(broker.revocations().clone(), broker.clock().clone())
}

pub(super) fn drain(config: &Config) -> Drain {
    let lead: Duration = config.drain.readiness_lead;
    Drain {
        lead,
        window: config.drain.deadline.saturating_sub(lead),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("pod-7", 4711, "pod-7:4711")]
    #[case("pod-7", 1, "pod-7:1-00ff")]
    #[case("", 12, "sluice:12")]
    fn a_default_name_tells_nodes_apart(#[case] host: &str, #[case] pid: u32, #[case] name: &str) {
        assert_eq!(default_name(host, pid, 255), name);
    }

    #[rstest]
    #[case::few_streams(4, 100_000, 1, 1_028)]
    #[case::shared_among_workers(8_000, 100_000, 8, 1_128)]
    #[case::few_descriptors(500, 1_024, 4, 192)]
    #[case::as_many_streams_as_descriptors(768, 1_024, 1, 832)]
    #[case::rounded_up(1, 1_000_000, 3, 342)]
    #[case::hardly_any(1, 10, 1, 65)]
    fn sockets_leave_the_other_descriptors_alone(
        #[case] limit: usize,
        #[case] descriptors: usize,
        #[case] workers: usize,
        #[case] each: usize,
    ) {
        assert_eq!(share(limit, descriptors, workers), each);
    }
}

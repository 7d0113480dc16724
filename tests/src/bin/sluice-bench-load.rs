//! Measures one gateway from one thread: memory of idle connections, fan-out, and publishes through the script.
//! It starts a redis-server and a gateway of its own and prints one line of JSON. Bounded in every direction.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use sluice_e2e::{
    certificate::Certificate,
    held::{OverHttp2, OverTls},
    lab::Lab,
    load::{self, Audience, Script},
    node::NodeSettings,
    process,
    redis::RedisServer,
    trickling::Trickling,
    wait,
};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{MissedTickBehavior, interval, sleep},
};

const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Longer than a head may take.
const SETTLING: Duration = Duration::from_secs(8);

/// Loads a gateway and prints what it cost.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Transport {
    /// HTTP/1.1, a socket each
    Plain,
    /// HTTP/1.1 over TLS, a socket each
    Tls,
    /// HTTP/2 without TLS, a hundred streams on each socket
    Http2,
}

#[derive(Subcommand)]
enum Mode {
    /// Resident memory per idle connection.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        #[arg(long, default_value_t = 1)]
        channels: usize,
        /// What the streams run over; other than plain on one channel only.
        #[arg(long, value_enum, default_value_t = Transport::Plain)]
        transport: Transport,
    },
    /// Deliveries per second, their latency, and the server's CPU per delivery.
    Fanout {
        #[arg(long, default_value_t = 1_000)]
        connections: usize,
        #[arg(long, default_value_t = 1)]
        channels: usize,
        /// Events per second over all channels.
        #[arg(long, default_value_t = 20)]
        rate: u32,
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Bytes of data per event.
        #[arg(long, default_value_t = 100)]
        bytes: usize,
        /// Sockets that send one byte a second meanwhile, and never a request.
        #[arg(long, default_value_t = 0)]
        trickling: usize,
    },
    /// Publishes per second through the script.
    Publish {
        /// Calls under way at once on the one connection.
        #[arg(long, default_value_t = 64)]
        in_flight: usize,
        #[arg(long, default_value_t = 1)]
        channels: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        #[arg(long, default_value_t = 100)]
        bytes: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let lab = Lab::new()?;
    let redis = lab.redis().await?;
    let measured = match args.mode {
        Mode::Idle {
            connections,
            channels,
            transport,
        } => {
            LocalSet::new()
                .run_until(idle(&lab, &redis, connections, channels, transport))
                .await?
        }
        Mode::Fanout {
            connections,
            channels,
            rate,
            seconds,
            bytes,
            trickling,
        } => {
            let plan = Plan {
                trickling,
                connections,
                channels,
                rate,
                seconds,
                bytes,
            };
            LocalSet::new()
                .run_until(fanout(&lab, &redis, plan))
                .await?
        }
        Mode::Publish {
            in_flight,
            channels,
            seconds,
            bytes,
        } => {
            publishes(
                &redis,
                in_flight,
                channels,
                Duration::from_secs(seconds.into()),
                bytes,
            )
            .await?
        }
    };
    println!("{measured}");
    Ok(())
}

/// Streams that nothing is published to. Those over TLS and HTTP/2 are held and not read.
#[expect(dead_code, reason = "the streams are held, no more")]
enum Idle {
    Plain(Audience),
    Tls(OverTls),
    Http2(OverHttp2),
}

async fn idle(
    lab: &Lab,
    redis: &RedisServer,
    connections: usize,
    channels: usize,
    transport: Transport,
) -> Result<Value> {
    let certificate = Certificate::make(&lab.dir().join("bench"))?;
    let mut settings = NodeSettings::default();
    if transport == Transport::Tls {
        let path = |path: &Path| path.display().to_string();
        settings = settings
            .with(
                "SLUICE__TLS__CERTIFICATE_FILE",
                path(&certificate.certificate),
            )
            .with("SLUICE__TLS__KEY_FILE", path(&certificate.key));
    }
    let node = lab.node("gateway", &redis.url(), settings).await?;
    let pid = node.pid()?;
    let (before, slab) = (process::resident_bytes(pid)?, process::kernel_slab_bytes()?);
    let idle = match transport {
        Transport::Plain => Idle::Plain(Audience::open(&node, connections, channels).await?),
        Transport::Tls => Idle::Tls(OverTls::open(node.http(), &certificate, connections).await?),
        Transport::Http2 => Idle::Http2(OverHttp2::open(node.http(), connections).await?),
    };
    let opened = process::resident_bytes(pid)?;
    // Heartbeats and audits have run by then: what is left is what an idle connection costs.
    let cpu = process::cpu_time(pid)?;
    let quiet = Duration::from_secs(20);
    sleep(quiet).await;
    let after = process::resident_bytes(pid)?;
    let cpu = process::cpu_time(pid)?.saturating_sub(cpu);
    let slab = process::kernel_slab_bytes()?.saturating_sub(slab);
    match &idle {
        Idle::Plain(audience) => audience.still_open(&node).await?,
        Idle::Tls(_) | Idle::Http2(_) => load::are_open(&node, connections).await?,
    }
    Ok(json!({
        "mode": "idle", "transport": format!("{transport:?}").to_lowercase(),
        "connections": connections, "channels": channels,
        "kernel_slab_per_pair": slab / connections as u64,
        "rss_before": before, "rss_opened": opened, "rss_after": after,
        "rss_per_connection": after.saturating_sub(before) / connections as u64,
        "cpu_share_idle": cpu.as_secs_f64() / quiet.as_secs_f64(),
    }))
}

#[derive(Clone, Copy)]
struct Plan {
    connections: usize,
    channels: usize,
    rate: u32,
    seconds: u32,
    bytes: usize,
    trickling: usize,
}

async fn fanout(lab: &Lab, redis: &RedisServer, plan: Plan) -> Result<Value> {
    ensure!(
        plan.rate > 0 && plan.channels > 0,
        "rate and channels must be at least 1"
    );
    ensure!(
        plan.connections.is_multiple_of(plan.channels),
        "connections must be a multiple of channels"
    );
    let node = lab
        .node("gateway", &redis.url(), NodeSettings::default())
        .await?;
    let pid = node.pid()?;
    let audience = Audience::open(&node, plan.connections, plan.channels).await?;
    let trickling = Trickling::begin(node.http(), plan.trickling);
    // By then the first of them have been cut, and come again.
    if plan.trickling > 0 {
        sleep(SETTLING).await;
    }
    let script = Script::load(redis).await?;
    let events = u64::from(plan.rate) * u64::from(plan.seconds);
    let expected = events * (plan.connections / plan.channels) as u64;

    let (begun, cpu, own) = (
        Instant::now(),
        process::cpu_time(pid)?,
        process::cpu_time(std::process::id())?,
    );
    let mut ticks = interval(Duration::from_secs(1) / plan.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for event in 0..events {
        ticks.tick().await;
        let channel = load::channel(event as usize % plan.channels)?;
        script
            .publish(&channel, &load::payload(audience.epoch(), plan.bytes))
            .await?;
    }
    let published = begun.elapsed();
    let seen = || audience.delivered();
    let all = wait::until_true(DRAIN_LIMIT, "all events are delivered", || {
        seen() >= expected
    })
    .await;
    let (took, cpu) = (begun.elapsed(), process::cpu_time(pid)?.saturating_sub(cpu));
    let own = process::cpu_time(std::process::id())?.saturating_sub(own);
    audience.still_open(&node).await?;
    let latency = audience.latency();
    let at = |quantile| latency.value_at_quantile(quantile);
    Ok(json!({
        "mode": "fanout", "connections": plan.connections, "channels": plan.channels, "bytes": plan.bytes,
        "trickling": trickling.sockets(), "events": events, "publish_seconds": published.as_secs_f64(), "seconds": took.as_secs_f64(),
        "expected": expected, "delivered": latency.len(), "complete": all.is_ok(),
        "deliveries_per_second": latency.len() as f64 / took.as_secs_f64(),
        "server_cpu_seconds": cpu.as_secs_f64(), "bench_cpu_seconds": own.as_secs_f64(),
        "server_cpu_us_per_delivery": cpu.as_secs_f64() * 1e6 / latency.len().max(1) as f64,
        "rss": process::resident_bytes(pid)?,
        "latency_us": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": latency.max()},
    }))
}

async fn publishes(
    redis: &RedisServer,
    in_flight: usize,
    channels: usize,
    span: Duration,
    bytes: usize,
) -> Result<Value> {
    ensure!(
        channels > 0 && (1..=1024).contains(&in_flight),
        "channels from 1, in-flight from 1 to 1024"
    );
    let script = Script::load(redis).await?;
    let (epoch, cpu) = (Instant::now(), process::cpu_time(redis.pid()?)?);
    let mut callers = JoinSet::new();
    for caller in 0..in_flight {
        let (script, channel) = (script.clone(), load::channel(caller % channels)?);
        callers.spawn(async move {
            let mut count = 0u64;
            while epoch.elapsed() < span {
                script
                    .publish(&channel, &load::payload(epoch, bytes))
                    .await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(caller) = callers.join_next().await {
        count += caller??;
    }
    let (took, cpu) = (
        epoch.elapsed(),
        process::cpu_time(redis.pid()?)?.saturating_sub(cpu),
    );
    Ok(json!({
        "mode": "publish", "in_flight": in_flight, "channels": channels, "bytes": bytes, "published": count,
        "publishes_per_second": count as f64 / took.as_secs_f64(),
        "redis_cpu_us_per_publish": cpu.as_secs_f64() * 1e6 / count.max(1) as f64,
    }))
}

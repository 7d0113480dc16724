//! Measures one gateway from one thread: memory of idle connections, fan-out, and publishes through the script.
//! It starts a redis-server and a gateway of its own and prints one line of JSON. Bounded in every direction.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sluice_e2e::{
    lab::Lab,
    node::{Node, NodeSettings},
    process,
    redis::RedisServer,
    wait,
};
use sluice_wire::{
    Channel, Keys,
    publish::{self, Defaults, Publish},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::{JoinSet, LocalSet},
    time::{MissedTickBehavior, interval, sleep},
};

/// Connections from one source address: well within its ephemeral ports.
const PER_SOURCE: usize = 5_000;
const MOST_CONNECTIONS: usize = 19_000;
/// Connections being opened at once.
const OPENING: usize = 200;
const OPEN_LIMIT: Duration = Duration::from_secs(120);
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// A data line begins with this mark and the time of its publishing, in µs since the bench began.
const MARK: &[u8] = b"data: t=";
const READ_BYTES: usize = 64 * 1024;
/// The longest line kept over to the next read.
const LINE_BYTES: usize = 128 * 1024;

/// Loads a gateway and prints what it cost.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Resident memory per idle connection.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        #[arg(long, default_value_t = 1)]
        channels: usize,
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
        } => {
            LocalSet::new()
                .run_until(idle(&lab, &redis, connections, channels))
                .await?
        }
        Mode::Fanout {
            connections,
            channels,
            rate,
            seconds,
            bytes,
        } => {
            let load = Load {
                connections,
                channels,
                rate,
                seconds,
                bytes,
            };
            LocalSet::new()
                .run_until(fanout(&lab, &redis, load))
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

async fn idle(
    lab: &Lab,
    redis: &RedisServer,
    connections: usize,
    channels: usize,
) -> Result<Value> {
    let node = lab
        .node("gateway", &redis.url(), NodeSettings::default())
        .await?;
    let pid = node.pid()?;
    let before = process::resident_bytes(pid)?;
    let audience = Audience::open(&node, connections, channels).await?;
    let opened = process::resident_bytes(pid)?;
    // Heartbeats and audits have run by then: what is left is what an idle connection costs.
    let cpu = process::cpu_time(pid)?;
    let quiet = Duration::from_secs(20);
    sleep(quiet).await;
    let after = process::resident_bytes(pid)?;
    let cpu = process::cpu_time(pid)?.saturating_sub(cpu);
    audience.still_open(&node).await?;
    Ok(json!({
        "mode": "idle", "connections": connections, "channels": channels,
        "rss_before": before, "rss_opened": opened, "rss_after": after,
        "rss_per_connection": after.saturating_sub(before) / connections as u64,
        "cpu_share_idle": cpu.as_secs_f64() / quiet.as_secs_f64(),
    }))
}

#[derive(Clone, Copy)]
struct Load {
    connections: usize,
    channels: usize,
    rate: u32,
    seconds: u32,
    bytes: usize,
}

async fn fanout(lab: &Lab, redis: &RedisServer, load: Load) -> Result<Value> {
    ensure!(
        load.rate > 0 && load.channels > 0,
        "rate and channels must be at least 1"
    );
    ensure!(
        load.connections.is_multiple_of(load.channels),
        "connections must be a multiple of channels"
    );
    let node = lab
        .node("gateway", &redis.url(), NodeSettings::default())
        .await?;
    let pid = node.pid()?;
    let audience = Audience::open(&node, load.connections, load.channels).await?;
    let script = Script::load(redis).await?;
    let events = u64::from(load.rate) * u64::from(load.seconds);
    let expected = events * (load.connections / load.channels) as u64;

    let (begun, cpu, own) = (
        Instant::now(),
        process::cpu_time(pid)?,
        process::cpu_time(std::process::id())?,
    );
    let mut ticks = interval(Duration::from_secs(1) / load.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for event in 0..events {
        ticks.tick().await;
        let channel = channel(event as usize % load.channels)?;
        script
            .publish(&channel, &payload(audience.epoch, load.bytes))
            .await?;
    }
    let published = begun.elapsed();
    let seen = || audience.tally.borrow().latency.len();
    let all = wait::until_true(DRAIN_LIMIT, "all events are delivered", || {
        seen() >= expected
    })
    .await;
    let (took, cpu) = (begun.elapsed(), process::cpu_time(pid)?.saturating_sub(cpu));
    let own = process::cpu_time(std::process::id())?.saturating_sub(own);
    audience.still_open(&node).await?;
    let tally = audience.tally.borrow();
    let at = |quantile| tally.latency.value_at_quantile(quantile);
    Ok(json!({
        "mode": "fanout", "connections": load.connections, "channels": load.channels, "bytes": load.bytes,
        "events": events, "publish_seconds": published.as_secs_f64(), "seconds": took.as_secs_f64(),
        "expected": expected, "delivered": tally.latency.len(), "complete": all.is_ok(),
        "deliveries_per_second": tally.latency.len() as f64 / took.as_secs_f64(),
        "server_cpu_seconds": cpu.as_secs_f64(), "bench_cpu_seconds": own.as_secs_f64(),
        "server_cpu_us_per_delivery": cpu.as_secs_f64() * 1e6 / tally.latency.len().max(1) as f64,
        "rss": process::resident_bytes(pid)?,
        "latency_us": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": tally.latency.max()},
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
        let (script, channel) = (script.clone(), channel(caller % channels)?);
        callers.spawn(async move {
            let mut count = 0u64;
            while epoch.elapsed() < span {
                script.publish(&channel, &payload(epoch, bytes)).await?;
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

fn channel(n: usize) -> Result<Channel> {
    Ok(Channel::parse(&format!("bench.{n}"))?)
}

fn payload(epoch: Instant, bytes: usize) -> String {
    let mut text = format!("t={} ", epoch.elapsed().as_micros());
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// The publish script on one connection.
#[derive(Clone)]
struct Script {
    connection: MultiplexedConnection,
    sha: String,
    keys: Keys,
}

impl Script {
    async fn load(redis: &RedisServer) -> Result<Script> {
        let mut connection = redis.connect().await?;
        let text = publish::script(&Defaults::default());
        let sha = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(text)
            .query_async(&mut connection)
            .await?;
        Ok(Script {
            connection,
            sha,
            keys: Keys::new(Keys::DEFAULT_PREFIX)?,
        })
    }

    async fn publish(&self, channel: &Channel, data: &str) -> Result<()> {
        let event = Publish::new(channel, data.as_bytes());
        let keys = event.keys(&self.keys);
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha)
            .arg(keys.len())
            .arg(keys)
            .arg(event.args());
        let _position: String = call.query_async(&mut self.connection.clone()).await?;
        Ok(())
    }
}

struct Tally {
    /// Streams whose response has begun.
    open: usize,
    ended: usize,
    latency: Histogram<u64>,
}

/// The open streams; each is a task that shares one read buffer and one tally with all others.
struct Audience {
    epoch: Instant,
    connections: usize,
    tally: Rc<RefCell<Tally>>,
    /// Ends the streams when dropped.
    _streams: JoinSet<()>,
}

impl Audience {
    /// Opens `connections` streams, spread evenly over `channels`, and waits until the gateway serves all.
    async fn open(node: &Node, connections: usize, channels: usize) -> Result<Audience> {
        ensure!(
            (1..=MOST_CONNECTIONS).contains(&connections),
            "connections must be 1 to {MOST_CONNECTIONS}"
        );
        ensure!(channels > 0, "channels must be at least 1");
        let tally = Tally {
            open: 0,
            ended: 0,
            latency: Histogram::new(3)?,
        };
        let (epoch, tally) = (Instant::now(), Rc::new(RefCell::new(tally)));
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        let mut streams = JoinSet::new();
        for n in 0..connections {
            let socket = connect(node.http(), n)
                .await
                .with_context(|| format!("connection {n}"))?;
            let stream = Stream {
                socket,
                epoch,
                tally: Rc::clone(&tally),
                line: Vec::new(),
            };
            streams.spawn_local(stream.run(channel(n % channels)?.to_string(), Rc::clone(&buffer)));
            wait::until_true(OPEN_LIMIT, "earlier streams open", || {
                tally.borrow().open + OPENING > n
            })
            .await?;
        }
        wait::until_true(OPEN_LIMIT, "all streams are open", || {
            tally.borrow().open == connections
        })
        .await?;
        let audience = Audience {
            epoch,
            connections,
            tally,
            _streams: streams,
        };
        audience.still_open(node).await?;
        Ok(audience)
    }

    /// Fails unless client and gateway agree that every stream is open.
    async fn still_open(&self, node: &Node) -> Result<()> {
        let ended = self.tally.borrow().ended;
        ensure!(ended == 0, "{ended} streams ended early");
        let counted = node.metrics().await?.total("sluice_connections");
        ensure!(
            counted == self.connections as f64,
            "the gateway counts {counted} of {} streams",
            self.connections
        );
        Ok(())
    }
}

async fn connect(gateway: SocketAddr, n: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(1 + n / PER_SOURCE)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    Ok(socket.connect(gateway).await?)
}

struct Stream {
    socket: TcpStream,
    epoch: Instant,
    tally: Rc<RefCell<Tally>>,
    /// The begin of a line that the next read completes.
    line: Vec<u8>,
}

impl Stream {
    async fn run(mut self, channel: String, buffer: Rc<RefCell<Vec<u8>>>) {
        if let Err(error) = self.read(&channel, &buffer).await {
            eprintln!("a stream ended: {error:#}");
        }
        self.tally.borrow_mut().ended += 1;
    }

    async fn read(&mut self, channel: &str, buffer: &RefCell<Vec<u8>>) -> Result<()> {
        let request = format!(
            "GET /v1/events?channel={channel} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
        );
        self.socket.write_all(request.as_bytes()).await?;
        let mut open = false;
        loop {
            self.socket.readable().await?;
            let mut buffer = buffer.borrow_mut();
            let count = match self.socket.try_read(&mut buffer) {
                Ok(0) => bail!("end of file"),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            if !open {
                ensure!(
                    buffer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&buffer[..count.min(200)])
                );
                open = true;
                self.tally.borrow_mut().open += 1;
            }
            self.take(&buffer[..count])?;
        }
    }

    /// Counts the whole lines that carry an event. Chunk headers are lines too and carry none.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let now = self.epoch.elapsed();
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            ensure!(
                self.line.len() + bytes.len() <= LINE_BYTES,
                "a line of more than {LINE_BYTES} bytes"
            );
            self.line.extend_from_slice(bytes);
            return Ok(());
        };
        let (whole, rest) = bytes.split_at(end + 1);
        let mut lines = whole.split(|&byte| byte == b'\n');
        if !self.line.is_empty() {
            self.line
                .extend_from_slice(lines.next().unwrap_or_default());
            let line = std::mem::take(&mut self.line);
            self.count(&line, now)?;
        }
        for line in lines {
            self.count(line, now)?;
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    fn count(&self, line: &[u8], now: Duration) -> Result<()> {
        let Some(sent) = line.strip_prefix(MARK) else {
            return Ok(());
        };
        let digits = sent.split(|&byte| byte == b' ').next().unwrap_or_default();
        let sent = Duration::from_micros(std::str::from_utf8(digits)?.parse()?);
        let micros = u64::try_from(now.saturating_sub(sent).as_micros())?;
        self.tally.borrow_mut().latency.record(micros.max(1))?;
        Ok(())
    }
}

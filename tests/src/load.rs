//! Many light streams on one thread, for measuring: they count and time events and check nothing else. All
//! share one read buffer, so that the load costs little beside what it measures.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use sluice_wire::{
    Channel, Keys,
    publish::{self, Defaults, Publish},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{node::Node, redis::RedisServer, wait};

/// Connections from one source address: well within its ephemeral ports.
const PER_SOURCE: usize = 5_000;
const MOST_CONNECTIONS: usize = 19_000;
/// Connections being opened at once.
const OPENING: usize = 200;
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// A data line begins with this mark and the time of its publishing, in µs since the bench began.
const MARK: &[u8] = b"data: t=";
const READ_BYTES: usize = 64 * 1024;
/// The longest line kept over to the next read.
const LINE_BYTES: usize = 128 * 1024;

/// The bench's channel number `n`.
pub fn channel(n: usize) -> Result<Channel> {
    Ok(Channel::parse(&format!("bench.{n}"))?)
}

/// Data of about `bytes` bytes that carries the time since `epoch`.
pub fn payload(epoch: Instant, bytes: usize) -> String {
    let mut text = format!("t={} ", epoch.elapsed().as_micros());
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// The publish script on one connection.
#[derive(Clone)]
pub struct Script {
    connection: MultiplexedConnection,
    sha: String,
    keys: Keys,
}

impl Script {
    /// Connects and loads the script as shipped.
    pub async fn load(redis: &RedisServer) -> Result<Script> {
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

    /// Publishes one event.
    pub async fn publish(&self, channel: &Channel, data: &str) -> Result<()> {
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
pub struct Audience {
    epoch: Instant,
    connections: usize,
    tally: Rc<RefCell<Tally>>,
    /// Ends the streams when dropped.
    _streams: JoinSet<()>,
}

impl Audience {
    /// Opens `connections` streams, spread evenly over `channels`, and waits until the gateway serves all.
    pub async fn open(node: &Node, connections: usize, channels: usize) -> Result<Audience> {
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

    /// When the bench began: what payloads count from.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Events read so far over all streams.
    pub fn delivered(&self) -> u64 {
        self.tally.borrow().latency.len()
    }

    /// From publish to read, in µs.
    pub fn latency(&self) -> Histogram<u64> {
        self.tally.borrow().latency.clone()
    }

    /// Fails unless client and gateway agree that every stream is open.
    pub async fn still_open(&self, node: &Node) -> Result<()> {
        let ended = self.tally.borrow().ended;
        ensure!(ended == 0, "{ended} streams ended early");
        are_open(node, self.connections).await
    }
}

/// Fails unless the gateway counts as many streams.
pub async fn are_open(node: &Node, connections: usize) -> Result<()> {
    let counted = node.metrics().await?.total("sluice_connections");
    ensure!(
        counted == connections as f64,
        "the gateway counts {counted} of {connections} streams"
    );
    Ok(())
}

/// The `n`th connection, from one of the source addresses that so many need.
pub(crate) async fn connect(gateway: SocketAddr, n: usize) -> Result<TcpStream> {
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

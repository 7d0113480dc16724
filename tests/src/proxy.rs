//! A TCP proxy that breaks connections on purpose: cut, blackhole, refuse, delay, cut after some bytes, and
//! before Redis the loss of single pub/sub messages. Every fault counts that it took effect.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::resp::{self, Frames};

const READ_BYTES: usize = 32 * 1024;
/// Between two lone bytes: long enough that a reader that waits for them reads each by itself.
const BETWEEN_BYTES: Duration = Duration::from_millis(1);

/// What the proxy does with bytes and new connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    Pass,
    /// New connections are reset at once; open ones live on.
    Refuse,
    /// Accepts, and swallows every byte both ways. A connection that lost bytes never works again: silent,
    /// until after healing somebody speaks on it and is answered with a reset, as by a host that rebooted.
    Blackhole,
    /// Every read is passed on this much later.
    Delay(Duration),
    /// To the client every byte goes in a segment of its own.
    ByteByByte,
}

/// How often each fault took effect so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub accepted: u64,
    pub refused: u64,
    pub cut: u64,
    pub swallowed_bytes: u64,
    pub delayed: u64,
    pub dropped_messages: u64,
    /// Bytes that the server sent and the client's side took.
    pub to_client_bytes: u64,
    /// The part of these that went byte by byte.
    pub lone_bytes: u64,
}

#[derive(Debug, Default)]
struct Tally {
    accepted: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    swallowed_bytes: AtomicU64,
    delayed: AtomicU64,
    dropped_messages: AtomicU64,
    to_client_bytes: AtomicU64,
    lone_bytes: AtomicU64,
}

#[derive(Debug)]
struct Faults {
    knows_redis: bool,
    upstream: Mutex<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// Raised by one for each cut of all connections.
    cut: watch::Sender<u64>,
    cut_after: Mutex<Option<usize>>,
    drop_next: Mutex<Option<(Vec<u8>, u64)>>,
    tally: Tally,
}

/// A running proxy; all its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    faults: Arc<Faults>,
    /// Ends all connections when dropped.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// A proxy before any TCP server.
    pub async fn before(upstream: SocketAddr) -> Result<Proxy> {
        Proxy::start(upstream, false).await
    }

    /// A proxy before a redis-server, which passes its frames on whole and can drop single messages.
    pub async fn before_redis(upstream: SocketAddr) -> Result<Proxy> {
        Proxy::start(upstream, true).await
    }

    async fn start(upstream: SocketAddr, knows_redis: bool) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let faults = Arc::new(Faults {
            knows_redis,
            upstream: Mutex::new(upstream),
            mode: watch::Sender::new(Mode::Pass),
            cut: watch::Sender::new(0),
            cut_after: Mutex::default(),
            drop_next: Mutex::default(),
            tally: Tally::default(),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&faults)));
        Ok(Proxy {
            addr,
            faults,
            _accepting: accepting,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The proxy as a Redis URL.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Changes what happens from now on to all connections.
    pub fn set(&self, mode: Mode) {
        self.faults.mode.send_replace(mode);
    }

    /// Leads new connections to another server, as a load balancer may; open ones stay where they are.
    pub fn turn_to(&self, upstream: SocketAddr) {
        *self.faults.upstream.lock().expect("no holder panics") = upstream;
    }

    /// Resets every open connection, on both sides.
    pub fn cut(&self) {
        self.faults.cut.send_modify(|generation| *generation += 1);
    }

    /// Resets the connection that brings the server's next `bytes` bytes, after exactly these.
    pub fn cut_after(&self, bytes: usize) {
        *self.faults.cut_after.lock().expect("no holder panics") = Some(bytes);
    }

    /// Swallows the next `count` pub/sub messages on `topic`. Only before Redis.
    pub fn drop_messages(&self, topic: &str, count: u64) {
        assert!(
            self.faults.knows_redis,
            "only a proxy before Redis knows messages"
        );
        *self.faults.drop_next.lock().expect("no holder panics") =
            Some((topic.as_bytes().to_vec(), count));
    }

    pub fn counts(&self) -> Counts {
        let tally = &self.faults.tally;
        Counts {
            accepted: tally.accepted.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            cut: tally.cut.load(Relaxed),
            swallowed_bytes: tally.swallowed_bytes.load(Relaxed),
            delayed: tally.delayed.load(Relaxed),
            dropped_messages: tally.dropped_messages.load(Relaxed),
            to_client_bytes: tally.to_client_bytes.load(Relaxed),
            lone_bytes: tally.lone_bytes.load(Relaxed),
        }
    }
}

async fn accept(listener: TcpListener, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors: the scenario fails on its own conditions.
                let Ok((client, _)) = accepted else { continue };
                faults.tally.accepted.fetch_add(1, Relaxed);
                connections.spawn(connection(client, Arc::clone(&faults)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, faults: Arc<Faults>) {
    let mode = *faults.mode.borrow();
    let upstream = *faults.upstream.lock().expect("no holder panics");
    match mode {
        Mode::Refuse => {
            faults.tally.refused.fetch_add(1, Relaxed);
            reset(&client);
        }
        Mode::Blackhole => swallow(client, &faults).await,
        Mode::Pass | Mode::Delay(_) | Mode::ByteByByte => {
            match TcpStream::connect(upstream).await {
                Ok(server) => relay(client, server, &faults).await,
                Err(_) => reset(&client),
            }
        }
    }
}

/// A connection made into the blackhole: it never reaches the server.
async fn swallow(mut client: TcpStream, faults: &Faults) {
    let mut cut = faults.cut.subscribe();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = tokio::select! {
            read = client.read(&mut buffer) => read,
            _ = cut.changed() => break,
        };
        match read {
            Ok(count) if count > 0 && *faults.mode.borrow() == Mode::Blackhole => {
                faults
                    .tally
                    .swallowed_bytes
                    .fetch_add(count as u64, Relaxed);
            }
            Ok(0) => return,
            Ok(_) | Err(_) => break,
        }
    }
    faults.tally.cut.fetch_add(1, Relaxed);
    reset(&client);
}

async fn relay(mut client: TcpStream, mut server: TcpStream, faults: &Faults) {
    let mut cut = faults.cut.subscribe();
    for socket in [&client, &server] {
        // A proxy of our own must not add Nagle's delay; a socket that refuses is gone already.
        if socket.set_nodelay(true).is_err() {
            return;
        }
    }
    let lossy = AtomicBool::new(false);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = Pump {
        faults,
        lossy: &lossy,
        frames: None,
        to_client: false,
    };
    let down = Pump {
        faults,
        lossy: &lossy,
        frames: faults.knows_redis.then(Frames::default),
        to_client: true,
    };
    let ended = tokio::select! {
        ended = up.run(from_client, to_server) => ended,
        ended = down.run(from_server, to_client) => ended,
        _ = cut.changed() => Ended::Cut,
    };
    if ended == Ended::Cut {
        faults.tally.cut.fetch_add(1, Relaxed);
        reset(&client);
        reset(&server);
    }
}

/// Makes the close that follows a reset. A socket that refuses is closed already.
fn reset(socket: &TcpStream) {
    drop(socket.set_zero_linger());
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Closed,
    Cut,
}

/// One direction of one connection.
struct Pump<'a> {
    faults: &'a Faults,
    /// Whether this connection, in either direction, has lost bytes.
    lossy: &'a AtomicBool,
    frames: Option<Frames>,
    to_client: bool,
}

impl Pump<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Ended {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return self.closed().await,
                Ok(count) => count,
            };
            let mode = *self.faults.mode.borrow();
            match mode {
                Mode::Blackhole => {
                    self.lossy.store(true, Relaxed);
                    self.faults
                        .tally
                        .swallowed_bytes
                        .fetch_add(count as u64, Relaxed);
                    continue;
                }
                Mode::Delay(delay) => {
                    self.faults.tally.delayed.fetch_add(1, Relaxed);
                    sleep(delay).await;
                }
                Mode::Pass | Mode::Refuse | Mode::ByteByByte => {}
            }
            if self.lossy.load(Relaxed) {
                return Ended::Cut;
            }
            match self.forward(&buffer[..count], &mut to).await {
                Ok(true) => {}
                Ok(false) => return Ended::Cut,
                Err(_) => return Ended::Closed,
            }
        }
    }

    /// A close is news too: a blackhole swallows it.
    async fn closed(&self) -> Ended {
        let mut mode = self.faults.mode.subscribe();
        match mode.wait_for(|mode| *mode != Mode::Blackhole).await {
            Ok(_) | Err(_) => Ended::Closed,
        }
    }

    /// Writes `bytes` on, less what a fault takes; false when the connection is to be cut now.
    async fn forward(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<bool> {
        let kept;
        let bytes = match &mut self.frames {
            None => bytes,
            Some(frames) => {
                let frames = frames.feed(bytes).map_err(io::Error::other)?;
                kept = frames
                    .into_iter()
                    .filter(|frame| !self.faults.drops(frame))
                    .flatten()
                    .collect::<Vec<u8>>();
                &kept
            }
        };
        let allowed = if self.to_client {
            self.faults.allowed(bytes.len())
        } else {
            bytes.len()
        };
        if self.to_client {
            self.write_to_client(&bytes[..allowed], to).await?;
        } else {
            to.write_all(&bytes[..allowed]).await?;
        }
        Ok(allowed == bytes.len())
    }

    async fn write_to_client(&self, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        let tally = &self.faults.tally;
        if *self.faults.mode.borrow() == Mode::ByteByByte {
            for byte in bytes {
                to.write_all(std::slice::from_ref(byte)).await?;
                tally.lone_bytes.fetch_add(1, Relaxed);
                sleep(BETWEEN_BYTES).await;
            }
        } else {
            to.write_all(bytes).await?;
        }
        tally.to_client_bytes.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }
}

impl Faults {
    /// Whether this frame is one to lose; counts it.
    fn drops(&self, frame: &[u8]) -> bool {
        let mut armed = self.drop_next.lock().expect("no holder panics");
        let Some((topic, left)) = armed.as_mut() else {
            return false;
        };
        if *left == 0 || resp::message(frame).is_none_or(|(on, _)| on != topic.as_slice()) {
            return false;
        }
        *left -= 1;
        self.tally.dropped_messages.fetch_add(1, Relaxed);
        true
    }

    /// How many of the next `count` bytes may pass before the armed cut.
    fn allowed(&self, count: usize) -> usize {
        let mut armed = self.cut_after.lock().expect("no holder panics");
        match armed.as_mut() {
            None => count,
            Some(left) if *left >= count => {
                *left -= count;
                count
            }
            Some(left) => {
                let allowed = *left;
                *armed = None;
                allowed
            }
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;

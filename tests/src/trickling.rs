//! Sockets that keep a gateway busy for nothing: each begins a request and sends one byte a second, and takes a new
//! connection when it is cut. For measuring; what they must not bring about is in the hostile suite.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

/// One byte each.
const TICK: Duration = Duration::from_secs(1);
/// Between one connection of a socket and its next.
const PAUSE: Duration = Duration::from_millis(200);

/// What each sends at once, in turn: the begins of a head, of a body, and of a TLS handshake.
const BEGINS: [&[u8]; 3] = [
    b"GET /v1/events?channel=bench.0 HTTP/1.1\r\nHost: bench\r\nX: ",
    b"POST /v1/channels/slow/events HTTP/1.1\r\nHost: bench\r\nContent-Length: 60000\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
];

/// So many of them against a gateway; they end when this is dropped.
pub struct Trickling(JoinSet<Infallible>);

impl Trickling {
    /// Begins on the current thread.
    pub fn begin(gateway: SocketAddr, sockets: usize) -> Trickling {
        let mut all = JoinSet::new();
        for begin in BEGINS.iter().cycle().take(sockets) {
            all.spawn_local(async move {
                loop {
                    // However it ends, the next one begins.
                    drop(trickle(gateway, begin).await);
                    sleep(PAUSE).await;
                }
            });
        }
        Trickling(all)
    }

    /// How many there are.
    pub fn sockets(&self) -> usize {
        self.0.len()
    }
}

async fn trickle(gateway: SocketAddr, begin: &[u8]) -> Result<Infallible> {
    let mut socket = TcpStream::connect(gateway).await?;
    socket.write_all(begin).await?;
    loop {
        let tick = Instant::now() + TICK;
        socket.write_all(b"x").await?;
        let mut answer = [0; 512];
        while let Ok(read) = timeout_at(tick, socket.read(&mut answer)).await {
            if read? == 0 {
                bail!("cut");
            }
        }
    }
}

//! How much later an answer and an event come through a load balancer than from a node itself, both measured at the same time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client, Options},
    stage::{arrival, until_all_have, until_opened},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::fleet::Fleet;

const PATIENCE: Duration = Duration::from_secs(10);
/// Looks at the first byte, in turn directly and through the load balancer.
const LOOKS: usize = 15;
/// Events whose way is timed.
const EVENTS: usize = 200;
/// Between two events: what waits for the next one to fill a packet is seen.
const PACE: Duration = Duration::from_millis(10);

/// A way to a node: directly, or through a load balancer.
#[derive(Clone, Copy, Debug)]
pub struct Both<T> {
    pub direct: T,
    pub through: T,
}

impl Both<Duration> {
    /// How much the load balancer adds.
    pub fn added(&self) -> Duration {
        self.through.saturating_sub(self.direct)
    }

    pub fn in_words(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        format!("{:.1} → {:.1} ms", ms(self.direct), ms(self.through))
    }
}

/// From sending the request to the first byte of a stream's body (median).
pub async fn first_byte(fleet: &Fleet, front: SocketAddr) -> Result<Both<Duration>> {
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for look in 0..LOOKS {
        let nodes = &fleet.stage.nodes;
        direct.push(until_first_byte(nodes[look % nodes.len()].http()).await?);
        through.push(until_first_byte(front).await?);
    }
    Ok(Both {
        direct: median(direct)?,
        through: median(through)?,
    })
}

async fn until_first_byte(addr: SocketAddr) -> Result<Duration> {
    let request = format!(
        "GET /v1/events?channel=first HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n"
    );
    let begun = Instant::now();
    let look = async {
        let mut socket = TcpStream::connect(addr).await?;
        socket.write_all(request.as_bytes()).await?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = socket.read(&mut buffer).await?;
            ensure!(count > 0, "the stream ended before it began");
            bytes.extend_from_slice(&buffer[..count]);
            // A byte of the body behind the head, and behind the chunk's size: the stream begins with a comment.
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
                if body.contains(':') {
                    return Ok(begun.elapsed());
                }
            }
        }
    };
    timeout(PATIENCE, look).await.context("no first byte")?
}

/// From the publisher's call to the reader (median over many events and three readers of each kind).
pub async fn event(fleet: &Fleet, front: SocketAddr) -> Result<Both<Duration>> {
    event_of(fleet, front, EVENTS).await
}

/// The same over `events` events.
pub async fn event_of(fleet: &Fleet, front: SocketAddr, events: usize) -> Result<Both<Duration>> {
    let channel = fleet.stage.channels[0].clone();
    let mut clients = Vec::new();
    for node in &fleet.stage.nodes {
        for (name, addr) in [("direct", node.http()), ("through", front)] {
            clients.push(Client::start(name, Options::new(&[&channel], &[addr], 0)));
        }
    }
    until_opened(&clients).await?;
    let mut sent = Vec::new();
    for _ in 0..events {
        let begun = Instant::now();
        let record = fleet.stage.publisher.publish(&channel).await?;
        let position = record.position().context("it is stored")?.to_owned();
        sent.push((begun, position));
        sleep(PACE).await;
    }
    let heads = fleet.stage.publisher.heads(&[channel]).await?;
    until_all_have(&clients, &heads, PATIENCE).await?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for client in &clients {
        let log = client.log();
        let times = if log.name == "direct" {
            &mut direct
        } else {
            &mut through
        };
        for (begun, position) in &sent {
            let read = arrival(&log, position).context("an event is missing")?;
            times.push(read - *begun);
        }
    }
    Ok(Both {
        direct: median(direct)?,
        through: median(through)?,
    })
}

fn median(mut times: Vec<Duration>) -> Result<Duration> {
    times.sort();
    let middle = times.get(times.len() / 2).context("nothing was measured")?;
    Ok(*middle)
}

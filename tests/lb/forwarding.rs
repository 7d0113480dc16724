//! What a load balancer passes on: whom it speaks for, and no publish twice.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    http,
    lab::{self, Lab, Weight},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::balancer::{Balancer, Kind, Settings, Upstream};

const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// What a page may read of an answer, as gateway/src/http/cors.rs has it.
const EXPOSE_HEADERS: &str = "Retry-After, X-Request-Id";

/// The heads of the requests that reached any node.
type Heads = Arc<Mutex<Vec<String>>>;

/// Three nodes that answer probes, and hang up on whatever else they are asked, once they have read it.
struct Rude {
    upstream: Upstream,
    heads: Heads,
    _nodes: JoinSet<()>,
}

impl Rude {
    async fn start() -> Result<Rude> {
        let (port, admin_port) = (lab::free_port()?, lab::free_port()?);
        let nodes = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], port)));
        let (heads, mut tasks) = (Heads::default(), JoinSet::new());
        for node in nodes {
            let public = TcpListener::bind(node).await?;
            tasks.spawn(answer(public, Arc::clone(&heads)));
            let admin = TcpListener::bind(SocketAddr::new(node.ip(), admin_port)).await?;
            tasks.spawn(answer(admin, Arc::clone(&heads)));
        }
        let upstream = Upstream { nodes, admin_port };
        Ok(Rude {
            upstream,
            heads,
            _nodes: tasks,
        })
    }

    /// The heads since it was asked last.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().expect("no holder panics"))
    }
}

async fn answer(listener: TcpListener, heads: Heads) {
    while let Ok((socket, _)) = listener.accept().await {
        // A caller that has gone is not waited for.
        drop(answer_one(socket, &heads).await);
    }
}

async fn answer_one(mut socket: TcpStream, heads: &Heads) -> Result<()> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = socket.read(&mut buffer).await?;
        ensure!(count > 0, "gone");
        head.extend_from_slice(&buffer[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("GET /readyz ") {
        socket.write_all(READY.as_bytes()).await?;
        return Ok(());
    }
    heads.lock().expect("no holder panics").push(head);
    Ok(())
}

async fn passes_on_honestly(lab: &Lab, kind: Kind) -> Result<()> {
    let rude = Rude::start().await?;
    let balancer =
        Balancer::start_unasked(lab.dir(), kind, &Settings::Shipped, &rude.upstream).await?;
    let front = balancer.plain;
    drop(rude.take());

    let claims = "X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.66\r\n\
        X-Request-Id: asked-for-7\r\nOrigin: https://app.example.com\r\n";
    let publish = http::post(front, "/v1/channels/orders/events", claims, "{}").await?;
    let heads = rude.take();
    ensure!(
        heads.len() == 1,
        "{kind:?} sent a publish {} times",
        heads.len()
    );
    ensure!(
        (502..=504).contains(&publish.head.status)
            && publish.body.contains("may have gone through"),
        "{kind:?}: {} {}",
        publish.head.status,
        publish.body
    );
    let exposed = publish.head.header("access-control-expose-headers");
    ensure!(
        exposed.is_some_and(|words| words.eq_ignore_ascii_case(EXPOSE_HEADERS)),
        "{kind:?}: a page may read {exposed:?}"
    );
    let head = heads[0].to_ascii_lowercase();
    ensure!(
        head.contains("\r\nx-request-id: asked-for-7\r\n"),
        "{kind:?} passes on another request id: {head}"
    );
    let values: Vec<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("x-forwarded-for:"))
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let last: IpAddr = values.last().context("an address")?.parse()?;
    // Envoy names a client on its own loopback by an address of this machine: one that can be listened on.
    let is_this_machine = TcpListener::bind((last, 0)).await.is_ok();
    ensure!(
        is_this_machine && (last.is_loopback() || kind == Kind::Envoy),
        "{kind:?} says it speaks for {values:?}"
    );
    ensure!(
        !head.lines().any(|line| line.starts_with("forwarded:")),
        "{kind:?} passes on a client's word: {head}"
    );
    Ok(())
}

/// The address that Sluice reads is the client's, whatever the client claims; the request id is the client's; and a publish that a
/// node may have got is not sent to a second one, but the caller told so, with what a page may read of it.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn the_clients_address_is_told_and_no_publish_is_sent_twice() {
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        for kind in [Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::Caddy] {
            passes_on_honestly(lab, kind).await?;
        }
        Ok(())
    })
    .await;
}

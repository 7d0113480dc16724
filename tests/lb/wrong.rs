//! What load balancers do to streams with the settings that one writes first. These are the faults that the shipped files are
//! kept against: were they not seen here, the tests of `short` would say nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    balancer::{Kind, Settings},
    drain,
    fleet::{Fleet, refused, until_each},
    measure,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must come, where nothing is to come.
const SILENCE: Duration = Duration::from_secs(2);
/// A look at what has come already.
const GLANCE: Duration = Duration::from_millis(20);
/// Above Envoy's 1024.
const CROWD: usize = 1_100;
/// Events that HAProxy holds back, 200 ms each: few will do.
const FEW: usize = 40;

/// A stream read raw.
struct Raw {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Raw {
    async fn ask(front: SocketAddr, channel: &str, more: &str) -> Result<Raw> {
        let request = format!(
            "GET /v1/events?channel={channel} HTTP/1.1\r\nHost: {front}\r\nAccept: text/event-stream\r\n{more}\r\n"
        );
        let mut socket = TcpStream::connect(front).await?;
        socket.write_all(request.as_bytes()).await?;
        Ok(Raw {
            socket,
            bytes: Vec::new(),
        })
    }

    /// The next bytes within `limit`; none if it stays silent.
    async fn next(&mut self, limit: Duration) -> Result<Option<usize>> {
        let mut buffer = [0; 8192];
        let Ok(read) = timeout(limit, self.socket.read(&mut buffer)).await else {
            return Ok(None);
        };
        let count = read?;
        ensure!(count > 0, "the stream ended: {}", self.text());
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(Some(count))
    }

    /// Reads until it has been silent for a while.
    async fn until_silent(&mut self) -> Result<()> {
        while self.next(SILENCE / 4).await?.is_some() {}
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The status, once the head is there.
    async fn status(&mut self) -> Result<u16> {
        while !self.text().contains("\r\n\r\n") {
            let some = self.next(PATIENCE).await?;
            some.with_context(|| format!("no head: {}", self.text()))?;
        }
        let text = self.text();
        let status = text.split(' ').nth(1).context("a status line")?;
        Ok(status.parse()?)
    }
}

/// nginx asks in HTTP/1.0 and collects: not even the head comes. The gateway's `X-Accel-Buffering: no` alone forbids it.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn nginx_holds_back_even_the_head_once_it_ignores_x_accel_buffering() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        let ignoring = Settings::Wrong("proxy_ignore_headers X-Accel-Buffering;");
        let deaf = fleet.behind(lab, Kind::Nginx, ignoring).await?;
        let plain = fleet.behind(lab, Kind::Nginx, Settings::Wrong("")).await?;
        let mut held = Raw::ask(deaf.plain, "held", "").await?;
        wait::until(PATIENCE, "a node has the stream", async || {
            Ok((fleet.streams().await?.iter().sum::<usize>() == 1).then_some(()))
        })
        .await?;
        ensure!(held.next(SILENCE).await?.is_none(), "{}", held.text());
        let first = measure::first_byte(&fleet, plain.plain).await?;
        println!(
            "nginx as it comes: first byte {}; ignoring X-Accel-Buffering: none in {SILENCE:?}",
            first.in_words()
        );
        ensure!(first.through < SILENCE / 4, "{}", first.in_words());
        Ok(())
    })
    .await;
}

/// Without `option http-no-delay` each event waits for more to be sent along.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn haproxy_holds_each_event_back_without_http_no_delay() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        let wrong = fleet
            .behind(lab, Kind::Haproxy, Settings::Wrong(""))
            .await?;
        let event = measure::event_of(&fleet, wrong.plain, FEW).await?;
        println!(
            "HAProxy without http-no-delay: event p50 {}",
            event.in_words()
        );
        ensure!(
            event.added() > Duration::from_millis(20),
            "{}",
            event.in_words()
        );
        Ok(())
    })
    .await;
}

/// `compression type text/event-stream` would make a gzip stream of it, flushed when HAProxy likes. The gateway's `no-transform`
/// forbids it.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn haproxy_compresses_no_stream_because_the_gateway_says_no_transform() {
    const COMPRESSING: &str =
        "option http-no-delay\n    compression algo gzip\n    compression type text/event-stream";
    // HAProxy looks for it before its own rules are applied: another one inside takes it away.
    const REGARDLESS: &str = "option http-no-delay
    compression algo gzip
    compression type text/event-stream
    server inside abns@sluice-PORT

frontend inside
    bind abns@sluice-PORT
    option http-no-delay
    default_backend nodes

backend nodes
    http-response del-header Cache-Control";
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        for (more, is_packed) in [(COMPRESSING, false), (REGARDLESS, true)] {
            let balancer = fleet
                .behind(lab, Kind::Haproxy, Settings::Wrong(more))
                .await?;
            let mut reader =
                Raw::ask(balancer.plain, "room.0", "Accept-Encoding: gzip\r\n").await?;
            ensure!(reader.status().await? == 200, "{}", reader.text());
            reader.until_silent().await?;
            let packed = reader
                .text()
                .to_ascii_lowercase()
                .contains("content-encoding: gzip");
            ensure!(packed == is_packed, "{}", reader.text());
        }
        Ok(())
    })
    .await;
}

/// Envoy's default limit on a whole answer is 15 s, and a stream is one.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn envoy_cuts_every_stream_at_15_s_without_a_route_timeout() {
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        // Heartbeats do not help: it is no limit on silence.
        let settings = NodeSettings::default().with("SLUICE__STREAM__HEARTBEAT", "1s");
        let fleet = Fleet::start(lab, &settings).await?;
        let wrong = fleet.behind(lab, Kind::Envoy, Settings::Wrong("")).await?;
        let right = fleet.behind(lab, Kind::Envoy, Settings::Shipped).await?;
        let kept = fleet
            .stage
            .client("kept", fleet.options(right.plain, 0))
            .await?;
        let begun = Instant::now();
        let cut = fleet
            .stage
            .client("cut", fleet.options(wrong.plain, 0))
            .await?;
        wait::until_true(PATIENCE, "it is cut", || cut.log().asked() > 1).await?;
        let after = begun.elapsed();
        println!(
            "Envoy's default route timeout: cut after {:.1} s",
            after.as_secs_f64()
        );
        ensure!(
            after >= Duration::from_secs(14) && after < Duration::from_secs(20),
            "cut after {after:?}"
        );
        ensure!(kept.log().asked() == 1, "the shipped file cuts, too");
        Ok(())
    })
    .await;
}

/// Envoy's default circuit breaker lets 1024 connections through to the nodes: the next stream gets no answer at all, and once as
/// many wait, 503. The shipped file lets all through.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn envoy_lets_no_1025th_stream_through_without_circuit_breakers_set() {
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        let fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        let default = Settings::Wrong("timeout: 0s");
        for (settings, most) in [(default, 1024), (Settings::Shipped, CROWD)] {
            fleet.until_idle().await?;
            let balancer = fleet.behind(lab, Kind::Envoy, settings).await?;
            let mut crowd = Vec::new();
            for _ in 0..CROWD {
                crowd.push(Raw::ask(balancer.plain, "crowd", "").await?);
            }
            wait::until(PATIENCE, "as many as may be are served", async || {
                let streams: usize = fleet.streams().await?.iter().sum();
                Ok((streams >= most).then_some(()))
            })
            .await?;
            // Whoever is to be served is: all heads are there, or none will come.
            let last = crowd.last_mut().context("a crowd")?;
            let waited = last.next(SILENCE).await?;
            let mut served = 0;
            for raw in &mut crowd {
                let came = !raw.bytes.is_empty() || raw.next(GLANCE).await?.is_some();
                served += usize::from(came && raw.status().await? == 200);
            }
            println!("Envoy: {served} of {CROWD} streams were served, the last one: {waited:?}");
            ensure!(served == most, "{served} were served");
        }
        Ok(())
    })
    .await;
}

/// A dead upstream is 502 or 503, for which an EventSource gives up for good.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn all_of_them_end_every_event_source_when_no_node_is_there() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let settings = NodeSettings::default().with("SLUICE__STREAM__HEARTBEAT", "500ms");
        let mut fleet = Fleet::start(lab, &settings).await?;
        for kind in [Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::Caddy] {
            let balancer = fleet.behind(lab, kind, Settings::Wrong("")).await?;
            let clients = fleet.clients(balancer.plain, 3).await?;
            fleet.kill_all().await?;
            until_each(&clients, "all have given up", |client| {
                refused(client).is_some()
            })
            .await?;
            let statuses: Vec<Option<u16>> = clients.iter().map(refused).collect();
            println!("{kind:?} with no node: {statuses:?}");
            ensure!(
                statuses
                    .iter()
                    .all(|status| status.is_some_and(|status| (502..=503).contains(&status))),
                "{statuses:?}"
            );
            fleet.start_all_again().await?;
        }
        Ok(())
    })
    .await;
}

/// Without health checks, a node that drains is the one with the fewest streams, and gets all that it sends away.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn haproxy_without_checks_sends_clients_back_to_the_node_that_leaves() {
    const WINDOW: Duration = Duration::from_secs(5);
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        let settings = NodeSettings::default()
            .with("SLUICE__STREAM__HEARTBEAT", "500ms")
            .with("SLUICE__DRAIN__DEADLINE", format!("{}s", WINDOW.as_secs()));
        let mut fleet = Fleet::start(lab, &settings).await?;
        let wrong = fleet
            .behind(lab, Kind::Haproxy, Settings::Wrong("option http-no-delay"))
            .await?;
        let (told, ended) = drain::goes_wrong(&mut fleet, wrong.plain, WINDOW).await?;
        println!("HAProxy without checks: {told}, {ended} were ended for good");
        ensure!(told.again * 2 >= told.moved && told.most > 2, "{told}");
        Ok(())
    })
    .await;
}

//! Nodes that die behind a load balancer.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{client::Client, http, stage::until_opened, wait};

use crate::fleet::{Fleet, closes, none_refused, until_each, waits_before};

pub const CLIENTS: usize = 30;
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client may be told to wait while no node can be reached: not at once, and not for long.
const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3);

/// Under load one node of three dies, then all, and they come back: every client goes on where it stopped, none was ever
/// answered with a status that ends an EventSource for good, and other callers were told what is so. Each node has `least`
/// streams to begin with.
pub async fn ends_no_client(fleet: &mut Fleet, front: SocketAddr, least: usize) -> Result<()> {
    let clients = fleet.clients(front, CLIENTS).await?;
    let (publisher, channels) = (fleet.stage.publisher.clone(), fleet.stage.channels.clone());
    let flow = publisher.flow(&channels, PACE);
    let streams = fleet.streams().await?;
    ensure!(
        streams.iter().all(|&count| count >= least),
        "the streams are not spread: {streams:?}"
    );
    let died = Instant::now();
    let asked = |client: &Client| client.log().asked();
    let before: usize = clients.iter().map(asked).sum();
    fleet.stage.nodes[0].kill().await?;
    wait::until(
        PATIENCE,
        "the dead node's streams are elsewhere",
        async || {
            let (one, two) = (&fleet.stage.nodes[1], &fleet.stage.nodes[2]);
            let open = one.metrics().await?.total("sluice_connections")
                + two.metrics().await?.total("sluice_connections");
            let asked: usize = clients.iter().map(asked).sum();
            Ok((asked >= before + streams[0] && open >= CLIENTS as f64).then_some(()))
        },
    )
    .await?;
    let moved = died.elapsed();
    until_opened(&clients).await?;
    none_refused(&clients)?;

    fleet.kill_all().await?;
    until_each(&clients, "all are told that no node is there", |client| {
        closes(&client.log(), "unavailable") >= 1
    })
    .await?;
    others_are_told_the_truth(front).await?;
    for client in &clients {
        for told in waits_before(&client.log(), "unavailable")? {
            ensure!(WAITS.contains(&told), "told to wait {told:?}");
        }
    }
    fleet.start_all_again().await?;
    let back = Instant::now();
    until_each(&clients, "all are open again", Client::opened).await?;
    // A load balancer that goes on avoiding nodes that are there again would let clients in by the handful.
    let opened = back.elapsed();
    ensure!(opened < PATIENCE, "that took {opened:?}");
    flow.stop().await?;
    none_refused(&clients)?;
    let report = fleet.stage.whole(&clients).await?;
    println!(
        "one node dead: {} streams elsewhere after {:.1} s; all dead and back: open after {:.1} s, {} events at {CLIENTS} clients, none missing",
        streams[0],
        moved.as_secs_f64(),
        opened.as_secs_f64(),
        report.delivered
    );
    Ok(())
}

/// While no node can be reached, callers that read statuses get one, and when to come again.
async fn others_are_told_the_truth(front: SocketAddr) -> Result<()> {
    let stream = http::get(front, "/v1/events?channel=a").await?;
    let publish = http::post(front, "/v1/channels/a/events", "", "{}").await?;
    for answer in [&stream, &publish] {
        let (status, body) = (answer.head.status, &answer.body);
        ensure!((502..=504).contains(&status), "{status} {body}");
        ensure!(
            answer.head.header("content-type") == Some("application/problem+json"),
            "{:?}",
            answer.head
        );
        ensure!(
            answer.head.header("retry-after") == Some("2"),
            "{:?}",
            answer.head
        );
        let problem: serde_json::Value = serde_json::from_str(body).context("a problem")?;
        ensure!(
            problem["status"] == status && problem["code"] == "unavailable",
            "{status} {body}"
        );
    }
    ensure!(publish.body.contains("Idempotency-Key"), "{}", publish.body);
    Ok(())
}

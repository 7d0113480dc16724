//! The way to Redis is broken under load: every client is whole within 5 s of healing, and no reset is told.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::{
    client::Client,
    lab::{self, Lab, Weight},
    node::{Node, NodeSettings},
    process,
    proxy::{Mode, Proxy},
    wait,
};

use crate::stage::{PATIENCE, Stage, until_all_have, until_metric};

const HEALED_WITHIN: Duration = Duration::from_secs(5);
const CLIENTS: usize = 24;
const CHANNELS: usize = 6;
const PACE: Duration = Duration::from_millis(4);
const CONNECTED: &str = "sluice_redis_connected";
const RECONNECTS: &str = "sluice_redis_reconnects_total";

/// Two nodes that reach Redis through one fault proxy; the publisher reaches it directly.
async fn stage_behind_proxy(lab: &Lab) -> Result<(Stage, Proxy)> {
    let redis = lab.redis().await?;
    let proxy = lab.proxy(&redis).await?;
    let nodes = lab
        .nodes(2, &proxy.redis_url(), &NodeSettings::default())
        .await?;
    Ok((Stage::with(redis, nodes, CHANNELS)?, proxy))
}

async fn reconnects(nodes: &[Node]) -> Result<Vec<f64>> {
    let mut counts = Vec::new();
    for node in nodes {
        counts.push(node.metrics().await?.total(RECONNECTS));
    }
    Ok(counts)
}

/// The fault is over now: whatever was published until now reaches every client in time.
async fn heals_in_time(stage: &Stage, clients: &[Client]) -> Result<()> {
    until_all_have(clients, &stage.heads().await?, HEALED_WITHIN).await
}

/// At the end nobody had to reconnect and nobody was told a reset.
async fn whole_without_reset(stage: &Stage, clients: &[Client]) -> Result<()> {
    let report = stage.whole(clients).await?;
    ensure!(
        report.resets.is_empty(),
        "resets were told: {:?}",
        report.resets
    );
    ensure!(
        clients.iter().all(|client| client.log().asked() == 1),
        "a client had to reconnect"
    );
    Ok(())
}

/// Redis ends the subscriber connections of all nodes (CLIENT KILL), as it does when a buffer overflows.
#[tokio::test]
async fn a_killed_subscriber_connection_costs_no_event_and_no_reset() {
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        let stage = Stage::new(lab, 2, CHANNELS, &NodeSettings::default()).await?;
        let clients = stage.clients(CLIENTS).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        let heads = stage.heads().await?;
        for _ in 0..3 {
            let before = reconnects(&stage.nodes).await?;
            let killed = stage.redis.kill_subscribers().await?;
            ensure!(killed >= 2, "only {killed} subscribers were killed");
            heals_in_time(&stage, &clients).await?;
            for (node, before) in stage.nodes.iter().zip(before) {
                until_metric(node, RECONNECTS, HEALED_WITHIN, |count| count > before).await?;
            }
        }
        flow.stop().await?;
        ensure!(heads != stage.heads().await?, "there was no load");
        whole_without_reset(&stage, &clients).await
    })
    .await;
}

/// The network to Redis is cut: every connection is reset on both sides.
#[tokio::test]
async fn a_cut_network_to_redis_costs_no_event_and_no_reset() {
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        let (stage, proxy) = stage_behind_proxy(lab).await?;
        let clients = stage.clients(CLIENTS).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        let before = reconnects(&stage.nodes).await?;
        // New connections are refused for a while, so that the outage lasts longer than one attempt.
        proxy.set(Mode::Refuse);
        proxy.cut();
        wait::until_true(PATIENCE, "reconnects are refused", || {
            proxy.counts().refused >= 4
        })
        .await?;
        for node in &stage.nodes {
            until_metric(node, CONNECTED, PATIENCE, |connected| connected == 0.0).await?;
        }
        ensure!(
            proxy.counts().cut >= 2,
            "the cut took {} connections",
            proxy.counts().cut
        );
        proxy.set(Mode::Pass);
        heals_in_time(&stage, &clients).await?;
        for (node, before) in stage.nodes.iter().zip(before) {
            until_metric(node, RECONNECTS, PATIENCE, |count| count > before).await?;
        }
        flow.stop().await?;
        whole_without_reset(&stage, &clients).await
    })
    .await;
}

/// The network to Redis swallows everything in silence: the watchdog notices, and after healing all are whole.
#[tokio::test]
async fn a_blackholed_network_to_redis_is_noticed_and_costs_no_event_and_no_reset() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let (stage, proxy) = stage_behind_proxy(lab).await?;
        let clients = stage.clients(CLIENTS).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        proxy.set(Mode::Blackhole);
        for node in &stage.nodes {
            until_metric(node, CONNECTED, PATIENCE, |connected| connected == 0.0).await?;
        }
        ensure!(
            proxy.counts().swallowed_bytes > 0,
            "the blackhole swallowed nothing"
        );
        proxy.set(Mode::Pass);
        heals_in_time(&stage, &clients).await?;
        flow.stop().await?;
        whole_without_reset(&stage, &clients).await
    })
    .await;
}

/// redis-server is stopped (SIGSTOP) with its sockets open: the watchdog notices, and once it runs on all are
/// whole. The publisher repeats what had no answer under its event ids, and nothing appears twice.
#[tokio::test]
async fn a_frozen_redis_is_noticed_and_costs_no_event_and_no_reset() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let stage = Stage::new(lab, 2, CHANNELS, &NodeSettings::default()).await?;
        let clients = stage.clients(CLIENTS).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        stage.redis.pause().await?;
        for node in &stage.nodes {
            until_metric(node, CONNECTED, PATIENCE, |connected| connected == 0.0).await?;
            ensure!(
                node.is_ready().await,
                "{} left the load balancer because Redis is away",
                node.name
            );
        }
        ensure!(
            process::state(stage.redis.pid()?)? == 'T',
            "redis-server is not stopped"
        );
        stage.redis.resume()?;
        heals_in_time(&stage, &clients).await?;
        flow.stop().await?;
        whole_without_reset(&stage, &clients).await
    })
    .await;
}

//! deploy/redis/cluster.conf: three primaries with a replica each.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    lab::{self, Weight},
    wait,
};

use crate::{
    redis_sentinel::until_followed,
    server::{PATIENCE, PROMISED, PROMISED_WITH_REPLICAS, Server},
    tools::{run, sluice},
};

const NODES: usize = 6;
const STREAM: &str = "sluice:{orders}:s";

/// Six nodes, joined as README.md of deploy/redis says.
async fn cluster(dir: &Path) -> Result<Vec<Server>> {
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..NODES {
        // The bus is on port + 10000 unless told; another test may have that one.
        let bus = lab::free_port()?.to_string();
        let node = Server::start(dir, "cluster.conf", &[], &["--cluster-port", &bus]).await?;
        addresses.push(format!("{}@{bus}", node.addr()));
        nodes.push(node);
    }
    let mut words = vec!["--cluster", "create"];
    words.extend(addresses.iter().map(String::as_str));
    words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    run("redis-cli", &words).await?;
    for node in &nodes {
        wait::until(PATIENCE, "the cluster has formed", async || {
            let state: String = node.command(&["CLUSTER", "INFO"]).await?;
            Ok(state.contains("cluster_state:ok").then_some(()))
        })
        .await?;
        let role = node.info("replication", "role").await?;
        if role == "master" {
            until_followed(node, 1).await?;
        }
    }
    Ok(nodes)
}

/// The index of the primary that `stander` sees for the channel's slot.
async fn owner(nodes: &[Server], stander: usize) -> Result<Option<usize>> {
    let slot: u32 = nodes[stander]
        .command(&["CLUSTER", "KEYSLOT", STREAM])
        .await?;
    let seen: String = nodes[stander].command(&["CLUSTER", "NODES"]).await?;
    for line in seen.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let flags = words.get(2).context("the flags of a node")?;
        let has_slot = words.iter().skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().is_ok_and(|first: u32| first <= slot)
                && last.parse().is_ok_and(|last: u32| slot <= last)
        });
        if has_slot && flags.contains("master") && !flags.contains("fail") {
            let address = words[1].split('@').next().unwrap_or_default();
            let at = nodes
                .iter()
                .position(|node| node.addr().to_string() == address);
            return Ok(Some(at.context("a stranger among the nodes")?));
        }
    }
    Ok(None)
}

async fn publish(node: &Server, data: &str) -> Result<String> {
    let head = "sluice:{orders}:m";
    node.command(&["FCALL", "sluice_publish", "2", STREAM, head, "", data])
        .await
}

/// All lines are in force; a channel's primary is killed, and its replica has all events. With one replica a primary, publishing
/// on its channels waits for the killed one to be back: that is the price that the file names.
#[tokio::test]
async fn the_cluster_forms_and_a_replica_takes_over_with_all_events() {
    lab::run(Weight::Light, Duration::from_secs(180), async |lab| {
        let mut nodes = cluster(lab.dir()).await?;
        let promised = [&PROMISED[..], &PROMISED_WITH_REPLICAS[..]].concat();
        for node in &nodes {
            node.keeps_its_file(&promised).await?;
        }
        let library = sluice(&["install-function", "--print"]).await?.output()?;
        for node in &nodes {
            if node.info("replication", "role").await? == "master" {
                let name: String = node.command(&["FUNCTION", "LOAD", &library]).await?;
                ensure!(name == "sluice", "{name}");
            }
        }
        let old = owner(&nodes, 0).await?.context("nobody has the channel")?;
        for data in ["1", "2", "3"] {
            publish(&nodes[old], data).await?;
        }
        let () = nodes[old].command(&["WAIT", "1", "2000"]).await?;

        nodes[old].kill().await?;
        let stander = (0..NODES).find(|at| *at != old).context("another node")?;
        let new = wait::until(PATIENCE, "a replica takes over", async || {
            Ok(owner(&nodes, stander).await?.filter(|at| *at != old))
        })
        .await?;
        let kept = wait::until(PATIENCE, "the new primary answers", async || {
            Ok(nodes[new].command::<u32>(&["XLEN", STREAM]).await.ok())
        })
        .await?;
        ensure!(kept == 3, "{kept} events of 3");
        let alone = publish(&nodes[new], "4").await;
        let alone = format!(
            "{:#}",
            alone
                .err()
                .context("a primary without a replica took an event")?
        );
        ensure!(alone.contains("NOREPLICAS"), "{alone}");

        nodes[old].start_again().await?;
        until_followed(&nodes[new], 1).await?;
        publish(&nodes[new], "4").await?;
        let kept: u32 = nodes[new].command(&["XLEN", STREAM]).await?;
        ensure!(kept == 4, "{kept} events of 4");
        Ok(())
    })
    .await;
}

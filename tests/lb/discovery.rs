//! Envoy that reads its nodes from a file of their own (EDS): what the shipped file could be turned into where nodes come and go.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::Client,
    http,
    lab::{self, Lab, Weight},
    node::NodeSettings,
    stage::{PATIENCE, until_opened},
    wait,
};

use crate::{
    balancer::{Kind, changed},
    edited::{Limit, without},
    fleet::{Fleet, closes, none_refused},
    operated::Operated,
    reload::{LEAVING, on_leaving},
};

const NODES: &str = "nodes.yaml";
const CLIENTS: usize = 24;
const PACE: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_secs(4);

/// The shipped file with its nodes in another one, in `folder`.
fn with_nodes_apart(folder: &Path, text: String) -> Result<String> {
    let (main, nodes) = text
        .split_once("    load_assignment:\n")
        .context("the nodes are the last of the file")?;
    let mut apart = String::from(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n",
    );
    for line in nodes.lines() {
        let line = line
            .strip_prefix("    ")
            .context("the nodes are indented")?;
        apart += &format!("{line}\n");
    }
    let nodes = folder.join(NODES);
    fs::write(&nodes, apart)?;
    let source = format!(
        "type: EDS\n    eds_cluster_config: {{ eds_config: {{ path_config_source: {{ path: {} }} }} }}",
        nodes.display()
    );
    let main = changed(main.to_owned(), &[("type: STATIC", source)])?;
    Ok(format!("node: {{ id: sluice, cluster: sluice }}\n{main}"))
}

/// Replaces the file of nodes by one without `node`: Envoy looks at it when it is moved to its place.
fn take_away(folder: &Path, node: SocketAddr) -> Result<()> {
    let (nodes, next) = (folder.join(NODES), folder.join("next.yaml"));
    fs::write(
        &next,
        without(Kind::Envoy, &fs::read_to_string(&nodes)?, node)?,
    )?;
    Ok(fs::rename(next, nodes)?)
}

/// What Envoy says of its nodes, of the one that is taken away alone.
async fn said_of(operated: &Operated, node: SocketAddr) -> Result<String> {
    let said = http::get(operated.admin, "/clusters").await?.body;
    let of_node = format!("sluice::{node}::");
    let lines = said.lines().filter(|line| line.starts_with(&of_node));
    Ok(lines.collect())
}

/// Whether a node that is taken out of the file is asked for as long as it is ready, which is Envoy's default where it has health
/// checks, or no more at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TakenAway {
    WhenUnready,
    AtOnce,
}

async fn takes_a_node_away(lab: &Lab, taken_away: TakenAway) -> Result<()> {
    let settings = NodeSettings::default()
        .with("SLUICE__STREAM__HEARTBEAT", "500ms")
        .with("SLUICE__DRAIN__DEADLINE", format!("{}s", WINDOW.as_secs()));
    let mut fleet = Fleet::start(lab, &settings).await?;
    let shipped = (Kind::Envoy, Limit::Shipped);
    let operated = Operated::start_edited(lab, shipped, &fleet.upstream, |folder, text| {
        let text = with_nodes_apart(folder, text)?;
        match taken_away {
            TakenAway::WhenUnready => Ok(text),
            TakenAway::AtOnce => {
                let at_once = "type: EDS\n    ignore_health_on_host_removal: true";
                changed(text, &[("type: EDS", at_once.to_owned())])
            }
        }
    })
    .await?;
    fleet.until_spread(operated.plain).await?;
    let clients = fleet.clients_in_turn(operated.plain, CLIENTS).await?;
    let (publisher, channels) = (fleet.stage.publisher.clone(), fleet.stage.channels.clone());
    let flow = publisher.flow(&channels, PACE);
    let there = on_leaving(&clients);
    ensure!(there > 0, "nobody is on the node that is taken away");

    let node = fleet.upstream.nodes[LEAVING];
    take_away(&operated.folder, node)?;
    wait::until(PATIENCE, "Envoy has seen the other file", async || {
        let said = said_of(&operated, node).await?;
        Ok((said.is_empty() || said.contains("/pending_dynamic_removal")).then_some(()))
    })
    .await?;
    let newcomers = fleet.clients_in_turn(operated.plain, CLIENTS).await?;
    let sent = on_leaving(&newcomers);
    let as_known = match taken_away {
        TakenAway::WhenUnready => sent > 0,
        TakenAway::AtOnce => sent == 0,
    };
    ensure!(
        as_known,
        "{taken_away:?}: {sent} newcomers went to the node"
    );
    let left = fleet.streams().await?[LEAVING];
    ensure!(
        left == there + sent,
        "{there} and {sent} were on the node, {left} are"
    );

    let leaving = &mut fleet.stage.nodes[LEAVING];
    leaving.terminate()?;
    let status = leaving.until_ended(WINDOW * 3).await?;
    ensure!(status.success(), "the node ended with {status}");
    wait::until(PATIENCE, "Envoy has forgotten the node", async || {
        Ok(said_of(&operated, node).await?.is_empty().then_some(()))
    })
    .await?;
    flow.stop().await?;
    all_went_on(&fleet, &clients).await?;
    all_went_on(&fleet, &newcomers).await?;
    println!(
        "Envoy with its nodes in a file, {taken_away:?}: {sent} of {CLIENTS} newcomers went to the node that was taken away, its \
         {there} streams were kept until it drained"
    );
    Ok(())
}

/// Who was on the node that left was told so by it and came back elsewhere, all others have their first stream, and nobody has
/// missed a thing.
async fn all_went_on(fleet: &Fleet, clients: &[Client]) -> Result<()> {
    let asked = || -> usize { clients.iter().map(|client| client.log().asked()).sum() };
    let told = clients.iter().map(|client| closes(&client.log(), "drain"));
    let told: usize = told.sum();
    wait::until_true(PATIENCE, "who was told to go has come back", || {
        asked() >= clients.len() + told
    })
    .await?;
    until_opened(clients).await?;
    none_refused(clients)?;
    fleet.stage.whole(clients).await?;
    let cut = asked() - clients.len() - told;
    ensure!(cut == 0, "{cut} streams ended otherwise than by the drain");
    Ok(())
}

/// No restart is needed, and no stream is cut: not those on the node that is taken away, whose newcomers stop when its `/readyz`
/// falls, or, told to Envoy, at once.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn envoy_with_its_nodes_in_a_file_takes_one_away_without_cutting_a_stream() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        takes_a_node_away(lab, TakenAway::WhenUnready).await?;
        takes_a_node_away(lab, TakenAway::AtOnce).await
    })
    .await;
}

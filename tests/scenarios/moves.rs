//! A client that is driven from node to node.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client, Log},
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};

use crate::stage::{PATIENCE, Stage};

const MOVES: usize = 50;
const PACE: Duration = Duration::from_millis(4);

/// The ways in which a client comes to another node.
#[derive(Clone, Copy, Debug)]
enum Move {
    NodeKilled,
    NodeDrained,
    OwnReconnect,
}

/// A client moves 50 times during a steady flow, as its node is killed or drained or it reconnects by itself:
/// nothing is lost, repeated or reordered, and no reset is told.
#[tokio::test]
async fn a_client_moving_between_nodes_loses_repeats_and_reorders_nothing() {
    lab::run(Weight::Light, Duration::from_secs(240), async |lab| {
        let settings = NodeSettings::default()
            .with("SLUICE__DRAIN__DEADLINE", "500ms")
            .with("SLUICE__DRAIN__READINESS_LEAD", "100ms");
        let mut stage = Stage::new(lab, 3, 1, &settings).await?;
        let clients = stage.clients(4).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        for (step, how) in [Move::NodeKilled, Move::NodeDrained, Move::OwnReconnect]
            .into_iter()
            .cycle()
            .take(MOVES)
            .enumerate()
        {
            drive(&mut stage, &clients[0], how)
                .await
                .with_context(|| format!("move {step}, {how:?}"))?;
        }
        flow.stop().await?;
        let report = stage.whole(&clients).await?;

        let log = clients[0].log();
        ensure!(
            log.asked() > MOVES,
            "the client asked only {} times",
            log.asked()
        );
        ensure!(
            report.resets.is_empty(),
            "resets were told: {:?}",
            report.resets
        );
        ensure!(
            log.controls("sluice.close")
                .any(|block| block.data.contains("\"drain\"")),
            "no drain was told"
        );
        Ok(())
    })
    .await;
}

/// Moves the client and waits until it is on another node and has got an event there.
async fn drive(stage: &mut Stage, client: &Client, how: Move) -> Result<()> {
    let from = node_of(&client.log())?;
    let index = stage
        .nodes
        .iter()
        .position(|node| node.http() == from)
        .context("an unknown node")?;
    match how {
        Move::NodeKilled => stage.nodes[index].kill().await?,
        Move::NodeDrained => stage.nodes[index].terminate()?,
        Move::OwnReconnect => client.move_to(index + 1).await?,
    }
    let what = "the client gets events on another node";
    wait::until_true(PATIENCE, what, || arrived_elsewhere(&client.log(), from)).await?;
    match how {
        Move::OwnReconnect => return Ok(()),
        Move::NodeKilled => {}
        Move::NodeDrained => {
            let status = stage.nodes[index].until_ended(PATIENCE).await?;
            ensure!(status.success(), "a drained node ended with {status}");
        }
    }
    stage.nodes[index].start_again().await
}

/// The node that the client asked last.
fn node_of(log: &Log) -> Result<SocketAddr> {
    log.seen
        .iter()
        .rev()
        .find_map(|(_, seen)| seen.asked())
        .context("the client never asked a node")
}

/// Whether the client's present node is another one than `from` and has sent it an event of the application.
fn arrived_elsewhere(log: &Log, from: SocketAddr) -> bool {
    let since_asked = log
        .seen
        .iter()
        .rev()
        .take_while(|(_, seen)| seen.asked().is_none());
    let mut blocks = since_asked.filter_map(|(_, seen)| seen.block());
    blocks.any(|block| !block.event.starts_with("sluice."))
        && node_of(log).is_ok_and(|node| node != from)
}

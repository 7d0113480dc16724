//! Plain delivery, without any fault.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use sluice_e2e::{
    http,
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};

use crate::stage::{PATIENCE, Stage};

const NODES: usize = 3;
const CLIENTS: usize = 200;
const CHANNELS: usize = 20;
const EVENTS: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Three nodes, 200 clients over 20 channels, 20,000 events: each client gets each event of its channel once,
/// in order, whichever node it is on, over the one connection it opened.
#[tokio::test]
async fn every_client_gets_each_of_its_events_once_and_in_order_whichever_node_it_is_on() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let stage = Stage::new(lab, NODES, CHANNELS, &NodeSettings::default()).await?;
        let clients = stage.clients(CLIENTS).await?;
        let rounds = EVENTS / CHANNELS;
        stage
            .publisher
            .publish_rounds(&stage.channels, rounds)
            .await?;
        let report = stage.whole(&clients).await?;

        ensure!(
            report.delivered == CLIENTS * rounds,
            "{} events were delivered",
            report.delivered
        );
        for client in &clients {
            let log = client.log();
            ensure!(
                log.events().count() == rounds,
                "{} got {} events",
                log.name,
                log.events().count()
            );
            ensure!(log.asked() == 1, "{} had to reconnect", log.name);
        }
        wait::until(PATIENCE, "the gateways count each delivery", async || {
            let counted = stage.total("sluice_events_delivered_total").await?;
            Ok((counted == (CLIENTS * rounds) as f64).then_some(()))
        })
        .await
    })
    .await;
}

/// What a backend publishes over HTTP at one node reaches the clients of every node as any other event does,
/// and a repetition under its `Idempotency-Key` is answered with the first position and delivered once.
#[tokio::test]
async fn an_event_published_over_http_reaches_every_node_once() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let stage = Stage::new(lab, 2, 1, &NodeSettings::default()).await?;
        let clients = stage.clients(4).await?;
        let path = format!("/v1/channels/{}/events", stage.channels[0]);
        let headers =
            "Content-Type: text/plain\r\nSluice-Event: order.created\r\nIdempotency-Key: ev-1\r\n";
        let mut positions = Vec::new();
        for node in &stage.nodes {
            let answer = http::post(node.http(), &path, headers, "{\"id\":1}\nxin chào").await?;
            ensure!(
                answer.head.status == 201,
                "status {}: {}",
                answer.head.status,
                answer.body
            );
            let answer: Value = serde_json::from_str(&answer.body)?;
            positions.push(
                answer["id"]
                    .as_str()
                    .map(str::to_owned)
                    .context("no position")?,
            );
        }
        ensure!(
            positions[0] == positions[1],
            "the repetition got another position: {positions:?}"
        );
        stage.settle(&clients, PATIENCE).await?;
        // One more event behind it: had the repetition been an event of its own, it would stand before this.
        stage.publisher.publish(&stage.channels[0]).await?;
        stage.settle(&clients, PATIENCE).await?;
        for client in &clients {
            let log = client.log();
            let got: Vec<_> = log
                .events()
                .map(|block| (block.event.as_str(), block.data.as_str()))
                .collect();
            ensure!(
                got == [
                    ("order.created", "{\"id\":1}\nxin chào"),
                    ("message", "room.0 0 |")
                ],
                "got {got:?}"
            );
            ensure!(
                log.events()
                    .next()
                    .is_some_and(|block| block.last_event_id == positions[0]),
                "another id"
            );
        }
        Ok(())
    })
    .await;
}

/// A plain PUBLISH is delivered too, as an event without history: it leaves every cursor where it is.
#[tokio::test]
async fn a_plain_publish_is_delivered_and_moves_no_cursor() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let stage = Stage::new(lab, 2, 1, &NodeSettings::default()).await?;
        let clients = stage.clients(4).await?;
        let record = stage.publisher.publish(&stage.channels[0]).await?;
        stage.settle(&clients, PATIENCE).await?;
        let topic = stage.publisher.topic(&stage.channels[0])?;
        let heard: u64 = stage.redis.command(&["PUBLISH", &topic, "hello"]).await?;
        ensure!(heard == 2, "{heard} nodes listen");
        let without = || {
            clients
                .iter()
                .filter(|client| client.log().events().count() < 2)
                .count()
        };
        wait::until_true(PATIENCE, "all have it", || without() == 0).await?;
        for client in &clients {
            let log = client.log();
            let last = log.blocks().last().context("nothing came")?;
            ensure!(
                (last.event.as_str(), last.data.as_str()) == ("message", "hello"),
                "got {last:?}"
            );
            ensure!(
                Some(last.last_event_id.as_str()) == record.position(),
                "the cursor moved: {last:?}"
            );
        }
        Ok(())
    })
    .await;
}

//! Plain delivery, without any fault.

use std::time::Duration;

use anyhow::ensure;
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::stage::Stage;

const NODES: usize = 3;
const CLIENTS: usize = 200;
const CHANNELS: usize = 20;
const EVENTS: usize = 20_000;

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
        let counted = stage.total("sluice_events_delivered_total").await?;
        ensure!(
            counted == (CLIENTS * rounds) as f64,
            "the gateways count {counted} deliveries"
        );
        Ok(())
    })
    .await;
}

//! The last event of a channel is lost on its way: no later event shows the hole, only the audit does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    lab::{self, Lab, Weight},
    node::{AUDIT_INTERVAL, NodeSettings},
    proxy::Proxy,
};

use crate::stage::{PATIENCE, Stage, arrival, until_all_have};

const CLIENTS: usize = 6;
const SLACK: Duration = Duration::from_secs(1);

async fn stage_behind_proxy(lab: &Lab) -> Result<(Stage, Proxy)> {
    let redis = lab.redis().await?;
    let proxy = lab.proxy(&redis).await?;
    let nodes = lab
        .nodes(1, &proxy.redis_url(), &NodeSettings::default())
        .await?;
    Ok((Stage::with(redis, nodes, 2)?, proxy))
}

/// Exactly the last message is dropped between Redis and the node: delivered within audit interval + 1 s.
#[tokio::test]
async fn a_lost_last_event_is_delivered_within_an_audit_interval() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let (stage, proxy) = stage_behind_proxy(lab).await?;
        let clients = stage.clients(CLIENTS).await?;
        stage.publisher.publish_rounds(&stage.channels, 10).await?;
        stage.settle(&clients, PATIENCE).await?;

        for round in 1..=3 {
            proxy.drop_messages(&stage.publisher.topic(&stage.channels[0])?, 1);
            let last = stage.publisher.publish(&stage.channels[0]).await?;
            let published = Instant::now();
            until_all_have(&clients, &stage.heads().await?, AUDIT_INTERVAL + SLACK).await?;
            let dropped = proxy.counts().dropped_messages;
            ensure!(
                dropped == round,
                "{dropped} messages were dropped in {round} rounds"
            );
            let position = last.position().context("the outcome is unknown")?;
            let latest = clients
                .iter()
                .filter_map(|client| arrival(&client.log(), position))
                .max();
            let delay = latest
                .context("nobody has it")?
                .saturating_duration_since(published);
            ensure!(delay <= AUDIT_INTERVAL + SLACK, "it took {delay:?}");
        }
        let findings = stage.total("sluice_audit_findings_total").await?;
        ensure!(
            findings >= 1.0,
            "the audit found nothing: who delivered the events?"
        );
        let report = stage.whole(&clients).await?;
        ensure!(
            report.resets.is_empty(),
            "resets were told: {:?}",
            report.resets
        );
        Ok(())
    })
    .await;
}

/// A message dropped in the middle is noticed by the next one, without waiting for the audit.
#[tokio::test]
async fn a_lost_event_in_the_middle_is_filled_in_as_soon_as_the_next_one_comes() {
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        let (stage, proxy) = stage_behind_proxy(lab).await?;
        let clients = stage.clients(CLIENTS).await?;
        stage.publisher.publish_rounds(&stage.channels, 3).await?;
        stage.settle(&clients, PATIENCE).await?;
        proxy.drop_messages(&stage.publisher.topic(&stage.channels[0])?, 2);
        stage.publisher.publish_rounds(&stage.channels, 5).await?;
        stage.settle(&clients, PATIENCE).await?;
        ensure!(proxy.counts().dropped_messages == 2, "{:?}", proxy.counts());
        ensure!(
            stage.total("sluice_gaps_found_total").await? >= 1.0,
            "no gap was found"
        );
        stage.whole(&clients).await?;
        Ok(())
    })
    .await;
}

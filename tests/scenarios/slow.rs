//! A reader that does not read.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::stage::{PATIENCE, Stage, arrival, until_all_have};

const EVENT_BYTES: usize = 48 * 1024;
/// Fewer than the history keeps, so that the stalled one can resume.
const MOST_EVENTS: usize = 900;
const OTHERS_WITHIN: Duration = Duration::from_secs(2);

/// A stalled reader is closed as a slow consumer; the others' deliveries go on meanwhile, and once it reads
/// again it resumes whole.
#[tokio::test]
async fn a_stalled_reader_is_closed_alone_and_resumes_whole() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let stage = Stage::new(lab, 1, 1, &NodeSettings::default()).await?;
        let mut clients = stage.clients(8).await?;
        let mut options = stage.options(0, 0);
        options.receive_buffer = Some(4096);
        let stalled = stage.client("stalled", options).await?;
        stalled.stall(true);

        let mut slowest = Duration::ZERO;
        let mut events = 0;
        while closed_as_slow(&stage).await? == 0.0 {
            ensure!(
                events < MOST_EVENTS,
                "{events} events of {EVENT_BYTES} bytes and nobody was closed"
            );
            let record = stage
                .publisher
                .publish_sized(&stage.channels[0], EVENT_BYTES)
                .await?;
            let published = Instant::now();
            until_all_have(&clients, &stage.heads().await?, OTHERS_WITHIN).await?;
            let position = record.position().context("the outcome is unknown")?;
            let latest = clients
                .iter()
                .filter_map(|client| arrival(&client.log(), position))
                .max();
            slowest = slowest.max(
                latest
                    .context("nobody has it")?
                    .saturating_duration_since(published),
            );
            events += 1;
        }
        ensure!(slowest < OTHERS_WITHIN, "the others waited {slowest:?}");
        ensure!(
            closed_as_slow(&stage).await? == 1.0,
            "others were closed too"
        );
        ensure!(
            stalled.log().events().count() < events,
            "the stalled reader read on"
        );
        ensure!(
            clients.iter().all(|client| client.log().asked() == 1),
            "one of the others had to reconnect"
        );

        stalled.stall(false);
        clients.push(stalled);
        stage.settle(&clients, PATIENCE).await?;
        let report = stage.whole(&clients).await?;
        ensure!(
            report.delivered == clients.len() * events,
            "{} events were delivered",
            report.delivered
        );
        ensure!(
            clients
                .last()
                .is_some_and(|stalled| stalled.log().asked() >= 2),
            "it was never closed"
        );
        Ok(())
    })
    .await;
}

async fn closed_as_slow(stage: &Stage) -> Result<f64> {
    let metrics = stage.nodes[0].metrics().await?;
    Ok(metrics.labelled("sluice_connections_closed_total", "reason", "slow_consumer"))
}

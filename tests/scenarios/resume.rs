//! Many clients come back at once, from places old and new, while events go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use sluice_e2e::{
    client::Client,
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};

use crate::stage::{PATIENCE, Stage, until_opened};

const CHANNELS: usize = 2;
/// More than two pages of a history read.
const HISTORY: usize = 600;
const CLIENTS: usize = 60;
const MOVES: usize = 6;
const PACE: Duration = Duration::from_millis(1);

/// 60 clients with cursors between 600 and 10 events old open streams on three nodes during a fast flow, and
/// each moves on six times, all at once: every seam between replay and live is exact.
#[tokio::test]
async fn a_storm_of_resumes_during_a_fast_flow_is_exact_at_every_seam() {
    lab::run(Weight::Heavy, Duration::from_secs(90), async |lab| {
        let stage = Stage::new(lab, 3, CHANNELS, &NodeSettings::default()).await?;
        stage
            .publisher
            .publish_rounds(&stage.channels, HISTORY)
            .await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        let clients = (0..CLIENTS)
            .map(|n| returning(&stage, n))
            .collect::<Result<Vec<_>>>()?;
        until_opened(&clients).await?;
        for round in 1..=MOVES {
            try_join_all(
                clients
                    .iter()
                    .enumerate()
                    .map(|(n, client)| client.move_to(n + round)),
            )
            .await?;
            let arrived = || {
                clients
                    .iter()
                    .filter(|client| client.log().asked() > round)
                    .count()
            };
            wait::until_true(PATIENCE, "all have moved", || arrived() == CLIENTS).await?;
        }
        let published = stage.publisher.published();
        wait::until_true(PATIENCE, "the flow goes on", || {
            stage.publisher.published() > published + 200
        })
        .await?;
        flow.stop().await?;
        let report = stage.whole(&clients).await?;
        ensure!(
            report.resets.is_empty(),
            "resets were told: {:?}",
            report.resets
        );

        // Each got everything after its cursor: the checker proved the links, this the number.
        let journal = stage.publisher.journal();
        for (n, client) in clients.iter().enumerate() {
            let log = client.log();
            let want = journal.stored(&log.channels[0]) - 1 - serial_of(n);
            ensure!(
                log.events().count() == want,
                "{} got {} of {want} events",
                log.name,
                log.events().count()
            );
        }
        Ok(())
    })
    .await;
}

/// The serial after which client `n` resumes: spread over the history.
fn serial_of(n: usize) -> usize {
    n * HISTORY / CLIENTS
}

fn returning(stage: &Stage, n: usize) -> Result<Client> {
    let mut options = stage.options(n % CHANNELS, n);
    let channel = &options.channels[0];
    let journal = stage.publisher.journal();
    let at = |record: &&sluice_e2e::journal::Record| {
        record.channel == *channel && record.serial == serial_of(n) as u64
    };
    let record = journal.records.iter().find(at).context("not published")?;
    options.last_event_id = record.position().map(str::to_owned);
    Ok(Client::start(format!("c{n}"), options))
}

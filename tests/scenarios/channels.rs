//! Several channels on one connection, one cursor for all of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::{
    checker::Suffered,
    client::{Client, Options},
    lab::{self, Lab, Weight},
    node::NodeSettings,
};

use crate::stage::{PATIENCE, Stage, suffered};

const CHANNELS: usize = 8;
const LIMIT: Duration = Duration::from_secs(60);

/// A stage of 8 channels, and a client that saw a different number of events on each and left.
async fn left_in_the_middle(lab: &Lab) -> Result<(Stage, Client)> {
    let stage = Stage::new(lab, 2, CHANNELS, &NodeSettings::default()).await?;
    let client = stage.client("many", options(&stage)).await?;
    for n in 0..CHANNELS {
        stage
            .publisher
            .publish_rounds(&stage.channels[n..], 3)
            .await?;
    }
    stage
        .settle(std::slice::from_ref(&client), PATIENCE)
        .await?;
    Ok((stage, client))
}

fn options(stage: &Stage) -> Options {
    let channels: Vec<&str> = stage.channels.iter().map(String::as_str).collect();
    Options::new(&channels, &stage.addrs(), 0)
}

/// One cursor resumes 8 channels on another node, exact in each.
#[tokio::test]
async fn one_cursor_resumes_eight_channels_exactly() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let (stage, client) = left_in_the_middle(lab).await?;
        let flow = stage
            .publisher
            .flow(&stage.channels, Duration::from_millis(2));
        for node in [1, 0, 1, 0, 1] {
            let seen = client.log().events().count();
            client.move_to(node).await?;
            let what = "events of the flow come after the move";
            sluice_e2e::wait::until_true(PATIENCE, what, || {
                client.log().events().count() > seen + 100
            })
            .await?;
        }
        flow.stop().await?;
        let published = stage.publisher.published();
        let report = stage.whole(&[client]).await?;
        ensure!(
            report.delivered == published,
            "{} of {published} were delivered",
            report.delivered
        );
        Ok(())
    })
    .await;
}

/// While a client is away one of its channels loses its state and one its history: these two are told, each
/// with its reason, and the other six go on as if nothing had been.
#[tokio::test]
async fn a_reset_of_one_channel_leaves_the_others_alone() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let (stage, client) = left_in_the_middle(lab).await?;
        let cursor = client.log().last_event_id.clone();
        drop(client);
        stage.publisher.publish_rounds(&stage.channels, 10).await?;
        let head = stage.publisher.head_key(&stage.channels[2])?;
        ensure!(
            stage.redis.command::<u64>(&["DEL", &head]).await? == 1,
            "there was no head"
        );
        let stream = stage.publisher.stream_key(&stage.channels[5])?;
        let removed: u64 = stage
            .redis
            .command(&["XTRIM", &stream, "MAXLEN", "4"])
            .await?;
        ensure!(removed > 6, "XTRIM removed {removed}");
        stage.publisher.publish_rounds(&stage.channels, 2).await?;

        let mut again = options(&stage);
        (again.first, again.last_event_id) = (1, Some(cursor));
        let client = stage.client("many again", again).await?;
        stage
            .settle(std::slice::from_ref(&client), PATIENCE)
            .await?;
        stage.publisher.publish_rounds(&stage.channels, 5).await?;
        let mut justified: Suffered = suffered(&stage.channels[2], "state_lost");
        justified.extend(suffered(&stage.channels[5], "trimmed"));
        let report = stage.verdict(&[client], &justified).await?;

        let mut told: Vec<_> = report
            .resets
            .iter()
            .map(|told| (told.channel.as_str(), told.reason.as_str()))
            .collect();
        told.sort();
        ensure!(
            told == [("room.2", "state_lost"), ("room.5", "trimmed")],
            "resets told: {told:?}"
        );
        // Six channels replay 10 + 2 and get 5; the two reset ones go on from their heads and get 5.
        ensure!(
            report.delivered == 6 * 17 + 2 * 5,
            "{} events were delivered",
            report.delivered
        );
        Ok(())
    })
    .await;
}

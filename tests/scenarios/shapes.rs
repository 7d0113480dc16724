//! Same cursor, other shapes: an event stream, lines of NDJSON and a loop of polls get the same events, exactly.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluice_e2e::{
    client::{Client, Options},
    lab::{self, Weight},
    node::NodeSettings,
    shapes::Shape,
    wait,
};

use crate::stage::{PATIENCE, Stage, suffered};

const LIMIT: Duration = Duration::from_secs(90);
const NODES: usize = 3;
const CHANNELS: usize = 2;
/// 400 events a second.
const PACE: Duration = Duration::from_micros(2_500);
const BETWEEN_CUTS: Duration = Duration::from_millis(300);
const CUTS: usize = 12;
const POLL: Shape = Shape::Poll {
    limit: 7,
    timeout: Duration::from_millis(500),
};

fn options(stage: &Stage, shape: Shape, first: usize) -> Options {
    let channels: Vec<&str> = stage.channels.iter().map(String::as_str).collect();
    let polls = matches!(shape, Shape::Poll { .. });
    let mut options = Options::new(&channels, &stage.addrs(), first);
    options.shape = shape;
    if polls {
        options.retry_cap = Duration::ZERO;
    }
    options
}

/// Waits until each client has been told its first place.
async fn until_begun(clients: &[Client]) -> Result<()> {
    let begun = |client: &Client| client.log().controls("sluice.open").count() > 0;
    wait::until_true(PATIENCE, "all have a place", || clients.iter().all(begun)).await
}

/// A fast flow on two channels; a reader of lines that is cut off again and again and goes on at the next node, a loop
/// of small polls over three nodes, and an EventSource that stays: each gets every event once, in order.
#[tokio::test]
async fn lines_polls_and_event_streams_get_every_event_once_and_in_order() {
    lab::run(Weight::Heavy, LIMIT, async |lab| {
        let stage = Stage::new(lab, NODES, CHANNELS, &NodeSettings::default()).await?;
        let clients = [
            Client::start("events", options(&stage, Shape::EventStream, 0)),
            Client::start("lines", options(&stage, Shape::Ndjson, 1)),
            Client::start("polls", options(&stage, POLL, 2)),
        ];
        until_begun(&clients).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        for cut in 1..=CUTS {
            let since = Instant::now();
            wait::until_true(PATIENCE, "the next cut is due", || {
                since.elapsed() >= BETWEEN_CUTS
            })
            .await?;
            clients[1].move_to(1 + cut).await?;
        }
        flow.stop().await?;
        let report = stage.whole(&clients).await?;
        ensure!(report.resets.is_empty(), "resets: {:?}", report.resets);

        let published = stage.publisher.journal().records.len();
        for client in &clients {
            let log = client.log();
            let got = log.events().count();
            ensure!(got == published, "{} got {got} of {published}", log.name);
        }
        let (lines, polls) = (clients[1].log().asked(), clients[2].log().asked());
        ensure!(lines > CUTS, "the lines were cut {lines} times only");
        ensure!(
            polls >= published / 7,
            "{published} events came with {polls} polls of seven"
        );
        for node in &stage.nodes {
            let metrics = node.metrics().await?;
            let done = metrics.total("sluice_connections_closed_total{reason=\"poll_done\"}");
            ensure!(done > 0.0, "{} has answered no poll", node.name);
        }
        Ok(())
    })
    .await;
}

/// A history trimmed past a cursor is told in every shape as a reset to the same place, and everything after it comes.
#[tokio::test]
async fn a_trim_is_told_in_every_shape() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let stage = Stage::new(lab, 2, 1, &NodeSettings::default()).await?;
        let channel = stage.channels[0].clone();
        let old = stage.publisher.publish(&channel).await?;
        for _ in 0..20 {
            stage.publisher.publish(&channel).await?;
        }
        let key = stage.publisher.stream_key(&channel)?;
        let trimmed: usize = stage
            .redis
            .command(&["XTRIM", &key, "MAXLEN", "=", "5"])
            .await?;
        ensure!(trimmed == 16, "{trimmed} events were trimmed");
        let clients: Vec<Client> = [Shape::EventStream, Shape::Ndjson, POLL]
            .into_iter()
            .enumerate()
            .map(|(n, shape)| {
                let mut options = options(&stage, shape, n);
                options.last_event_id = old.position().map(str::to_owned);
                Client::start(format!("{shape:?}"), options)
            })
            .collect();
        stage.settle(&clients, PATIENCE).await?;
        for _ in 0..20 {
            stage.publisher.publish(&channel).await?;
        }
        let report = stage
            .verdict(&clients, &suffered(&channel, "trimmed"))
            .await?;
        ensure!(report.resets.len() == clients.len(), "{:?}", report.resets);
        let told: Vec<String> = clients
            .iter()
            .filter_map(|client| {
                let log = client.log();
                let reset = log.controls("sluice.reset").next()?;
                Some(reset.data.clone())
            })
            .collect();
        ensure!(
            told.iter().all(|data| *data == told[0]) && told.len() == clients.len(),
            "told differently: {told:?}"
        );
        for client in &clients {
            let log = client.log();
            ensure!(
                log.events().count() == 20,
                "{} got {} events",
                log.name,
                log.events().count()
            );
        }
        Ok(())
    })
    .await;
}

/// A cursor passes from one shape to the next and back, over nodes, and nothing is lost or repeated on the way.
#[tokio::test]
async fn a_cursor_passes_from_shape_to_shape() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let stage = Stage::new(lab, NODES, CHANNELS, &NodeSettings::default()).await?;
        let mut cursor: Option<String> = None;
        let mut got = 0;
        let round = [Shape::EventStream, Shape::Ndjson, POLL];
        for (turn, shape) in round.into_iter().cycle().take(9).enumerate() {
            stage
                .publisher
                .publish_rounds(&stage.channels, usize::from(turn > 0) * 10)
                .await?;
            let mut options = options(&stage, shape, turn);
            options.last_event_id = cursor.clone();
            let clients = [Client::start(format!("{turn} {shape:?}"), options)];
            until_begun(&clients).await?;
            stage.publisher.publish_rounds(&stage.channels, 10).await?;
            stage.whole(&clients).await?;
            got += clients[0].log().events().count();
            cursor = Some(clients[0].log().last_event_id.clone());
        }
        let published = stage.publisher.published();
        ensure!(got == published, "{got} of {published} events came");
        Ok(())
    })
    .await;
}

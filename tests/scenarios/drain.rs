//! A node is told to go.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client, End},
    lab::{self, Weight},
    node::NodeSettings,
    wait,
};

use crate::stage::{PATIENCE, Stage, until_opened};

const STREAMS: usize = 2_000;
const CHANNELS: usize = 20;
const WINDOW: Duration = Duration::from_secs(6);
/// Ends are spread: no tenth of the window may see more than this share of them.
const MOST_PER_TENTH: f64 = 0.3;

/// SIGTERM during 2,000 open streams: readiness falls first, the streams end spread over the window, each with
/// a `sluice.close`, all resume on the other node, nothing is lost, and the process ends in order.
#[tokio::test]
async fn a_drained_node_hands_its_streams_over_spread_in_time_and_loses_nothing() {
    lab::run(Weight::Heavy, Duration::from_secs(180), async |lab| {
        let settings = NodeSettings::default()
            .with("SLUICE__DRAIN__DEADLINE", format!("{}s", WINDOW.as_secs()));
        let mut stage = Stage::new(lab, 2, CHANNELS, &settings).await?;
        let clients: Vec<Client> = (0..STREAMS)
            .map(|n| Client::start(format!("c{n}"), stage.options(n % CHANNELS, 0)))
            .collect();
        until_opened(&clients).await?;
        let open = stage.nodes[0].metrics().await?.total("sluice_connections");
        ensure!(open == STREAMS as f64, "{open} streams are open");

        let flow = stage
            .publisher
            .flow(&stage.channels, Duration::from_millis(10));
        stage.nodes[0].terminate()?;
        let told = Instant::now();
        let node = &stage.nodes[0];
        wait::until(WINDOW, "readiness falls", async || {
            Ok((!node.is_ready().await).then_some(()))
        })
        .await?;
        let fallen = Instant::now();
        let status = stage.nodes[0].until_ended(WINDOW * 2).await?;
        ensure!(status.success(), "the drained node ended with {status}");
        ensure!(
            told.elapsed() <= WINDOW + Duration::from_secs(3),
            "the drain took {:?}",
            told.elapsed()
        );

        let moved = || {
            clients
                .iter()
                .filter(|client| client.log().asked() >= 2)
                .count()
        };
        wait::until_true(PATIENCE, "all streams are asked for elsewhere", || {
            moved() == STREAMS
        })
        .await?;
        flow.stop().await?;
        stage.nodes.remove(0);
        stage.whole(&clients).await?;
        let ends: Vec<Instant> = clients.iter().map(closed_by_drain).collect::<Result<_>>()?;
        spread(&ends, fallen)
    })
    .await;
}

/// When the client was told `sluice.close` with the reason `drain`; the stream must have ended in order after.
fn closed_by_drain(client: &Client) -> Result<Instant> {
    let log = client.log();
    let (closes, last) = log
        .timed_blocks()
        .filter(|(_, block)| block.event == "sluice.close")
        .fold((0, None), |(count, _), (when, block)| {
            (count + 1, Some((when, block.data.clone())))
        });
    let (when, data) = last.with_context(|| format!("{} was told no close", log.name))?;
    ensure!(
        closes == 1 && data.contains("\"drain\""),
        "{} was told {closes} closes, {data}",
        log.name
    );
    let ended = log.seen.iter().find_map(|(_, seen)| seen.ended());
    ensure!(
        ended == Some(&End::Complete),
        "the stream of {} ended with {ended:?}",
        log.name
    );
    Ok(when)
}

fn spread(ends: &[Instant], fallen: Instant) -> Result<()> {
    let first = *ends.iter().min().context("no stream ended")?;
    let last = *ends.iter().max().context("no stream ended")?;
    ensure!(
        first >= fallen,
        "a stream ended {:?} before readiness was seen to fall",
        fallen - first
    );
    ensure!(
        last - first >= WINDOW / 2,
        "all streams ended within {:?}",
        last - first
    );
    let tenth = WINDOW / 10;
    for n in 0..10 {
        let (from, to) = (first + tenth * n, first + tenth * (n + 1));
        let share =
            ends.iter().filter(|&&end| end >= from && end < to).count() as f64 / ends.len() as f64;
        ensure!(
            share <= MOST_PER_TENTH,
            "{:.0} % of the streams ended in tenth {n} of the window",
            share * 100.0
        );
    }
    Ok(())
}

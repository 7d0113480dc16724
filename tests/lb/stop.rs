//! A load balancer itself is stopped while streams are open through it, by each signal that its operators have for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::Client,
    lab::{self, Lab, Weight},
    node::NodeSettings,
    process::Signal,
    rollout::visits,
    stage::until_opened,
    wait,
};

use crate::{
    balancer::Kind,
    edited::Limit,
    fleet::{Fleet, none_refused},
    operated::Operated,
};

const CLIENTS: usize = 12;
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);
/// The limit on what is open before, in seconds.
const LIMIT: u64 = 3;
/// On a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// When a stop ends the streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cuts {
    AtOnce,
    AfterTheLimit,
}

/// What comes before the stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    Nothing,
    /// The streams are on what a reload has left.
    AReload,
}

async fn stops(
    lab: &Lab,
    fleet: &Fleet,
    (kind, before, signal): (Kind, Before, Signal),
    cuts: Cuts,
) -> Result<()> {
    let limit = Limit::Seconds(LIMIT);
    let mut operated = Operated::start(lab, kind, limit, &fleet.upstream).await?;
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|n| Client::start(format!("c{n}"), fleet.options(operated.plain, n)))
        .collect();
    until_opened(&clients).await?;
    let (publisher, channels) = (fleet.stage.publisher.clone(), fleet.stage.channels.clone());
    let flow = publisher.flow(&channels, PACE);
    if before == Before::AReload {
        operated.reload_without(fleet.upstream.nodes[2]).await?;
    }

    let told = Instant::now();
    operated.signal(signal)?;
    let ends = || -> Vec<Option<Instant>> {
        let end = |client: &Client| {
            visits(&client.log())
                .first()?
                .ended
                .as_ref()
                .map(|(when, _)| *when)
        };
        clients.iter().map(end).collect()
    };
    wait::until_true(PATIENCE, "every stream has ended", || {
        ends().iter().all(Option::is_some)
    })
    .await?;
    operated.until_ended().await?;
    let after = ends().into_iter().flatten();
    let after: Vec<Duration> = after
        .map(|when| when.saturating_duration_since(told))
        .collect();
    let first = *after.iter().min().context("clients")?;
    let last = *after.iter().max().context("clients")?;
    println!(
        "{kind:?}, {signal:?} after {before:?}, limit {LIMIT} s: streams end {:.1} to {:.1} s after",
        first.as_secs_f64(),
        last.as_secs_f64()
    );
    let limit = Duration::from_secs(LIMIT);
    let as_known = match cuts {
        Cuts::AtOnce => last < limit,
        Cuts::AfterTheLimit => first >= limit && last < limit + LATE,
    };
    ensure!(
        as_known,
        "{kind:?}: {signal:?} ends streams after {first:?} to {last:?}"
    );

    operated.run().await?;
    until_opened(&clients).await?;
    flow.stop().await?;
    none_refused(&clients)?;
    fleet.stage.whole(&clients).await?;
    Ok(())
}

/// Each stop ends the streams when the page says so, and once the load balancer is there again, each client goes on where it was.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn a_stop_cuts_streams_at_once_or_after_the_limit_as_the_page_says_and_clients_go_on() {
    const ALL: [(Kind, Before, Signal, Cuts); 8] = [
        (
            Kind::Nginx,
            Before::Nothing,
            Signal::Terminate,
            Cuts::AtOnce,
        ),
        (
            Kind::Nginx,
            Before::Nothing,
            Signal::Quit,
            Cuts::AfterTheLimit,
        ),
        (
            Kind::Haproxy,
            Before::Nothing,
            Signal::Terminate,
            Cuts::AtOnce,
        ),
        (
            Kind::Haproxy,
            Before::Nothing,
            Signal::User1,
            Cuts::AfterTheLimit,
        ),
        (
            Kind::Envoy,
            Before::Nothing,
            Signal::Terminate,
            Cuts::AtOnce,
        ),
        (
            Kind::Caddy,
            Before::Nothing,
            Signal::Terminate,
            Cuts::AfterTheLimit,
        ),
        (
            Kind::Caddy,
            Before::AReload,
            Signal::Terminate,
            Cuts::AtOnce,
        ),
        (
            Kind::Haproxy,
            Before::AReload,
            Signal::Terminate,
            Cuts::AtOnce,
        ),
    ];
    lab::run(Weight::Heavy, Duration::from_secs(180), async |lab| {
        let fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        for (kind, before, signal, cuts) in ALL {
            stops(lab, &fleet, (kind, before, signal), cuts).await?;
            fleet.until_idle().await?;
        }
        Ok(())
    })
    .await;
}

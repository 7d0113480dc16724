//! Each load balancer with the shipped files: events come at once, dead nodes end no client, a drain loses nothing.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::{
    balancer::{Balancer, Kind, Settings},
    dead, drain,
    fleet::Fleet,
    measure,
};

/// What a load balancer may add to an event's way.
const MOST_ADDED: Duration = Duration::from_millis(5);
/// What it may add to the first byte: a connection more, on a machine that does other things.
const MOST_BEFORE_FIRST_BYTE: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(5);

/// Prints what was measured and holds it to its bounds.
async fn passes_on_at_once(fleet: &Fleet, balancer: &Balancer) -> Result<()> {
    let first = measure::first_byte(fleet, balancer.plain).await?;
    let event = measure::event(fleet, balancer.plain).await?;
    let (kind, first_words, event_words) = (balancer.kind, first.in_words(), event.in_words());
    println!("{kind:?}: first byte {first_words}, event p50 {event_words}");
    ensure!(
        first.added() <= MOST_BEFORE_FIRST_BYTE,
        "the first byte: {first_words}"
    );
    ensure!(event.added() <= MOST_ADDED, "an event: {event_words}");
    Ok(())
}

async fn keeps_its_promises(kind: Kind) {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        // With a heartbeat a load balancer finds that a client has gone.
        let settings = NodeSettings::default()
            .with("SLUICE__STREAM__HEARTBEAT", "500ms")
            .with("SLUICE__DRAIN__DEADLINE", format!("{}s", WINDOW.as_secs()));
        let mut fleet = Fleet::start(lab, &settings).await?;
        let balancer = fleet.behind(lab, kind, Settings::Shipped).await?;
        let front: SocketAddr = balancer.plain;
        passes_on_at_once(&fleet, &balancer).await?;
        // Envoy picks of two nodes at random: of a burst each gets its part only more or less.
        let least = match kind {
            Kind::Envoy => 1,
            Kind::Nginx | Kind::Haproxy | Kind::Caddy => dead::CLIENTS / 6,
        };
        dead::ends_no_client(&mut fleet, front, least).await?;
        let told = drain::loses_nothing(&mut fleet, front, WINDOW).await?;
        println!("{kind:?}: {told}");
        ensure!(
            told.again * 10 <= told.moved,
            "{told}: a draining node is still given streams"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn nginx_as_shipped_delivers_at_once_and_survives_dead_and_leaving_nodes() {
    keeps_its_promises(Kind::Nginx).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn haproxy_as_shipped_delivers_at_once_and_survives_dead_and_leaving_nodes() {
    keeps_its_promises(Kind::Haproxy).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn envoy_as_shipped_delivers_at_once_and_survives_dead_and_leaving_nodes() {
    keeps_its_promises(Kind::Envoy).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn caddy_as_shipped_delivers_at_once_and_survives_dead_and_leaving_nodes() {
    keeps_its_promises(Kind::Caddy).await;
}

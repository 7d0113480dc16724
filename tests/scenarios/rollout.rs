//! A deployment is rolled under load, behind nginx as shipped: the drill of `make rollout-drill`, small.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    checker::Kind,
    lab::{self, Lab, Weight},
    rollout::{self, Drill, Plan, Sabotage},
};

fn plan(sabotage: Option<Sabotage>) -> Plan {
    Plan {
        clients: 450,
        channels: 15,
        rate: 45,
        nodes: 3,
        deadline: Duration::from_secs(5),
        lead: Duration::from_millis(500),
        pre_stop: Duration::from_millis(500),
        calm: Duration::from_secs(1),
        old_program: None,
        sabotage,
    }
}

/// Small: two nodes, of which the judge needs to see but one bad drain.
async fn broken(lab: &Lab, sabotage: Sabotage) -> Result<Drill> {
    let plan = Plan {
        clients: 200,
        nodes: 2,
        deadline: Duration::from_secs(3),
        ..plan(Some(sabotage))
    };
    let drill = rollout::run(lab, &plan).await?;
    ensure!(drill.whole().is_err(), "nobody noticed {sabotage:?}");
    Ok(drill)
}

/// Every node is replaced; each client comes back once for each node that left under it, spread over the drain window,
/// ends up on a new node, and has lost, repeated and reordered nothing.
#[tokio::test]
async fn a_rolling_deploy_loses_nothing_and_spreads_the_reconnects() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let drill = rollout::run(lab, &plan(None)).await?;
        drill.whole()?;
        let back = drill.findings.reconnects.len();
        ensure!(back >= 450, "only {back} reconnects: nothing was rolled");
        ensure!(
            drill.report.delivered > 450,
            "{} deliveries",
            drill.report.delivered
        );
        Ok(())
    })
    .await;
}

/// The drill is no ornament: where nodes drop all streams at once, it says so.
#[tokio::test]
async fn a_roll_without_a_drain_window_is_noticed() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let drill = broken(lab, Sabotage::DrainAtOnce).await?;
        let said = drill.findings.complaints.join("\n");
        ensure!(said.contains("of its clients came back in tenth"), "{said}");
        drill.report.whole()
    })
    .await;
}

/// Where clients come back without their place, the drill tells what they have lost.
#[tokio::test]
async fn a_roll_whose_clients_forget_their_place_is_noticed() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let drill = broken(lab, Sabotage::ForgottenPlaces).await?;
        ensure!(drill.report.found(Kind::Jump) || drill.report.found(Kind::Gap));
        drill.findings.whole()
    })
    .await;
}

/// Where the balancer is not told that a node leaves, clients are sent to it in vain, and lose nothing by it.
#[tokio::test]
async fn a_roll_of_which_the_balancer_knows_nothing_is_noticed() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let drill = broken(lab, Sabotage::BalancerNotTold).await?;
        ensure!(drill.findings.turned_away > 0);
        drill
            .report
            .whole()
            .with_context(|| drill.findings.complaints.join("\n"))
    })
    .await;
}

/// A roll under half of the load that was asked for shows nothing of that load: the drill says what was reached.
#[tokio::test]
async fn a_roll_under_less_load_than_it_claims_is_noticed() {
    lab::run(Weight::Heavy, Duration::from_secs(60), async |lab| {
        let drill = broken(lab, Sabotage::IdlePublisher).await?;
        let said = drill.findings.complaints.join("\n");
        let (_, reached) = said
            .split_once("45 events/s were asked for, ")
            .with_context(|| said.clone())?;
        let (reached, _) = reached.split_once(' ').context("a rate")?;
        ensure!(reached.parse::<f64>()? < 30.0, "{said}");
        let others = drill.findings.complaints.iter();
        let others = others.filter(|one| !one.contains("the publisher fell behind"));
        ensure!(others.count() == 0, "{said}");
        drill.report.whole()
    })
    .await;
}

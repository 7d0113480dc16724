//! A quiet stream, and the limit that each load balancer puts on its silence.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::{
    client::Client,
    lab::{self, Lab, Weight},
    node::NodeSettings,
    wait,
};

use crate::{
    balancer::{Kind, Settings},
    fleet::{Fleet, none_refused},
};

/// The shipped 75s and 15s, in proportion.
const LIMIT: u64 = 2;
const HEARTBEAT: &str = "400ms";
const PATIENCE: Duration = Duration::from_secs(20);

/// Two readers through load balancers of one kind and with one limit, one of nodes that send heartbeats and one of silent nodes:
/// the one that is cut is the clock.
async fn heartbeats_keep_it(lab: &Lab, beating: &Fleet, silent: &Fleet, kind: Kind) -> Result<()> {
    let first = beating
        .behind(lab, kind, Settings::Impatient(LIMIT))
        .await?;
    let second = silent.behind(lab, kind, Settings::Impatient(LIMIT)).await?;
    let kept = beating.clients(first.plain, 1).await?;
    let cut = silent.clients(second.plain, 1).await?;
    let asked = |client: &Client| client.log().asked();
    wait::until_true(PATIENCE, "silence is cut three times", || {
        asked(&cut[0]) >= 4
    })
    .await?;
    let log = kept[0].log().clone();
    ensure!(
        log.asked() == 1 && log.heartbeats >= 3 * LIMIT,
        "{kind:?} asked for it {} times, {} heartbeats",
        log.asked(),
        log.heartbeats
    );
    let times: Vec<_> = cut[0]
        .log()
        .seen
        .iter()
        .filter(|(_, seen)| seen.asked().is_some())
        .map(|(when, _)| *when)
        .collect();
    let between = (times[3] - times[0]) / 3;
    println!(
        "{kind:?}: limit {LIMIT} s: a silent stream is cut after {:.1} s, one with heartbeats is kept",
        between.as_secs_f64()
    );
    ensure!(
        between >= Duration::from_secs(LIMIT) && between < Duration::from_secs(2 * LIMIT + 1),
        "{kind:?} cuts after {between:?}"
    );
    none_refused(&cut)
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn heartbeats_keep_a_quiet_stream_past_the_limit_that_cuts_a_silent_one() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let heartbeat = |every| NodeSettings::default().with("SLUICE__STREAM__HEARTBEAT", every);
        let beating = Fleet::start(lab, &heartbeat(HEARTBEAT)).await?;
        let silent = Fleet::start(lab, &heartbeat("5m")).await?;
        for kind in [Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::Caddy] {
            heartbeats_keep_it(lab, &beating, &silent, kind).await?;
        }
        Ok(())
    })
    .await;
}

//! A load balancer is told of another set of nodes while streams are open through it: each as its operators do it, with the
//! shipped limit on what is left from before and with a short one beside it, whose end is the clock.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::Client,
    lab::{self, Lab, Weight},
    node::NodeSettings,
    rollout::{Ended, Visit, visits},
    stage::{PATIENCE, until_opened},
    wait,
};

use crate::{
    balancer::Kind,
    edited::Limit,
    fleet::{Fleet, closes, none_refused},
    operated::Operated,
    over_h2::OverH2,
};

const CLIENTS: usize = 24;
const NEWCOMERS: usize = 6;
const PACE: Duration = Duration::from_millis(10);
/// The short limit, in seconds.
const LIMIT: u64 = 3;
const WINDOW: Duration = Duration::from_secs(4);
/// Beyond its limit, the time in which a load balancer on a busy machine cuts what is left, all of it.
const LATE: Duration = Duration::from_secs(5);
/// The node that is taken away.
pub const LEAVING: usize = 2;

/// What a load balancer does with what a reload has left on the old configuration, once its limit is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AtTheLimit {
    CutsAll,
    /// The limit is for a stop alone.
    KeepsAll,
}

/// Streams through one load balancer, and when it was told of other nodes.
struct Side {
    balancer: Operated,
    clients: Vec<Client>,
    over_h2: OverH2,
    reloaded: Instant,
}

impl Side {
    async fn open(lab: &Lab, fleet: &Fleet, balancer: Operated) -> Result<Side> {
        let clients = fleet.clients_in_turn(balancer.plain, CLIENTS).await?;
        let over_h2 = OverH2::open(lab.dir(), balancer.tls, &fleet.stage.channels[0]).await?;
        Ok(Side {
            balancer,
            clients,
            over_h2,
            reloaded: Instant::now(),
        })
    }

    /// Reloads, and sees that it took effect: newcomers are given to the nodes that stay.
    async fn reload(&mut self, fleet: &Fleet) -> Result<Vec<Client>> {
        let leaving = fleet.upstream.nodes[LEAVING];
        self.reloaded = self.balancer.reload_without(leaving).await?;
        let front = self.balancer.plain;
        let few = fleet.clients_in_turn(front, NEWCOMERS).await?;
        let (kind, there) = (self.balancer.kind, on_leaving(&few));
        ensure!(
            there == 0,
            "{kind:?} sent {there} newcomers to the node that was taken away"
        );
        Ok(few)
    }

    /// How long after the reload each client's first stream ended; none while it has not.
    fn ends(&self) -> Vec<Option<(Duration, Visit)>> {
        let end = |client: &Client| {
            let first = visits(&client.log()).into_iter().next()?;
            let when = first.ended.as_ref()?.0;
            Some((when.saturating_duration_since(self.reloaded), first))
        };
        self.clients.iter().map(end).collect()
    }
}

/// How many of these have their present stream on the node that leaves.
pub fn on_leaving(clients: &[Client]) -> usize {
    let name = format!("n{LEAVING}");
    let is_there = |client: &&Client| {
        let last = visits(&client.log()).pop();
        last.is_some_and(|visit| visit.ended.is_none() && visit.node() == Some(&name))
    };
    clients.iter().filter(is_there).count()
}

/// Waits until each stream of `side` has brought an event at more than twice the short limit after the reload.
async fn outlives_twice_the_limit(side: &Side) -> Result<()> {
    let then = side.reloaded + Duration::from_secs(2 * LIMIT);
    let is_past = |client: &Client| {
        let log = client.log();
        log.timed_blocks()
            .next_back()
            .is_some_and(|(when, _)| when > then)
    };
    wait::until_true(PATIENCE, "events come after twice the limit", || {
        side.clients.iter().all(is_past)
    })
    .await?;
    let so_far = side.over_h2.text().len();
    wait::until_true(PATIENCE, "an event comes over HTTP/2", || {
        side.over_h2.text().len() > so_far
    })
    .await
}

/// Every stream is the one that was open before the reload.
fn all_are_kept(side: &mut Side) -> Result<()> {
    let kind = side.balancer.kind;
    let ended = side.ends().into_iter().flatten().next();
    ensure!(ended.is_none(), "{kind:?} ended a stream: {ended:?}");
    let over_h2 = side.over_h2.ended()?;
    ensure!(over_h2.is_none(), "{kind:?} ended the stream over HTTP/2");
    Ok(())
}

/// Every stream was cut when the limit was over, without a word; gives the first and the last.
async fn all_are_cut(side: &mut Side) -> Result<(Duration, Duration)> {
    let kind = side.balancer.kind;
    wait::until_true(PATIENCE, "the limit cuts every stream", || {
        side.ends().iter().all(Option::is_some)
    })
    .await?;
    let mut after = Vec::new();
    for (when, visit) in side.ends().into_iter().flatten() {
        let ended = visit.ended.as_ref().map(|(_, ended)| ended);
        ensure!(visit.closed.is_none(), "{kind:?} left time for a word");
        ensure!(ended == Some(&Ended::Cut), "{kind:?}: {ended:?}");
        after.push(when);
    }
    let (first, last) = (after.iter().min(), after.iter().max());
    let (first, last) = (*first.context("one")?, *last.context("one")?);
    let limit = Duration::from_secs(LIMIT);
    ensure!(
        first >= limit && last <= limit + LATE,
        "{kind:?} cuts after {first:?} to {last:?}"
    );
    wait::until(PATIENCE, "the stream over HTTP/2 is cut", async || {
        Ok(side.over_h2.ended()?.map(drop))
    })
    .await?;
    wait::until(PATIENCE, "the old process has ended", async || {
        Ok(side.balancer.old_processes()?.is_empty().then_some(()))
    })
    .await?;
    until_opened(&side.clients).await?;
    Ok((first, last))
}

/// The node that was taken away ends: who is on it is told so by the node itself, and goes on elsewhere.
async fn the_node_leaves(fleet: &mut Fleet, kept: &Side) -> Result<usize> {
    let there = on_leaving(&kept.clients);
    ensure!(there >= CLIENTS / 8, "{there} clients are on the node");
    let node = &mut fleet.stage.nodes[LEAVING];
    node.terminate()?;
    let status = node.until_ended(WINDOW * 3).await?;
    ensure!(status.success(), "the node ended with {status}");
    until_opened(&kept.clients).await?;
    let told = kept
        .clients
        .iter()
        .map(|client| closes(&client.log(), "drain"));
    let told: usize = told.sum();
    ensure!(told == there, "{there} were there, {told} were told");
    Ok(there)
}

/// What only keeps old streams ends with the last of them. (Envoy's old process waits for its time.)
async fn old_processes_end(kind: Kind, mut kept: Side) -> Result<()> {
    let old = kept.balancer.old_processes()?;
    ensure!(old.is_empty() == (kind == Kind::Caddy), "{old:?}");
    let Side {
        balancer: mut operated,
        clients,
        over_h2,
        ..
    } = kept;
    drop((clients, over_h2));
    match kind {
        Kind::Nginx | Kind::Haproxy => {
            wait::until(PATIENCE, "the old worker has ended", async || {
                Ok(operated.old_processes()?.is_empty().then_some(()))
            })
            .await
        }
        Kind::Envoy | Kind::Caddy => Ok(()),
    }
}

async fn reloads(lab: &Lab, kind: Kind, at_the_limit: AtTheLimit) -> Result<()> {
    let settings = NodeSettings::default()
        // With a heartbeat a load balancer finds that a client has gone.
        .with("SLUICE__STREAM__HEARTBEAT", "500ms")
        .with("SLUICE__DRAIN__DEADLINE", format!("{}s", WINDOW.as_secs()));
    let mut fleet = Fleet::start(lab, &settings).await?;
    let mut operated = Vec::new();
    for limit in [Limit::Shipped, Limit::Seconds(LIMIT)] {
        let one = Operated::start(lab, kind, limit, &fleet.upstream).await?;
        fleet.until_spread(one.plain).await?;
        operated.push(one);
    }
    let (short, shipped) = (operated.pop(), operated.pop());
    let mut kept = Side::open(lab, &fleet, shipped.context("two")?).await?;
    let mut brief = Side::open(lab, &fleet, short.context("two")?).await?;
    let (publisher, channels) = (fleet.stage.publisher.clone(), fleet.stage.channels.clone());
    let flow = publisher.flow(&channels, PACE);

    let mut others = kept.reload(&fleet).await?;
    others.extend(brief.reload(&fleet).await?);
    let says = match at_the_limit {
        AtTheLimit::CutsAll => {
            let (first, last) = all_are_cut(&mut brief).await?;
            let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
            format!("cuts all of them {first:.1} to {last:.1} s after")
        }
        AtTheLimit::KeepsAll => {
            outlives_twice_the_limit(&brief).await?;
            all_are_kept(&mut brief)?;
            "keeps all of them for twice as long".to_owned()
        }
    };
    outlives_twice_the_limit(&kept).await?;
    all_are_kept(&mut kept)?;
    let moved = the_node_leaves(&mut fleet, &kept).await?;
    println!(
        "{kind:?}: a reload with the limit at {LIMIT} s {says}; as shipped it keeps all {CLIENTS} and one over HTTP/2, and the \
         {moved} of the node that was taken away go on elsewhere when it leaves"
    );
    flow.stop().await?;
    let mut all = std::mem::take(&mut others);
    all.append(&mut brief.clients);
    none_refused(&all)?;
    none_refused(&kept.clients)?;
    fleet.stage.whole(&all).await?;
    fleet.stage.whole(&kept.clients).await?;
    old_processes_end(kind, kept).await
}

async fn reload(kind: Kind, at_the_limit: AtTheLimit) {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        reloads(lab, kind, at_the_limit).await
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn a_reload_of_nginx_keeps_open_streams_until_worker_shutdown_timeout_cuts_them() {
    reload(Kind::Nginx, AtTheLimit::CutsAll).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn a_reload_of_haproxy_keeps_open_streams_until_hard_stop_after_cuts_them() {
    reload(Kind::Haproxy, AtTheLimit::CutsAll).await;
}

/// Its file is read at the start alone: this is a hot restart.
#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn a_hot_restart_of_envoy_keeps_open_streams_until_parent_shutdown_time_cuts_them() {
    reload(Kind::Envoy, AtTheLimit::CutsAll).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn a_reload_of_caddy_keeps_open_streams_whatever_its_grace_period() {
    reload(Kind::Caddy, AtTheLimit::KeepsAll).await;
}

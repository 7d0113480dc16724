//! A node that is told to go behind a load balancer.

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use sluice_e2e::{client::Client, http, wait};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::fleet::{Fleet, closes, none_refused, refused, until_each};

const CLIENTS: usize = 60;
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of the clients of a node that left.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Clients that were told to leave it.
    pub moved: usize,
    /// Of these, how many came to it again while it was leaving, and were told again.
    pub again: usize,
    /// How often the most unlucky was told.
    pub most: usize,
}

impl Told {
    fn by(clients: &[Client]) -> Result<Told> {
        let told: Vec<usize> = clients
            .iter()
            .map(|client| closes(&client.log(), "drain"))
            .filter(|&times| times > 0)
            .collect();
        Ok(Told {
            moved: told.len(),
            again: told.iter().filter(|&&times| times > 1).count(),
            most: told.iter().copied().max().context("somebody was told")?,
        })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { moved, again, most } = self;
        write!(
            f,
            "of {moved} clients of a draining node {again} were sent to it again, one {most} times"
        )
    }
}

/// Under load one node of three drains: it ends in order, its clients go on at the others, nothing is lost, repeated or
/// reordered, and no publish through the load balancer fails.
pub async fn loses_nothing(fleet: &mut Fleet, front: SocketAddr, window: Duration) -> Result<Told> {
    let clients = fleet.clients(front, CLIENTS).await?;
    let (publisher, channels) = (fleet.stage.publisher.clone(), fleet.stage.channels.clone());
    let flow = publisher.flow(&channels, PACE);
    // After an outage a load balancer may avoid nodes for a moment.
    wait::until(PATIENCE, "a publish goes through", async || {
        Ok(publish(front).await?.then_some(()))
    })
    .await?;
    let publishing = Publishing::start(front);
    let (leaving, streams) = leave(fleet, window).await?;
    until_each(&clients, "all are open again", Client::opened).await?;
    publishing.stop().await?;
    flow.stop().await?;
    none_refused(&clients)?;
    fleet.stage.whole(&clients).await?;
    fleet.stage.nodes[leaving].start_again().await?;
    let told = Told::by(&clients)?;
    ensure!(
        told.moved >= streams,
        "{} of {streams} were told",
        told.moved
    );
    Ok(told)
}

/// The same with settings that are not up to it: what its clients were told, and how many were ended for good.
pub async fn goes_wrong(
    fleet: &mut Fleet,
    front: SocketAddr,
    window: Duration,
) -> Result<(Told, usize)> {
    let clients = fleet.clients(front, CLIENTS).await?;
    leave(fleet, window).await?;
    until_each(&clients, "all are open again or have given up", |client| {
        client.opened() || refused(client).is_some()
    })
    .await?;
    let ended = clients
        .iter()
        .filter(|client| refused(client).is_some())
        .count();
    Ok((Told::by(&clients)?, ended))
}

/// Drains the busiest node to its end; gives its index and how many streams it had.
async fn leave(fleet: &mut Fleet, window: Duration) -> Result<(usize, usize)> {
    let (leaving, streams) = fleet.busiest().await?;
    ensure!(streams >= CLIENTS / 4, "it has only {streams} streams");
    let node = &mut fleet.stage.nodes[leaving];
    node.terminate()?;
    wait::until(window, "readiness falls", async || {
        Ok((!node.is_ready().await).then_some(()))
    })
    .await?;
    let status = node.until_ended(window * 2).await?;
    ensure!(status.success(), "the draining node ended with {status}");
    Ok((leaving, streams))
}

/// Publishes one event over HTTP; whether it was taken.
async fn publish(front: SocketAddr) -> Result<bool> {
    let answer = http::post(front, "/v1/channels/elsewhere/events", "", "{}").await?;
    Ok((200..300).contains(&answer.head.status))
}

/// Publishes over HTTP, through the load balancer, for as long as the drain lasts.
struct Publishing {
    stop: watch::Sender<bool>,
    task: JoinSet<Result<usize>>,
}

impl Publishing {
    fn start(front: SocketAddr) -> Publishing {
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut done = 0;
            while !*stopped.borrow() {
                if !publish(front).await? {
                    bail!("publish {done} failed");
                }
                done += 1;
                sleep(PACE * 2).await;
            }
            Ok(done)
        });
        Publishing { stop, task }
    }

    /// Fails if a publish did.
    async fn stop(mut self) -> Result<usize> {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await?;
        let done = ended.context("one task")?.context("it panicked")??;
        ensure!(done > 0, "nothing was published");
        Ok(done)
    }
}

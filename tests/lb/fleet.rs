//! Redis and three nodes on addresses of their own but on the same ports, as in a deployment, and readers of them through a
//! load balancer.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    client::{Client, Log, Options, Seen},
    lab::{self, Lab},
    node::{Node, NodeSettings},
    stage::{PATIENCE, Stage, until_opened},
    wait,
};

use crate::balancer::{Balancer, Kind, Settings, Upstream};

const CHANNELS: usize = 6;

/// Redis, three nodes, and who publishes.
pub struct Fleet {
    pub stage: Stage,
    pub upstream: Upstream,
}

impl Fleet {
    pub async fn start(lab: &Lab, settings: &NodeSettings) -> Result<Fleet> {
        let redis = lab.redis().await?;
        let (port, admin_port) = (lab::free_port()?, lab::free_port()?);
        let nodes = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], port)));
        let upstream = Upstream { nodes, admin_port };
        let mut running = Vec::new();
        for (number, http) in nodes.into_iter().enumerate() {
            let admin = SocketAddr::new(http.ip(), admin_port);
            let name = format!("n{number}");
            let url = redis.url();
            running.push(Node::spawn_at(
                (http, admin),
                lab.dir(),
                &name,
                &url,
                settings.clone().with("SLUICE__NODE__NAME", &name),
            )?);
        }
        for node in &mut running {
            node.until_ready().await?;
        }
        let stage = Stage::with(redis, running, CHANNELS)?;
        Ok(Fleet { stage, upstream })
    }

    /// A load balancer before the three.
    pub async fn behind(&self, lab: &Lab, kind: Kind, settings: Settings) -> Result<Balancer> {
        Balancer::start(lab.dir(), kind, &settings, &self.upstream).await
    }

    /// `count` clients at `front`, evenly over the channels, all of them open.
    pub async fn clients(&self, front: SocketAddr, count: usize) -> Result<Vec<Client>> {
        self.until_spread(front).await?;
        let clients: Vec<Client> = (0..count)
            .map(|n| Client::start(format!("c{n}"), self.options(front, n)))
            .collect();
        until_opened(&clients).await?;
        Ok(clients)
    }

    /// The same opened one after the other, so that a load balancer by fewest connections spreads them evenly, and others may be
    /// open already.
    pub async fn clients_in_turn(&self, front: SocketAddr, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for n in 0..count {
            clients.push(Client::start(format!("c{n}"), self.options(front, n)));
            until_opened(&clients[n..]).await?;
        }
        Ok(clients)
    }

    /// Waits until the load balancer gives streams to every node: those that were away have been found again.
    pub async fn until_spread(&self, front: SocketAddr) -> Result<()> {
        self.until_idle().await?;
        let spread = async || {
            let few: Vec<Client> = (0..self.stage.nodes.len())
                .map(|n| Client::start("probe", self.options(front, n)))
                .collect();
            until_opened(&few).await?;
            let streams = self.streams().await?;
            Ok(streams.iter().all(|&count| count > 0).then_some(()))
        };
        wait::until(PATIENCE, "each node is given streams", spread).await?;
        self.until_idle().await
    }

    /// Waits until no node has a stream.
    pub async fn until_idle(&self) -> Result<()> {
        let idle = async || Ok((self.streams().await?.iter().sum::<usize>() == 0).then_some(()));
        wait::until(PATIENCE, "no stream is left", idle).await
    }

    /// The options of client number `n` at `front`.
    pub fn options(&self, front: SocketAddr, n: usize) -> Options {
        Options::new(&[&self.stage.channels[n % CHANNELS]], &[front], 0)
    }

    /// The streams open on each node.
    pub async fn streams(&self) -> Result<Vec<usize>> {
        let mut counts = Vec::new();
        for node in &self.stage.nodes {
            counts.push(node.metrics().await?.total("sluice_connections") as usize);
        }
        Ok(counts)
    }

    /// The node with the most streams, and how many those are.
    pub async fn busiest(&self) -> Result<(usize, usize)> {
        let streams = self.streams().await?.into_iter().enumerate();
        streams
            .max_by_key(|(_, count)| *count)
            .context("there are nodes")
    }

    /// Kills every node that still runs.
    pub async fn kill_all(&mut self) -> Result<()> {
        for node in &mut self.stage.nodes {
            node.kill().await?;
        }
        Ok(())
    }

    /// Starts every node again.
    pub async fn start_all_again(&mut self) -> Result<()> {
        for node in &mut self.stage.nodes {
            node.start_again().await?;
        }
        Ok(())
    }
}

/// How often a client was told `sluice.close` for this reason.
pub fn closes(log: &Log, reason: &str) -> usize {
    let says = |data: &str| {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        data["reason"] == reason
    };
    log.controls("sluice.close")
        .filter(|block| says(&block.data))
        .count()
}

/// The status that made a client give up, if one did.
pub fn refused(client: &Client) -> Option<u16> {
    let log = client.log();
    log.seen.iter().find_map(|(_, seen)| match seen {
        Seen::Refused(status) => Some(*status),
        Seen::Asked { .. }
        | Seen::Event(_)
        | Seen::EmptyBlock
        | Seen::Retry(_)
        | Seen::Ended(_) => None,
    })
}

/// The waits that a client was told with its closes for `reason`; each such close must have one before it.
pub fn waits_before(log: &Log, reason: &str) -> Result<Vec<Duration>> {
    let (mut told, mut waits) = (None, Vec::new());
    for (_, seen) in &log.seen {
        match seen {
            Seen::Asked { .. } => told = None,
            Seen::Retry(wait) => told = Some(*wait),
            Seen::Event(block) if block.event == "sluice.close" && block.data.contains(reason) => {
                waits.push(told.context("a close without a wait")?);
            }
            Seen::Event(_) | Seen::EmptyBlock | Seen::Refused(_) | Seen::Ended(_) => {}
        }
    }
    Ok(waits)
}

/// Waits until each client satisfies `holds`.
pub async fn until_each(
    clients: &[Client],
    what: &str,
    holds: impl Fn(&Client) -> bool,
) -> Result<()> {
    let missing = || clients.iter().filter(|client| !holds(client)).count();
    let waited = wait::until_true(PATIENCE, what, || missing() == 0).await;
    waited.with_context(|| format!("{} of {} have not", missing(), clients.len()))
}

/// Fails if a client was answered with a status that ends a browser's EventSource for good.
pub fn none_refused(clients: &[Client]) -> Result<()> {
    for client in clients {
        let status = refused(client);
        ensure!(status.is_none(), "a client was refused with {status:?}");
    }
    Ok(())
}

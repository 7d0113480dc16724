//! What most scenarios share: a redis-server, some nodes, clients on them, and the verdict at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    checker::{self, Evidence, Report, Suffered},
    client::{Client, Log, Options},
    lab::Lab,
    node::{Node, NodeSettings},
    publisher::Publisher,
    redis::RedisServer,
    wait,
};
use anyhow::{Context, Result, ensure};

/// How long anything may take that has no bound of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A redis-server, gateways on it and a publisher.
pub struct Stage {
    pub redis: RedisServer,
    pub nodes: Vec<Node>,
    pub publisher: Publisher,
    pub channels: Vec<String>,
}

impl Stage {
    /// Starts `nodes` gateways on a redis-server of their own, for `channels` channels.
    pub async fn new(
        lab: &Lab,
        nodes: usize,
        channels: usize,
        settings: &NodeSettings,
    ) -> Result<Stage> {
        let redis = lab.redis().await?;
        let nodes = lab.nodes(nodes, &redis.url(), settings).await?;
        Stage::with(redis, nodes, channels)
    }

    /// The same around parts that run already.
    pub fn with(redis: RedisServer, nodes: Vec<Node>, channels: usize) -> Result<Stage> {
        let publisher = Publisher::new(&redis)?;
        Ok(Stage {
            redis,
            nodes,
            publisher,
            channels: (0..channels).map(|n| format!("room.{n}")).collect(),
        })
    }

    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::http).collect()
    }

    /// The options of a client on one of the channels that begins on node `first` and goes round all.
    pub fn options(&self, channel: usize, first: usize) -> Options {
        Options::new(&[&self.channels[channel]], &self.addrs(), first)
    }

    /// Starts `count` clients, spread evenly over channels and nodes, and waits until all streams are open.
    pub async fn clients(&self, count: usize) -> Result<Vec<Client>> {
        let channels = self.channels.len();
        let clients: Vec<Client> = (0..count)
            .map(|n| {
                Client::start(
                    format!("c{n}"),
                    self.options(n % channels, n / channels % self.nodes.len()),
                )
            })
            .collect();
        until_opened(&clients).await?;
        Ok(clients)
    }

    /// Starts one client and waits until its stream is open.
    pub async fn client(&self, name: &str, options: Options) -> Result<Client> {
        let client = Client::start(name, options);
        until_opened(std::slice::from_ref(&client)).await?;
        Ok(client)
    }

    /// Each channel's head in Redis now.
    pub async fn heads(&self) -> Result<BTreeMap<String, String>> {
        self.publisher.heads(&self.channels).await
    }

    /// Waits until every client stands at its channels' heads. To be called when nobody publishes any more.
    pub async fn settle(&self, clients: &[Client], limit: Duration) -> Result<()> {
        let heads = self.heads().await?;
        let behind = || {
            clients
                .iter()
                .filter(|client| !stands_at(&client.log(), &heads))
                .count()
        };
        let waited =
            wait::until_true(limit, "all clients stand at the head", || behind() == 0).await;
        waited.with_context(|| format!("{} of {} clients are behind", behind(), clients.len()))
    }

    /// Ends the scenario: all clients at the head, then the checker's report. `suffered` names the resets
    /// that the scenario's faults justify.
    pub async fn verdict(&self, clients: &[Client], suffered: &Suffered) -> Result<Report> {
        let settled = self.settle(clients, PATIENCE).await;
        let (heads, journal) = (self.heads().await?, self.publisher.journal());
        let logs: Vec<Log> = clients.iter().map(|client| client.log().clone()).collect();
        let report = checker::check(&Evidence {
            published: &journal.records,
            heads: &heads,
            clients: &logs,
            suffered,
        });
        report.whole().with_context(|| story(&report, &logs))?;
        settled?;
        Ok(report)
    }

    /// As [`Stage::verdict`], for a scenario whose faults justify no reset.
    pub async fn whole(&self, clients: &[Client]) -> Result<Report> {
        self.verdict(clients, &Suffered::new()).await
    }

    /// The sum of a metric over all nodes.
    pub async fn total(&self, metric: &str) -> Result<f64> {
        let mut sum = 0.0;
        for node in &self.nodes {
            sum += node.metrics().await?.total(metric);
        }
        Ok(sum)
    }
}

/// The resets justified by one fault: `reason` on `channel`.
pub fn suffered(channel: &str, reason: &'static str) -> Suffered {
    Suffered::from([(channel.to_owned(), BTreeSet::from([reason]))])
}

/// Waits until every client's stream is open and the places of all its channels are known.
pub async fn until_opened(clients: &[Client]) -> Result<()> {
    let closed = || clients.iter().filter(|client| !client.opened()).count();
    let waited = wait::until_true(PATIENCE, "all streams are open", || closed() == 0).await;
    waited.with_context(|| format!("{} of {} streams are not open", closed(), clients.len()))
}

/// Whether the client stands at the head of each of its channels.
pub fn stands_at(log: &Log, heads: &BTreeMap<String, String>) -> bool {
    log.channels.iter().all(|channel| {
        heads.contains_key(channel) && log.place(channel).as_ref() == heads.get(channel)
    })
}

/// When the client of one channel got the event at `position`.
pub fn arrival(log: &Log, position: &str) -> Option<Instant> {
    log.timed_blocks()
        .rev()
        .find(|(_, block)| block.last_event_id == position)
        .map(|(when, _)| when)
}

/// Waits until each client of one channel has got the event that is its channel's head in `heads`.
pub async fn until_all_have(
    clients: &[Client],
    heads: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<()> {
    let without = || {
        let lacks = |log: &Log| {
            heads
                .get(&log.channels[0])
                .is_none_or(|head| arrival(log, head).is_none())
        };
        clients.iter().filter(|client| lacks(&client.log())).count()
    };
    let waited = wait::until_true(limit, "all clients have these heads", || without() == 0).await;
    waited.with_context(|| format!("{} of {} clients lack them", without(), clients.len()))
}

/// Waits until `node`'s metric satisfies `holds`.
pub async fn until_metric(
    node: &Node,
    metric: &str,
    limit: Duration,
    holds: impl Fn(f64) -> bool,
) -> Result<()> {
    let what = format!("{metric} of {} is as awaited", node.name);
    wait::until(limit, &what, async || {
        let metrics = node.metrics().await?;
        ensure!(metrics.has(metric), "{} has no metric {metric}", node.name);
        Ok(holds(metrics.total(metric)).then_some(()))
    })
    .await
}

/// The last things seen by the clients that the report accuses.
fn story(report: &Report, logs: &[Log]) -> String {
    let accused: BTreeSet<&str> = report
        .violations
        .iter()
        .map(|violation| violation.client.as_str())
        .take(3)
        .collect();
    let mut text = String::from("what they saw last:\n");
    for log in logs
        .iter()
        .filter(|log| accused.contains(log.name.as_str()))
    {
        for (_, seen) in log.seen.iter().rev().take(15).rev() {
            let long = seen.block().filter(|block| block.data.len() > 120);
            let shown = long.map_or_else(
                || format!("{seen:?}"),
                |block| format!("{} {}", block.event, block.last_event_id),
            );
            text += &format!("  {}: {shown}\n", log.name);
        }
    }
    text
}

//! `sluice channels`: who listens to what, from the reports that nodes leave in Redis.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::args::{Channels, RedisAddress};
use crate::failure::{Failure, printable};
use crate::notice::Notice;
use crate::output::Output;
use crate::redis_link::{self, answer};

/// The most nodes whose reports are read.
const NODES_MOST: usize = 10_000;
/// Reports per read: one may be a megabyte.
const NODES_PER_READ: usize = 16;

/// What one node says of itself, as far as it is read here.
#[derive(Deserialize)]
struct Report {
    channels: BTreeMap<String, u64>,
    #[serde(default)]
    channels_left_out: u64,
}

/// A channel's subscribers, node by node.
#[derive(Serialize)]
struct Listened {
    channel: String,
    subscribers: u64,
    nodes: BTreeMap<String, u64>,
}

/// Prints the channels, those with most subscribers first.
///
/// # Errors
/// Redis cannot be reached, or refuses.
pub async fn run(job: Channels) -> Result<(), Failure> {
    let address = &job.address;
    let deadline = Instant::now() + address.timeout;
    let mut connection =
        redis_link::connect(address, AsyncConnectionConfig::new(), deadline).await?;
    let nodes = nodes(address, &mut connection).await?;
    let mut listened: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut told = Vec::new();
    for group in nodes.chunks(NODES_PER_READ) {
        let mut get = redis::cmd("MGET");
        for node in group {
            get.arg(address.keys.report(node));
        }
        let reports: Vec<Option<Vec<u8>>> =
            answer(address, get.query_async(&mut connection)).await?;
        // A node that has left since it was listed has no report any more.
        let present = group.iter().zip(reports);
        for (node, report) in present.filter_map(|(node, report)| Some((node, report?))) {
            match serde_json::from_slice::<Report>(&report) {
                Ok(report) => {
                    if report.channels_left_out > 0 {
                        told.push(format!(
                            "{node} left out {} channels, those with the fewest subscribers: the counts are too low by its share in them",
                            report.channels_left_out
                        ));
                    }
                    for (channel, subscribers) in report.channels {
                        let nodes = listened.entry(channel).or_default();
                        nodes.insert(node.clone(), subscribers);
                    }
                }
                Err(error) => told.push(format!("the report of {node} cannot be read: {error}")),
            }
        }
    }
    if nodes.is_empty() {
        told.push(format!(
            "no node reports in {address} under the prefix {:?}: no gateway works on it, or none has for 30 s",
            address.keys.prefix()
        ));
    }
    if nodes.len() == NODES_MOST {
        told.push(format!("only {NODES_MOST} nodes were asked"));
    }
    print(&job, listed(&job, listened))?;
    for what in told {
        Notice::Note(what).tell(job.json);
    }
    Ok(())
}

/// The nodes whose report has not expired, by Redis's clock.
async fn nodes(
    address: &RedisAddress,
    connection: &mut MultiplexedConnection,
) -> Result<Vec<String>, Failure> {
    let now_ms = redis_link::clock_ms(address, connection).await?;
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(address.keys.reports()).arg(now_ms).arg("+inf");
    range.arg("LIMIT").arg(0).arg(NODES_MOST);
    answer(address, range.query_async(connection)).await
}

fn listed(job: &Channels, listened: BTreeMap<String, BTreeMap<String, u64>>) -> Vec<Listened> {
    let is_asked = |channel: &String| {
        job.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.matches(channel))
    };
    let mut listed: Vec<_> = listened
        .into_iter()
        .filter(|(channel, _)| is_asked(channel))
        .map(|(channel, nodes)| Listened {
            channel,
            subscribers: nodes
                .values()
                .fold(0, |sum: u64, node| sum.saturating_add(*node)),
            nodes,
        })
        .collect();
    // Stable: names stay in order among equals.
    listed.sort_by_key(|listed| std::cmp::Reverse(listed.subscribers));
    listed
}

/// A table with a head on a terminal; without one and tabs between columns elsewhere; or objects.
fn print(job: &Channels, listed: Vec<Listened>) -> Result<(), Failure> {
    let mut output = Output::new();
    let is_table = !job.json && std::io::stdout().is_terminal();
    let width = listed
        .iter()
        .map(|listed| listed.channel.len())
        .chain(["CHANNEL".len()])
        .max()
        .unwrap_or_default();
    if is_table && !listed.is_empty() {
        let head = format!("{:width$}  SUBSCRIBERS  NODES", "CHANNEL");
        output.line(head.as_bytes())?;
    }
    for listed in &listed {
        let (channel, subscribers) = (printable(&listed.channel), listed.subscribers);
        let nodes = listed.nodes.len();
        let line = if job.json {
            serde_json::to_string(listed).unwrap_or_default()
        } else if is_table {
            format!("{channel:width$}  {subscribers:>11}  {nodes:>5}")
        } else {
            format!("{channel}\t{subscribers}\t{nodes}")
        };
        output.line(line.as_bytes())?;
    }
    output.flush()
}

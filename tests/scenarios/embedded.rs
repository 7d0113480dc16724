//! The broker inside the gateway keeps the same promises as Redis: the same clients, the same checker.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    checker::{self, Evidence, Suffered},
    client::{Client, Log, Options},
    http,
    journal::{Journal, Outcome, Record},
    lab::{self, Weight},
    node::{Node, NodeSettings},
    wait,
};

use crate::stage::{PATIENCE, stands_at, until_opened};

const CHANNELS: usize = 4;
const CLIENTS: usize = 40;
const ROUNDS: usize = 250;

/// The only publisher, over HTTP: each event's `prev` is the position that the answer before it named.
struct HttpPublisher {
    journal: Journal,
    heads: BTreeMap<String, String>,
}

impl HttpPublisher {
    async fn publish(&mut self, node: &Node, channel: &str) -> Result<()> {
        let serial = self.journal.stored(channel) as u64;
        let payload = format!("{channel} {serial}");
        let path = format!("/v1/channels/{channel}/events");
        let response =
            http::post(node.http(), &path, "Content-Type: text/plain\r\n", &payload).await?;
        ensure!(
            response.head.status == 201,
            "status {}: {}",
            response.head.status,
            response.body
        );
        let answer: Value = serde_json::from_str(&response.body)?;
        let position = answer["id"]
            .as_str()
            .with_context(|| format!("no position in {answer}"))?
            .to_owned();
        let prev = self.heads.insert(channel.to_owned(), position.clone());
        let outcome = Outcome::Stored { position, prev };
        self.journal.records.push(Record {
            channel: channel.to_owned(),
            serial,
            payload,
            outcome,
        });
        Ok(())
    }
}

/// On the embedded broker every client gets each of its events once and in order, over reconnects too.
#[tokio::test]
async fn the_embedded_broker_keeps_the_same_promises() {
    lab::run(Weight::Light, Duration::from_secs(120), async |lab| {
        let settings = NodeSettings::default().with("SLUICE__BROKER__MODE", "embedded");
        let node = lab.node("embedded", "", settings).await?;
        let channels: Vec<String> = (0..CHANNELS).map(|n| format!("room.{n}")).collect();
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|n| {
                Client::start(
                    format!("c{n}"),
                    Options::new(&[&channels[n % CHANNELS]], &[node.http()], 0),
                )
            })
            .collect();
        let all: Vec<&str> = channels.iter().map(String::as_str).collect();
        clients.push(Client::start("all", Options::new(&all, &[node.http()], 0)));
        until_opened(&clients).await?;

        // Every channel's first `prev` is the genesis at which its first readers stand.
        let heads = channels.iter().zip(&clients).map(|(channel, client)| {
            Ok((
                channel.clone(),
                client.log().place(channel).context("no place")?,
            ))
        });
        let mut publisher = HttpPublisher {
            journal: Journal::default(),
            heads: heads.collect::<Result<_>>()?,
        };
        for round in 0..ROUNDS {
            for channel in &channels {
                publisher.publish(&node, channel).await?;
            }
            if round % 10 == 5 {
                clients[round % CLIENTS].move_to(0).await?;
                clients[CLIENTS].move_to(0).await?;
            }
        }

        let behind = || {
            clients
                .iter()
                .filter(|client| !stands_at(&client.log(), &publisher.heads))
                .count()
        };
        wait::until_true(PATIENCE, "all clients stand at the head", || behind() == 0).await?;
        let logs: Vec<Log> = clients.iter().map(|client| client.log().clone()).collect();
        let report = checker::check(&Evidence {
            published: &publisher.journal.records,
            heads: &publisher.heads,
            clients: &logs,
            suffered: &Suffered::new(),
        });
        report.whole()?;
        ensure!(
            report.delivered == (CLIENTS + CHANNELS) * ROUNDS,
            "{} events were delivered",
            report.delivered
        );
        ensure!(
            logs[CLIENTS].asked() > ROUNDS / 10,
            "the clients did not reconnect"
        );
        Ok(())
    })
    .await;
}

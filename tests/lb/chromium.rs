//! A real Chromium at a load balancer: its own EventSource, over TLS and HTTP/2.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    installed,
    lab::{self, Lab, Weight},
    node::NodeSettings,
    wait,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

use crate::{
    balancer::{Kind, Settings},
    fleet::Fleet,
};

/// More than the six that a browser opens to one host over HTTP/1.1.
const STREAMS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);
const OPEN: u64 = 1;
const CLOSED: u64 = 2;

/// A tab with EventSources; its browser ends when it is dropped.
struct Tab {
    seen: watch::Receiver<Value>,
    child: Child,
    _reader: JoinSet<()>,
}

impl Tab {
    fn open(scheme: &str, front: SocketAddr, streams: usize) -> Result<Tab> {
        let origin = format!("{scheme}://{front}");
        let mut child = Command::new("node")
            .current_dir(installed::root().join("tests/browser"))
            .args(["balanced.mjs", &origin, &streams.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting node: is it installed? `make setup` does it")?;
        let output = child.stdout.take().context("its output")?;
        let (last, seen) = watch::channel(Value::Null);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                last.send_replace(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Ok(Tab {
            seen,
            child,
            _reader: reader,
        })
    }

    fn protocol(&self) -> String {
        let seen = self.seen.borrow();
        seen["protocol"].as_str().unwrap_or_default().to_owned()
    }

    fn streams(&self) -> Vec<Value> {
        self.seen.borrow()["streams"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until it has `count` streams and `holds` of each of them.
    async fn until(
        &mut self,
        count: usize,
        what: &str,
        holds: impl Fn(usize, &Value) -> bool,
    ) -> Result<()> {
        let waited = wait::until(PATIENCE, what, async || {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "the browser's program ended: {ended:?}");
            let streams = self.streams();
            let mut each = streams.iter().enumerate();
            let all = streams.len() == count && each.all(|(number, stream)| holds(number, stream));
            Ok(all.then_some(()))
        })
        .await;
        waited.with_context(|| format!("the tab saw {}", *self.seen.borrow()))
    }
}

/// The data of a stream's events of one type.
fn data<'a>(stream: &'a Value, event: &str) -> Vec<&'a str> {
    let events = stream["events"].as_array().into_iter().flatten();
    events
        .filter(|one| one[0] == event)
        .filter_map(|one| one[1].as_str())
        .collect()
}

fn is_open(stream: &Value) -> bool {
    stream["state"] == OPEN && !data(stream, "sluice.open").is_empty()
}

async fn publish(fleet: &Fleet, streams: usize, text: &str) -> Result<()> {
    for number in 0..streams {
        let channel = format!("tab.{number}");
        let said = format!("{text} {number}");
        fleet
            .stage
            .publisher
            .publish_text(&channel, None, &said)
            .await?;
    }
    Ok(())
}

async fn survives(lab: &Lab, fleet: &mut Fleet, kind: Kind) -> Result<()> {
    let balancer = fleet.behind(lab, kind, Settings::Shipped).await?;
    let mut tab = Tab::open("https", balancer.tls, STREAMS)?;
    tab.until(STREAMS, "all are open", |_, stream| is_open(stream))
        .await?;
    ensure!(tab.protocol() == "h2", "{kind:?}: {}", tab.protocol());
    let streams: usize = fleet.streams().await?.iter().sum();
    ensure!(streams == STREAMS, "the nodes have {streams} streams");
    publish(fleet, STREAMS, "before").await?;
    tab.until(STREAMS, "each has its event", |number, stream| {
        data(stream, "message") == [format!("before {number}")]
    })
    .await?;

    fleet.kill_all().await?;
    tab.until(
        STREAMS,
        "each is told that no node is there",
        |_, stream| data(stream, "sluice.close").contains(&"{\"reason\":\"unavailable\"}"),
    )
    .await?;
    publish(fleet, STREAMS, "while nobody served").await?;
    fleet.start_all_again().await?;
    tab.until(STREAMS, "each goes on where it was", |number, stream| {
        stream["state"] == OPEN
            && data(stream, "message")
                == [
                    format!("before {number}"),
                    format!("while nobody served {number}"),
                ]
            && data(stream, "sluice.reset").is_empty()
    })
    .await
}

/// With what one writes first, the same death ends the EventSource for good.
async fn is_ended(lab: &Lab, fleet: &mut Fleet, kind: Kind) -> Result<()> {
    let balancer = fleet.behind(lab, kind, Settings::Wrong("")).await?;
    let mut tab = Tab::open("http", balancer.plain, 2)?;
    tab.until(2, "both are open", |_, stream| is_open(stream))
        .await?;
    fleet.kill_all().await?;
    tab.until(2, "both have given up", |_, stream| {
        stream["state"] == CLOSED
    })
    .await?;
    fleet.start_all_again().await
}

async fn with_chromium(kind: Kind) {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let mut fleet = Fleet::start(lab, &NodeSettings::default()).await?;
        survives(lab, &mut fleet, kind).await?;
        is_ended(lab, &mut fleet, kind).await
    })
    .await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn ten_event_sources_over_http2_outlive_all_nodes_behind_nginx() {
    with_chromium(Kind::Nginx).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn ten_event_sources_over_http2_outlive_all_nodes_behind_haproxy() {
    with_chromium(Kind::Haproxy).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn ten_event_sources_over_http2_outlive_all_nodes_behind_envoy() {
    with_chromium(Kind::Envoy).await;
}

#[tokio::test]
#[ignore = "scripts/lb runs it, which installs the load balancers"]
async fn ten_event_sources_over_http2_outlive_all_nodes_behind_caddy() {
    with_chromium(Kind::Caddy).await;
}

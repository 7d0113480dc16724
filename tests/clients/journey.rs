//! The way that every client goes, and what must hold at each step. After each step the program must have told every
//! event published so far, in order, each once, and nothing beside Sluice's own: an event out of nothing, a lost,
//! repeated, reordered or altered one fails the step.

mod told;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::{Client as Reader, Options},
    lab::Lab,
    node::{Node, NodeSettings},
    proxy::{Mode, Proxy},
    publisher::Publisher,
    redis::RedisServer,
    wait,
};

use crate::{
    program::{Event, Program, Seen},
    roster::{Client, Limit},
    texts::{LINES, PLAIN, TYPES, Text, UTF8},
};

const ROOM: &str = "room";
const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_millis(200);
/// More bytes than this many heartbeats have however they are framed, so that at least two have passed.
const QUIET_BYTES: u64 = 30;
const FLOW: usize = 300;
/// Cut when so many events of the flow are out.
const CUTS: [usize; 3] = [60, 130, 200];
/// How far the program may be behind the flow when it is cut.
const BEHIND: usize = 5;
const LARGE_BYTES: usize = 60 * 1024;
const CUT_EVENT_BYTES: usize = 8 * 1024;
const CUT_AFTER_BYTES: usize = 4 * 1024;

struct Journey<'a> {
    client: &'a Client,
    redis: RedisServer,
    /// Each takes one stream, so that another one makes it full.
    nodes: [Node; 2],
    /// The node that the proxy leads to.
    at: usize,
    proxy: Proxy,
    publisher: Publisher,
    program: Program,
    /// What the program must have told, Sluice's own left out.
    expected: Vec<Event>,
}

/// Goes the whole way with one client.
pub async fn walk(lab: &Lab, client: &Client) -> Result<()> {
    let mut journey = Journey::begin(lab, client).await?;
    journey.open().await.context("open")?;
    journey.texts(&PLAIN).await.context("named events")?;
    journey.ephemeral().await.context("ephemeral event")?;
    journey.texts(&LINES).await.context("lines")?;
    journey.characters().await.context("UTF-8")?;
    journey.heartbeat().await.context("heartbeat")?;
    journey.large().await.context("large event")?;
    journey.resume().await.context("resume")?;
    journey.cut_inside().await.context("cut inside an event")?;
    journey.reset().await.context("reset")?;
    journey.close().await.context("close")?;
    journey.heartbeat().await.context("the end")
}

impl<'a> Journey<'a> {
    async fn begin(lab: &Lab, client: &'a Client) -> Result<Journey<'a>> {
        let redis = lab.redis().await?;
        let settings = NodeSettings::default()
            .with(
                "SLUICE__STREAM__HEARTBEAT",
                format!("{}ms", HEARTBEAT.as_millis()),
            )
            .with("SLUICE__STREAM__RETRY", "200ms")
            .with("SLUICE__STREAM__OVERLOAD_RETRY", "200ms")
            .with("SLUICE__LIMITS__CONNECTIONS", "1")
            .with("SLUICE__REDIS__LINGER", "0s")
            .with("SLUICE__DRAIN__READINESS_LEAD", "50ms")
            .with("SLUICE__DRAIN__DEADLINE", "500ms");
        let nodes: [Node; 2] = lab
            .nodes(2, &redis.url(), &settings)
            .await?
            .try_into()
            .map_err(|_| anyhow::anyhow!("two nodes"))?;
        let proxy = Proxy::before(nodes[0].http()).await?;
        let url = format!("http://{}/v1/events?channel={ROOM}", proxy.addr());
        let program = Program::start(client.command(&url, &TYPES)?, lab.dir())?;
        Ok(Journey {
            client,
            publisher: Publisher::new(&redis)?,
            redis,
            nodes,
            at: 0,
            proxy,
            program,
            expected: Vec::new(),
        })
    }

    /// Opens live, and is told so by `sluice.open` with the node's name and the channel's place.
    async fn open(&mut self) -> Result<()> {
        let told = self.own("sluice.open", |_| true).await?;
        let data = told.json()?;
        ensure!(
            data["node"].as_str().is_some_and(|name| !name.is_empty())
                && data["channels"][ROOM] == "live",
            "{data}"
        );
        let opened = self.program.seen()?.contains(&Seen::Open);
        ensure!(
            opened != self.client.has(Limit::NoOpenCallback),
            "told that it is open: {opened}"
        );
        Ok(())
    }

    async fn texts(&mut self, texts: &[Text]) -> Result<()> {
        for (kind, data) in texts {
            self.publish(*kind, data).await?;
        }
        self.until_exact().await
    }

    /// A plain PUBLISH: delivered with the id of the event before it.
    async fn ephemeral(&mut self) -> Result<()> {
        let topic = self.publisher.topic(ROOM)?;
        self.redis
            .command::<i64>(&["PUBLISH", &topic, "by the way"])
            .await?;
        let id = self.last()?.id.clone();
        self.expect(None, id, "by the way");
        self.until_exact().await?;
        self.mark().await
    }

    /// Every byte comes in a segment of its own, so that characters and line ends are split.
    async fn characters(&mut self) -> Result<()> {
        let before = self.proxy.counts().lone_bytes;
        self.proxy.set(Mode::ByteByByte);
        self.texts(&UTF8).await?;
        self.proxy.set(Mode::Pass);
        let sent: usize = UTF8.iter().map(|(_, data)| data.len()).sum();
        let split = self.proxy.counts().lone_bytes - before;
        ensure!(split > sent as u64, "{split} bytes came alone");
        Ok(())
    }

    /// Heartbeats pass and the program notices nothing.
    async fn heartbeat(&mut self) -> Result<()> {
        let before = self.program.seen()?;
        let bytes = self.proxy.counts().to_client_bytes;
        let proxy = &self.proxy;
        wait::until_true(PATIENCE, "heartbeats have passed", || {
            proxy.counts().to_client_bytes >= bytes + QUIET_BYTES
        })
        .await?;
        let after = self.program.seen()?;
        ensure!(
            after == before,
            "told in a quiet time: {:?}",
            &after[before.len()..]
        );
        self.mark().await
    }

    async fn large(&mut self) -> Result<()> {
        let line = "0123456789 äöü 🦀 ".repeat(LARGE_BYTES / 22);
        ensure!(
            line.len() > LARGE_BYTES - 4096 && line.len() <= LARGE_BYTES + 4096,
            "{}",
            line.len()
        );
        self.publish(Some("order.created"), &line).await?;
        let lines = "a line of some length\n".repeat(LARGE_BYTES / 22) + "the last";
        self.publish(None, &lines).await?;
        self.until_exact().await
    }

    /// Cut by TCP reset amid a flow, three times, each time to the other node.
    async fn resume(&mut self) -> Result<()> {
        for n in 0..FLOW {
            self.publish(None, &format!("{n} of the flow")).await?;
            if CUTS.contains(&n) {
                let seen = self.expected.len() - BEHIND;
                self.until(seen).await?;
                let cut = self.proxy.counts().cut;
                self.turn();
                self.proxy.cut();
                self.until_cut(cut).await?;
            }
        }
        self.until_exact().await?;
        self.resumed(CUTS.len()).await
    }

    /// The connection is reset in the middle of an event's data, when its id has been read.
    async fn cut_inside(&mut self) -> Result<()> {
        self.mark().await?;
        let cut = self.proxy.counts().cut;
        self.turn();
        self.proxy.cut_after(CUT_AFTER_BYTES);
        self.publish(Some("order.created"), &"cut ".repeat(CUT_EVENT_BYTES / 4))
            .await?;
        if self.client.has(Limit::CutEventLost) {
            self.expected.pop();
        }
        self.until_cut(cut).await?;
        self.mark().await?;
        self.resumed(CUTS.len() + 1).await
    }

    /// While it is away, events are published and trimmed: it is told that they are missing, and goes on.
    async fn reset(&mut self) -> Result<()> {
        let cut = self.proxy.counts().cut;
        self.proxy.set(Mode::Refuse);
        self.proxy.cut();
        self.until_cut(cut).await?;
        let (redis, topic) = (&self.redis, self.publisher.topic(ROOM)?);
        wait::until(PATIENCE, "no node keeps the channel", async || {
            Ok((redis.subscribers(&topic).await? == 0).then_some(()))
        })
        .await?;
        let from = self.last()?.id.clone();
        let mut to = None;
        for n in 0..3 {
            let record = self
                .publisher
                .publish_text(ROOM, None, &format!("missed {n}"))
                .await?;
            to = record.position().map(str::to_owned);
        }
        let to = to.context("the position of the last one")?;
        let stream = self.publisher.stream_key(ROOM)?;
        self.redis
            .command::<i64>(&["XTRIM", &stream, "MAXLEN", "0"])
            .await?;
        self.turn();
        self.proxy.set(Mode::Pass);
        let told = self.own("sluice.reset", |_| true).await?;
        let want =
            serde_json::json!({"channel": ROOM, "reason": "trimmed", "from": from, "to": to});
        ensure!(
            told.json()? == want && told.id == to,
            "{told:?} is not {want} at {to}"
        );
        self.mark().await
    }

    /// Its node leaves while the other one is full: it is told why, is turned away with a 200 until there is room, and
    /// then goes on there.
    async fn close(&mut self) -> Result<()> {
        let (old, new) = (self.at, 1 - self.at);
        let options = Options::new(&[ROOM], &[self.nodes[new].http()], 0);
        let occupant = Reader::start("occupant", options);
        wait::until_true(PATIENCE, "the other node is full", || occupant.opened()).await?;
        let resumed = self.opened_with("resumed")?;
        self.turn();
        self.nodes[old].terminate()?;
        let id = self.last()?.id.clone();
        for reason in ["drain", "overload"] {
            let told = self
                .own("sluice.close", |data| data["reason"] == reason)
                .await?;
            ensure!(told.id == id, "{told:?} is not at {id}");
        }
        drop(occupant);
        let status = self.nodes[old].until_ended(PATIENCE).await?;
        ensure!(status.success(), "the drained node ended with {status}");
        self.resumed(resumed + 1).await?;
        for n in 0..10 {
            self.publish(None, &format!("{n} after the move")).await?;
        }
        self.until_exact().await
    }
}

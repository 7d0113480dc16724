//! Redis loses state, or some of it: clients stay whole or are told a reset with the right reason, never
//! silence. In each scenario one client watches on node 0 and one comes back on node 1 with an old cursor.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::{
    checker::{Report, Suffered},
    client::{Client, Seen},
    lab::{self, Lab, Weight},
    node::NodeSettings,
    redis::Data,
    wait,
};

use crate::stage::{PATIENCE, Stage, stands_at, suffered, until_opened};

const LIMIT: Duration = Duration::from_secs(90);
const BEFORE: usize = 20;
const AWAY: usize = 30;
const AFTER: usize = 20;

/// One channel with some history, a client that watches it, and the cursor of one that left in the middle.
struct Scene {
    stage: Stage,
    clients: Vec<Client>,
    old_cursor: String,
}

impl Scene {
    async fn new(lab: &Lab) -> Result<Scene> {
        let stage = Stage::new(lab, 2, 1, &NodeSettings::default()).await?;
        let watcher = stage.client("watcher", stage.options(0, 0)).await?;
        stage
            .publisher
            .publish_rounds(&stage.channels, BEFORE)
            .await?;
        stage
            .settle(std::slice::from_ref(&watcher), PATIENCE)
            .await?;
        let old_cursor = watcher.log().last_event_id.clone();
        stage
            .publisher
            .publish_rounds(&stage.channels, AWAY)
            .await?;
        stage
            .settle(std::slice::from_ref(&watcher), PATIENCE)
            .await?;
        Ok(Scene {
            stage,
            clients: vec![watcher],
            old_cursor,
        })
    }

    fn channel(&self) -> &str {
        &self.stage.channels[0]
    }

    /// The one that left comes back, on the other node, with its old cursor, and both come to the head: replayed
    /// or by a reset.
    async fn comes_back(&mut self) -> Result<()> {
        let mut options = self.stage.options(0, 1);
        options.last_event_id = Some(self.old_cursor.clone());
        self.clients
            .push(self.stage.client("returner", options).await?);
        self.stage.settle(&self.clients, PATIENCE).await
    }

    /// More events after the fault, then the verdict; the resets told are given back as `client reason`.
    async fn end(self, suffered: Suffered) -> Result<Vec<String>> {
        self.stage
            .publisher
            .publish_rounds(&self.stage.channels, AFTER)
            .await?;
        let report: Report = self.stage.verdict(&self.clients, &suffered).await?;
        for client in &self.clients {
            let got = client.log().events().count();
            ensure!(got >= AFTER, "{} got only {got} events", client.log().name);
        }
        let mut told: Vec<String> = report
            .resets
            .iter()
            .map(|told| format!("{} {}", told.client, told.reason))
            .collect();
        told.sort();
        Ok(told)
    }

    /// Waits until Redis's clock has left the millisecond of the watcher's place. A new timeline that began
    /// within it could reuse ids up to that place, and would rightly be told as a rollback.
    async fn until_the_clock_is_past_the_watcher(&self) -> Result<()> {
        let place = self.clients[0].log().last_event_id.clone();
        let then: u64 = place.split('-').next().unwrap_or_default().parse()?;
        wait::until(PATIENCE, "the clock goes on", async || {
            let (seconds, micros): (u64, u64) = self.stage.redis.command(&["TIME"]).await?;
            Ok((seconds * 1000 + micros / 1000 > then).then_some(()))
        })
        .await
    }

    /// Nothing is published: the watcher has to be told the reset all the same.
    async fn watcher_is_told_in_silence(&self) -> Result<()> {
        let watcher = &self.clients[0];
        let what = "a reset is told though nothing is published";
        wait::until_true(PATIENCE, what, || {
            watcher.log().controls("sluice.reset").count() > 0
        })
        .await
    }

    async fn no_client_is_told(self) -> Result<()> {
        let told = self.end(Suffered::new()).await?;
        ensure!(told.is_empty(), "resets were told: {told:?}");
        Ok(())
    }

    async fn both_are_told(self, reason: &'static str) -> Result<()> {
        let suffered = suffered(self.channel(), reason);
        let told = self.end(suffered).await?;
        ensure!(
            told == [format!("returner {reason}"), format!("watcher {reason}")],
            "resets told: {told:?}"
        );
        Ok(())
    }

    async fn only_the_returner_is_told(self, reason: &'static str) -> Result<()> {
        let suffered = suffered(self.channel(), reason);
        let told = self.end(suffered).await?;
        ensure!(
            told == [format!("returner {reason}")],
            "resets told: {told:?}"
        );
        Ok(())
    }
}

/// redis-server is stopped in order and started again with its data.
#[tokio::test]
async fn a_restart_with_its_data_leaves_every_client_whole() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let flow = scene
            .stage
            .publisher
            .flow(&scene.stage.channels, Duration::from_millis(5));
        scene.stage.redis.stop(Data::Kept).await?;
        scene.stage.redis.start_again().await?;
        let published = scene.stage.publisher.published();
        wait::until_true(PATIENCE, "the flow goes on", || {
            scene.stage.publisher.published() > published + 5
        })
        .await?;
        flow.stop().await?;
        scene.comes_back().await?;
        scene.no_client_is_told().await
    })
    .await;
}

/// redis-server comes back empty.
#[tokio::test]
async fn a_restart_without_its_data_is_told_as_state_lost() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        scene.stage.redis.stop(Data::Lost).await?;
        scene.stage.redis.start_again().await?;
        ensure!(
            scene.stage.redis.command::<u64>(&["DBSIZE"]).await? <= 1,
            "the data is still there"
        );
        scene.watcher_is_told_in_silence().await?;
        scene.comes_back().await?;
        scene.both_are_told("state_lost").await
    })
    .await;
}

/// FLUSHALL on a healthy connection: the audit notices.
#[tokio::test]
async fn a_flush_is_told_as_state_lost() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let () = scene.stage.redis.command(&["FLUSHALL"]).await?;
        scene.watcher_is_told_in_silence().await?;
        scene.comes_back().await?;
        scene.both_are_told("state_lost").await
    })
    .await;
}

/// DEL of the head begins a new timeline: what was before cannot be told from what is lost.
#[tokio::test]
async fn a_deleted_head_is_told_as_state_lost() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let head = scene.stage.publisher.head_key(scene.channel())?;
        ensure!(
            scene.stage.redis.command::<u64>(&["DEL", &head]).await? == 1,
            "there was no head"
        );
        scene.watcher_is_told_in_silence().await?;
        scene.comes_back().await?;
        scene.both_are_told("state_lost").await
    })
    .await;
}

/// DEL of the head, noticed by the next event before any audit: its `prev` is a genesis nobody knows.
#[tokio::test]
async fn a_deleted_head_is_told_though_events_go_on_at_once() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let head = scene.stage.publisher.head_key(scene.channel())?;
        ensure!(
            scene.stage.redis.command::<u64>(&["DEL", &head]).await? == 1,
            "there was no head"
        );
        scene.until_the_clock_is_past_the_watcher().await?;
        scene
            .stage
            .publisher
            .publish_rounds(&scene.stage.channels, 5)
            .await?;
        scene.comes_back().await?;
        scene.both_are_told("state_lost").await
    })
    .await;
}

/// DEL of the stream: who stands at the head has missed nothing; who was away cannot be served.
#[tokio::test]
async fn a_deleted_stream_is_told_only_to_those_who_were_behind() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let stream = scene.stage.publisher.stream_key(scene.channel())?;
        ensure!(
            scene.stage.redis.command::<u64>(&["DEL", &stream]).await? == 1,
            "there was no stream"
        );
        scene.comes_back().await?;
        scene.only_the_returner_is_told("trimmed").await
    })
    .await;
}

/// XTRIM past a cursor: the stream no longer proves what came after it.
#[tokio::test]
async fn a_history_trimmed_past_a_cursor_is_told_only_to_its_owner() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let stream = scene.stage.publisher.stream_key(scene.channel())?;
        let removed: u64 = scene
            .stage
            .redis
            .command(&["XTRIM", &stream, "MAXLEN", "5"])
            .await?;
        ensure!(
            removed as usize > BEFORE,
            "XTRIM removed {removed}: the cursor still stands"
        );
        scene.comes_back().await?;
        scene.only_the_returner_is_told("trimmed").await
    })
    .await;
}

/// XTRIM up to the cursor, and not past it: the first entry left links to the cursor, so nothing is missing.
#[tokio::test]
async fn a_history_trimmed_up_to_a_cursor_still_serves_it_whole() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let stream = scene.stage.publisher.stream_key(scene.channel())?;
        let keep = AWAY.to_string();
        let removed: u64 = scene
            .stage
            .redis
            .command(&["XTRIM", &stream, "MAXLEN", &keep])
            .await?;
        ensure!(removed as usize == BEFORE, "XTRIM removed {removed}");
        scene.comes_back().await?;
        scene.no_client_is_told().await
    })
    .await;
}

/// Redis comes back in an older state, as after a failover that lost its tail: the client is ahead of it.
#[tokio::test]
async fn a_redis_gone_back_in_time_is_told_as_rollback() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        let snapshot = scene.stage.redis.snapshot().await?;
        scene
            .stage
            .publisher
            .publish_rounds(&scene.stage.channels, 10)
            .await?;
        scene.stage.settle(&scene.clients, PATIENCE).await?;
        let undone = scene.stage.heads().await?;
        scene.stage.redis.restore(&snapshot).await?;
        ensure!(
            scene.stage.heads().await? != undone,
            "the snapshot undid nothing"
        );
        scene.watcher_is_told_in_silence().await?;
        // Its cursor is older than the snapshot: it has missed nothing.
        scene.comes_back().await?;
        let suffered = suffered(scene.channel(), "rollback");
        let told = scene.end(suffered).await?;
        ensure!(told == ["watcher rollback"], "resets told: {told:?}");
        Ok(())
    })
    .await;
}

/// A cursor that is none is answered with a stream and a reset, never with a status that ends EventSource.
#[tokio::test]
async fn a_malformed_cursor_is_told_as_bad_cursor_and_the_stream_goes_on() {
    lab::run(Weight::Light, LIMIT, async |lab| {
        let mut scene = Scene::new(lab).await?;
        scene.old_cursor = "1~no-cursor".to_owned();
        let mut options = scene.stage.options(0, 1);
        options.last_event_id = Some(scene.old_cursor.clone());
        let client = Client::start("returner", options);
        let heads = scene.stage.heads().await?;
        wait::until_true(PATIENCE, "it stands at the head", || {
            stands_at(&client.log(), &heads)
        })
        .await?;
        let refused = client
            .log()
            .seen
            .iter()
            .any(|(_, seen)| matches!(seen, Seen::Refused(_)));
        ensure!(!refused, "a status ended the stream");
        scene.clients.push(client);
        until_opened(&scene.clients).await?;
        scene.only_the_returner_is_told("bad_cursor").await
    })
    .await;
}

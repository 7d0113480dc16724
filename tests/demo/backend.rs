//! What the demo's backend does when it is asked, and when Redis goes away.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    client::{Client, Options},
    http,
    lab::{self, Weight},
    node::NodeSettings,
    process::{self, Signal},
    redis::Data,
    wait,
};
use tokio::process::{Child, Command};

use crate::play::{PATIENCE, programs, shell};

/// Publishes on `demo.ask`, as a page does.
pub async fn ask(page: SocketAddr, event_type: &str, data: &str) -> Result<()> {
    let headers = format!("Sluice-Event: {event_type}\r\n");
    let answer = http::post(page, "/v1/channels/demo.ask/events", &headers, data).await?;
    ensure!(
        answer.head.status == 201,
        "{} {}",
        answer.head.status,
        answer.body
    );
    Ok(())
}

async fn question(page: SocketAddr, channel: &str) -> Result<()> {
    let question = "What happens to my stream when I lose the connection?";
    let data = serde_json::json!({ "channel": channel, "question": question });
    ask(page, "question", &data.to_string()).await
}

/// Asks a question: the answer comes in many pieces and says at its end how many they were. One that is to be answered on
/// another channel than those for answers is not.
pub async fn answers_a_question(page: SocketAddr, channel: &str) -> Result<()> {
    let reader = Client::start("asker", Options::new(&[channel], &[page], 0));
    let other = Client::start("victim", Options::new(&["orders"], &[page], 0));
    wait::until_true(PATIENCE, "both are open", || {
        reader.opened() && other.opened()
    })
    .await?;
    question(page, "orders").await?;
    question(page, channel).await?;
    wait::until_true(PATIENCE, "the answer is done", || {
        reader.log().events().any(|block| block.event == "done")
    })
    .await?;
    let log = reader.log();
    let mut text = String::new();
    let mut tokens = 0;
    for block in log.events() {
        let data: Value = serde_json::from_str(&block.data)?;
        match block.event.as_str() {
            "token" => {
                tokens += 1;
                text += data["text"].as_str().context("a token's text")?;
            }
            "done" => ensure!(data["tokens"] == tokens, "{tokens} of {data}"),
            other => anyhow::bail!("an event {other}"),
        }
    }
    ensure!(
        tokens > 20 && text.contains("Last-Event-ID") || text.contains("reconnects"),
        "{text}"
    );
    let times: Vec<_> = log
        .timed_blocks()
        .filter(|(_, block)| block.event == "token")
        .collect();
    let took = match (times.first(), times.last()) {
        (Some((first, _)), Some((last, _))) => *last - *first,
        _ => Duration::ZERO,
    };
    ensure!(
        took > Duration::from_secs(1),
        "{tokens} tokens came at once, within {took:?}"
    );
    ensure!(
        other.log().events().count() == 0,
        "it answered on another channel"
    );
    Ok(())
}

/// Waits until the last event of `demo.likes` says `count`; more than that is wrong at once.
pub async fn until_likes(page: SocketAddr, count: u64) -> Result<()> {
    let sluice = programs()?.join("sluice");
    let last = format!(
        "{} tail demo.likes --last 1 --count 1 --gateway http://{page}",
        sluice.display()
    );
    let what = format!("there are {count} likes");
    wait::until(PATIENCE, &what, async || {
        let said: Value = serde_json::from_str(&shell(&last).await?)?;
        let now = said["count"].as_u64().context("a count")?;
        ensure!(now <= count, "{now} likes, not {count}");
        Ok((now == count).then_some(()))
    })
    .await
}

fn start(redis_url: &str, log: &std::path::Path) -> Result<Child> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    Command::new(programs()?.join("sluice"))
        .args(["demo", "--redis", redis_url])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("starting sluice demo")
}

/// Straight through Redis: it waits for a server that is away, says so, counts on after a restart of the server and of
/// itself, and ends quietly on Ctrl-C.
#[tokio::test]
async fn the_backend_outlives_its_redis_and_forgets_no_like() {
    lab::run(Weight::Light, Duration::from_secs(45), async |lab| {
        let mut redis = lab.redis().await?;
        let node = lab
            .node("n0", &redis.url(), NodeSettings::default())
            .await?;
        let page = node.http();
        let log = lab.dir().join("backend.log");
        let said = |words: &'static str, times: usize| {
            let log = log.clone();
            async move {
                wait::until(PATIENCE, words, async || {
                    let text = std::fs::read_to_string(&log)?;
                    Ok((text.matches(words).count() >= times).then_some(()))
                })
                .await
            }
        };
        let mut backend = start(&redis.url(), &log)?;
        said("demo: working through Redis", 1).await?;
        for _ in 0..5 {
            ask(page, "like", "{}").await?;
        }
        until_likes(page, 5).await?;

        redis.stop(Data::Kept).await?;
        said("going on once it is back", 1).await?;
        redis.start_again().await?;
        said("is back", 2).await?;
        wait::until(PATIENCE, "a like is taken again", async || {
            Ok(ask(page, "like", "{}").await.ok())
        })
        .await?;
        until_likes(page, 6).await?;

        let quiet = std::fs::read_to_string(&log)?;
        process::send(backend.id().context("it runs")?, Signal::Interrupt)?;
        let status = backend.wait().await?;
        ensure!(status.code() == Some(130), "{status}");
        ensure!(
            std::fs::read_to_string(&log)? == quiet,
            "it said something at its end"
        );

        ask(page, "like", "{}").await?;
        let _backend = start(&redis.url(), &log)?;
        until_likes(page, 7).await
    })
    .await;
}

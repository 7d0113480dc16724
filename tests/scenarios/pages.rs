//! Pages and batches on real parts: paging while events come gives each once and goes on as a stream, and a batch that
//! met an outage goes in once and in order when it is sent again.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::{
    http,
    lab::{self, Weight},
    node::NodeSettings,
    proxy::Mode,
    wait,
};

use crate::stage::{PATIENCE, Stage, until_metric};

const PACE: Duration = Duration::from_millis(2);
const BATCH: &str = "Content-Type: application/x-ndjson\r\n";

/// One page of a channel's history.
async fn page(node: SocketAddr, channel: &str, query: &str) -> Result<Value> {
    let target = format!("/v1/channels/{channel}/events?{query}");
    let answer = http::get(node, &target).await?;
    ensure!(answer.head.status == 200, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

fn data(page: &Value) -> Result<Vec<String>> {
    let events = page["events"].as_array().context("a list")?;
    let texts = events.iter().map(|event| event["data"].as_str());
    let texts: Option<Vec<&str>> = texts.collect();
    Ok(texts
        .context("texts")?
        .into_iter()
        .map(str::to_owned)
        .collect())
}

/// All that a channel keeps, in pages of 100; no reset may be told.
async fn kept(node: SocketAddr, channel: &str) -> Result<Vec<String>> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let page = page(node, channel, &from).await?;
        ensure!(page.get("reset").is_none(), "{page}");
        all.extend(data(&page)?);
        if page["more"] == false {
            return Ok(all);
        }
        from = format!(
            "last_event_id={}",
            page["cursor"].as_str().context("a cursor")?
        );
    }
}

/// Reads small pages from alternating nodes while events come, then goes on as a stream with the last cursor: every
/// event once, in order.
#[tokio::test]
async fn paging_that_becomes_a_stream_gives_every_event_once_in_order() {
    lab::run(Weight::Light, Duration::from_secs(90), async |lab| {
        let stage = Stage::new(lab, 2, 1, &NodeSettings::default()).await?;
        let (channel, nodes) = (stage.channels[0].clone(), stage.addrs());
        stage.publisher.publish_rounds(&stage.channels, 200).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        let (mut read, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        let mut short = 0;
        while read.len() < 500 || short < 20 {
            let node = nodes[pages % nodes.len()];
            let page = page(node, &channel, &format!("limit=7&last_event_id={cursor}")).await?;
            ensure!(page.get("reset").is_none(), "{page}");
            read.extend(data(&page)?);
            page["cursor"]
                .as_str()
                .context("a cursor")?
                .clone_into(&mut cursor);
            short += usize::from(page["more"] == false);
            pages += 1;
        }
        let mut options = stage.options(0, pages % nodes.len());
        options.last_event_id = Some(cursor);
        let client = stage.client("pager", options).await?;
        let then = stage.publisher.published();
        wait::until_true(PATIENCE, "the flow goes on", || {
            stage.publisher.published() > then + 100
        })
        .await?;
        flow.stop().await?;
        let clients = [client];
        stage.settle(&clients, PATIENCE).await?;
        let log = clients[0].log().clone();
        ensure!(
            log.controls("sluice.reset").count() == 0,
            "a reset was told"
        );
        let paged = read.len();
        read.extend(log.events().map(|block| block.data.clone()));
        let journal = stage.publisher.journal();
        let published: Vec<String> = journal.records.iter().map(|r| r.payload.clone()).collect();
        ensure!(
            paged >= 500 && read.len() > paged + 100,
            "{paged} of {}",
            read.len()
        );
        ensure!(
            read == published,
            "{} read, {} published",
            read.len(),
            published.len()
        );
        Ok(())
    })
    .await;
}

/// History trimmed past a cursor is told by the page, which begins with the oldest event kept and goes on without
/// another reset.
#[tokio::test]
async fn a_page_tells_that_its_history_was_trimmed() {
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        let stage = Stage::new(lab, 1, 1, &NodeSettings::default()).await?;
        let (channel, node) = (stage.channels[0].clone(), stage.addrs()[0]);
        stage.publisher.publish_rounds(&stage.channels, 50).await?;
        let first = page(node, &channel, "limit=10").await?;
        let cursor = first["cursor"].as_str().context("a cursor")?.to_owned();
        let stream = stage.publisher.stream_key(&channel)?;
        let removed: u64 = stage
            .redis
            .command(&["XTRIM", &stream, "MAXLEN", "20"])
            .await?;
        ensure!(removed == 30, "XTRIM removed {removed}");
        let told = page(node, &channel, &format!("limit=5&last_event_id={cursor}")).await?;
        let records = stage.publisher.journal().records;
        let payloads = |from: usize, to: usize| -> Vec<String> {
            records[from..to]
                .iter()
                .map(|r| r.payload.clone())
                .collect()
        };
        ensure!(data(&told)? == payloads(30, 35), "{told}");
        let before = records[29].position().context("a position")?;
        let reset = json!({"channel": channel, "reason": "trimmed", "from": cursor, "to": before});
        ensure!(told["reset"] == reset, "{told}");
        let cursor = told["cursor"].as_str().context("a cursor")?;
        let rest = page(node, &channel, &format!("last_event_id={cursor}")).await?;
        ensure!(
            rest.get("reset").is_none() && data(&rest)? == payloads(35, 50),
            "{rest}"
        );
        Ok(())
    })
    .await;
}

/// A line of a batch: the channel's `n`th event, under an event id of its own.
fn line(channel: &str, n: usize) -> String {
    json!({"channel": channel, "event_id": format!("ev-{n}"), "data": n.to_string()}).to_string()
}

async fn publish(node: SocketAddr, lines: &[String]) -> Result<Vec<Value>> {
    let answer = http::post(node, "/v1/publish", BATCH, &lines.join("\n")).await?;
    ensure!(answer.head.status == 200, "{answer:?}");
    let answers = answer.body.lines().map(serde_json::from_str);
    let answers: Vec<Value> = answers.collect::<Result<_, _>>()?;
    ensure!(answers.len() == lines.len(), "an answer for each line");
    Ok(answers)
}

/// A batch of several channels with bad lines in between: readers on another node get each channel whole and in its
/// order, and only the bad lines are refused.
#[tokio::test]
async fn bad_lines_of_a_batch_spoil_no_other() {
    lab::run(Weight::Light, Duration::from_secs(60), async |lab| {
        let stage = Stage::new(lab, 2, 3, &NodeSettings::default()).await?;
        let mut clients = Vec::new();
        for channel in 0..3 {
            let name = format!("reader {channel}");
            clients.push(stage.client(&name, stage.options(channel, 1)).await?);
        }
        let bad = [
            "nonsense",
            r#"{"channel":"room.0","data":"x","type":"open"}"#,
            r#"{"channel":"room.1"}"#,
        ];
        let lines: Vec<String> = (0..600)
            .map(|n| match n % 10 {
                7 => bad[n % 3].to_owned(),
                _ => line(&stage.channels[n % 3], n),
            })
            .collect();
        let answers = publish(stage.addrs()[0], &lines).await?;
        for (n, answer) in answers.iter().enumerate() {
            ensure!(answer["line"] == n + 1, "line {n}: {answer}");
            ensure!(
                answer["error"].is_object() == (n % 10 == 7),
                "line {n}: {answer}"
            );
        }
        stage.settle(&clients, PATIENCE).await?;
        for (channel, client) in clients.iter().enumerate() {
            let got: Vec<String> = client.log().events().map(|b| b.data.clone()).collect();
            let sent = (channel..600).step_by(3).filter(|n| n % 10 != 7);
            let sent: Vec<String> = sent.map(|n| n.to_string()).collect();
            ensure!(got == sent, "{channel}: {got:?}");
        }
        Ok(())
    })
    .await;
}

/// The network to Redis is cut in the middle of a batch. What failed is sent again with its event ids: each event is
/// there once, and in order.
#[tokio::test]
async fn a_batch_cut_from_redis_and_sent_again_is_published_once_in_order() {
    lab::run(Weight::Light, Duration::from_secs(90), async |lab| {
        let redis = lab.redis().await?;
        let proxy = lab.proxy(&redis).await?;
        let nodes = lab
            .nodes(1, &proxy.redis_url(), &NodeSettings::default())
            .await?;
        let stage = Stage::with(redis, nodes, 2)?;
        let node = stage.addrs()[0];
        let lines: Vec<String> = (0..900).map(|n| line(&stage.channels[n % 2], n)).collect();
        proxy.set(Mode::Delay(Duration::from_millis(40)));
        let cut = async {
            // So many that the answer for the first ones has come back.
            let stream = stage.publisher.stream_key(&stage.channels[0])?;
            wait::until(PATIENCE, "the batch is under way", async || {
                let length: u64 = stage.redis.command(&["XLEN", &stream]).await?;
                Ok((length > 150).then_some(()))
            })
            .await?;
            proxy.set(Mode::Refuse);
            proxy.cut();
            anyhow::Ok(())
        };
        let (answers, cut) = tokio::join!(publish(node, &lines), cut);
        cut?;
        let mut positions: BTreeMap<usize, Value> = BTreeMap::new();
        let mut failed = keep(&answers?, &(0..900).collect::<Vec<_>>(), &mut positions)?;
        ensure!(
            !positions.is_empty() && !failed.is_empty(),
            "{} failed",
            failed.len()
        );
        proxy.set(Mode::Pass);
        until_metric(&stage.nodes[0], "sluice_redis_connected", PATIENCE, |up| {
            up == 1.0
        })
        .await?;
        for _ in 0..20 {
            let again: Vec<String> = failed.iter().map(|n| lines[*n].clone()).collect();
            failed = keep(&publish(node, &again).await?, &failed, &mut positions)?;
            if failed.is_empty() {
                break;
            }
        }
        ensure!(failed.is_empty(), "{} lines still fail", failed.len());
        for (c, channel) in stage.channels.iter().enumerate() {
            let expected: Vec<String> = (c..900).step_by(2).map(|n| n.to_string()).collect();
            let kept = kept(node, channel).await?;
            ensure!(kept == expected, "{channel}: {kept:?}");
        }
        Ok(())
    })
    .await;
}

/// Notes the positions of those that were published, and gives the numbers of those that must be sent again.
fn keep(
    answers: &[Value],
    numbers: &[usize],
    positions: &mut BTreeMap<usize, Value>,
) -> Result<Vec<usize>> {
    let mut failed = Vec::new();
    for (answer, n) in answers.iter().zip(numbers) {
        if answer["id"].is_string() {
            positions.insert(*n, answer["id"].clone());
            continue;
        }
        ensure!(answer["error"]["code"] == "broker_unavailable", "{answer}");
        failed.push(*n);
    }
    Ok(failed)
}

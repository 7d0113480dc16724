//! Publishers that send as much as they may, and more, and what is no event at all: into topics, streams and heads that
//! readers are subscribed to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use redis::aio::MultiplexedConnection;
use sluice_e2e::{
    client::{Client, Options},
    http,
    lab::{self, Weight},
    node::NodeSettings,
    publisher::Publisher,
    wait,
};

use crate::{
    ground::{Ground, MIB},
    stage::{PATIENCE, until_opened},
};

/// Channels that get the largest events there may be.
const BOMBED: usize = 4;
/// The largest there are: `limits.event_bytes` is 64 KiB.
const EVENT_BYTES: usize = 65_000;
/// Readers of the bombed channels that read, and that do not.
const READING: usize = 8;
const STALLED: usize = 24;
/// Rounds of everything.
const ROUNDS: usize = 100;
/// Two workers' rings of all channels hold 48 MiB at most (`limits.ring_bytes` is 4 MiB); then what is on its way: queues,
/// bodies of batches, socket buffers.
const CAP: u64 = 256 * MIB;

/// What begins as a frame and is none, and under which reason it is dropped.
const BROKEN_FRAMES: [(&[u8], &str); 13] = [
    (b"sluice/1 ", "malformed"),
    (b"sluice/1 nonsense", "malformed"),
    (b"sluice/1 nonsense\n\n", "malformed"),
    (b"sluice/1 1-0.00000000\n\nx", "malformed"),
    (b"sluice/1 1-0.00000000 0-0.00000000", "malformed"),
    (
        b"sluice/1 1-0.00000000 0-0.00000000\nno data line",
        "malformed",
    ),
    (b"sluice/1 1-0.0000000g 0-0.00000000\n\nx", "malformed"),
    (
        b"sluice/1 99999999999999999999-0.00000000 0-0.00000000\n\nx",
        "malformed",
    ),
    (b"sluice/1 1-0.00000000 0-0.00000000\na\0b\nx", "malformed"),
    (b"sluice/2 1-0.00000000 0-0.00000000\n\nx", "version"),
    (b"sluice/", "version"),
    (b"sluice/1 1-0.00000000 0-0.00000000\n\n\xff", "not_utf8"),
    (b"\xff\xfe plain and no text", "not_utf8"),
];

/// The largest events in bursts, over Redis and over HTTP, messages that are none, and keys of other programs: memory stays
/// under its cap, and the readers of other channels get everything.
#[tokio::test]
async fn event_bombs_stay_under_the_memory_cap() {
    bombs(1).await;
}

/// The same for longer.
#[tokio::test]
#[ignore = "takes minutes: make test-full"]
async fn event_bombs_stay_under_the_memory_cap_for_long() {
    bombs(5).await;
}

async fn bombs(times: usize) {
    let limit = Duration::from_secs(90) * u32::try_from(times).expect("few");
    lab::run(Weight::Heavy, limit, async |lab| {
        let ground = Ground::new(lab, &NodeSettings::default()).await?;
        let bombed: Vec<String> = (0..BOMBED).map(|n| format!("bomb.{n}")).collect();
        let foreign: Vec<String> = (0..FOREIGN.len()).map(|n| format!("foreign.{n}")).collect();
        let readers = readers(&ground, &bombed, &foreign).await?;
        let publisher = Publisher::new(&ground.stage.redis)?;
        for _ in 0..times {
            tokio::try_join!(
                maximal(&publisher, &bombed),
                junk(&ground, &bombed),
                keys(&ground, &foreign),
                batches(&ground, &bombed),
            )?;
        }
        dropped(&ground, times).await?;
        // The bombed channels themselves go on, from beyond the bombs.
        let fresh = Client::start("fresh", Options::new(&[&bombed[0]], &[ground.http()], 0));
        until_opened(std::slice::from_ref(&fresh)).await?;
        let last = publisher
            .publish_text(&bombed[0], None, "after the bombs")
            .await?;
        wait::until_true(PATIENCE, "a fresh reader gets the next event", || {
            fresh
                .log()
                .events()
                .any(|block| Some(block.last_event_id.as_str()) == last.position())
        })
        .await?;
        drop((fresh, readers));
        let cost = ground.finish(lab, CAP).await?;
        println!("event bombs, {times} times: {cost}");
        Ok(())
    })
    .await;
}

/// Readers of the bombed channels, most of whom never read, and one on each channel with foreign keys.
async fn readers(ground: &Ground, bombed: &[String], foreign: &[String]) -> Result<Vec<Client>> {
    let addrs = ground.stage.addrs();
    let reader = |n: usize, channel: &str| {
        let mut options = Options::new(&[channel], &addrs, 0);
        options.receive_buffer = (n >= READING).then_some(4_096);
        Client::start(format!("bombed-{n}"), options)
    };
    let readers: Vec<Client> = (0..READING + STALLED)
        .map(|n| reader(n, &bombed[n % bombed.len()]))
        .chain(foreign.iter().map(|channel| reader(0, channel)))
        .collect();
    until_opened(&readers).await?;
    for stalled in &readers[READING..READING + STALLED] {
        stalled.stall(true);
    }
    Ok(readers)
}

/// Bursts of the largest events there may be, through the script.
async fn maximal(publisher: &Publisher, bombed: &[String]) -> Result<()> {
    for _ in 0..ROUNDS {
        let sizes = bombed
            .iter()
            .map(|channel| publisher.publish_sized(channel, EVENT_BYTES));
        futures_util::future::try_join_all(sizes).await?;
    }
    Ok(())
}

/// Messages that are no events, on the topics of bombed and of healthy channels alike.
async fn junk(ground: &Ground, bombed: &[String]) -> Result<()> {
    let publisher = &ground.stage.publisher;
    let mut redis = ground.stage.redis.connect().await?;
    let channels = ground.stage.channels.iter().chain(&bombed[..1]);
    let topics = channels
        .map(|channel| publisher.topic(channel))
        .collect::<Result<Vec<_>>>()?;
    let too_large = vec![b'x'; 1 << 20];
    for round in 0..ROUNDS {
        let mut pipe = redis::pipe();
        for topic in &topics {
            for (frame, _) in BROKEN_FRAMES {
                pipe.publish(topic, frame).ignore();
            }
            // Sound frames that link to nothing: what a forger or a straggler sends.
            let forged = format!("sluice/1 {round}-1.0badcafe {round}-0.0badcafe\nforged\nforged");
            pipe.publish(topic, forged).ignore();
            if round % 10 == 0 {
                pipe.publish(topic, &too_large[..]).ignore();
            }
        }
        let () = pipe.query_async(&mut redis).await?;
    }
    Ok(())
}

/// What other programs leave in a channel's keys: `S` stands for its stream's key, `H` for its head's.
const FOREIGN: [&[&[&str]]; 8] = [
    &[&["XADD", "S", "*", "hello", "world"]],
    &[&["XADD", "S", "*", "p", "nonsense", "t", "nonsense", "d", "x"]],
    &[&[
        "XADD",
        "S",
        "*",
        "p",
        "0-0.00000000",
        "t",
        "00000000",
        "d",
        "unlinked",
    ]],
    &[&["DEL", "S"], &["SET", "S", "a text"]],
    &[&["DEL", "S"], &["LPUSH", "S", "a", "list"]],
    &[&["SET", "H", "garbage"]],
    &[&["DEL", "H"], &["LPUSH", "H", "a list"]],
    &[
        &["SET", "H", "1-1.00000000 9-9.zzzzzzzz"],
        &["XADD", "S", "*", "p", "", "t", "", "d", ""],
    ],
];

async fn keys(ground: &Ground, foreign: &[String]) -> Result<()> {
    let mut redis = ground.stage.redis.connect().await?;
    for _ in 0..ROUNDS / 10 {
        for (channel, commands) in foreign.iter().zip(FOREIGN) {
            damage(ground, &mut redis, channel, commands).await?;
        }
    }
    Ok(())
}

async fn damage(
    ground: &Ground,
    redis: &mut MultiplexedConnection,
    channel: &str,
    commands: &[&[&str]],
) -> Result<()> {
    let publisher = &ground.stage.publisher;
    for words in commands {
        let mut command = redis::Cmd::new();
        for word in *words {
            match *word {
                "S" => command.arg(publisher.stream_key(channel)?),
                "H" => command.arg(publisher.head_key(channel)?),
                other => command.arg(other),
            };
        }
        // A second XADD or LPUSH on what the first round made of the key may be refused: the damage is done.
        drop(command.query_async::<redis::Value>(redis).await);
    }
    // So that the gateway looks.
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(publisher.topic(channel)?).arg("sluice/1 look");
    let () = publish.query_async(redis).await?;
    Ok(())
}

/// Batches and single events over HTTP, as large as they may be.
async fn batches(ground: &Ground, bombed: &[String]) -> Result<()> {
    let data = "y".repeat(4_000);
    let lines: Vec<String> = (0..1_000)
        .map(|n| {
            format!(
                "{{\"channel\":\"{}\",\"data\":\"{data}\"}}",
                bombed[n % bombed.len()]
            )
        })
        .collect();
    let batch = lines.join("\n");
    let single = "z".repeat(EVENT_BYTES);
    let target = format!("/v1/channels/{}/events", bombed[0]);
    let answers = stream::iter(0..ROUNDS / 10)
        .map(async |_| {
            let batch = http::post(
                ground.http(),
                "/v1/publish",
                "Content-Type: application/x-ndjson\r\n",
                &batch,
            );
            let single = http::post(ground.http(), &target, "", &single);
            let (batch, single) =
                tokio::try_join!(batch, single).context("publishing over HTTP")?;
            ensure!(
                batch.head.status == 200 && !batch.body.contains("\"error\""),
                "{batch:?}"
            );
            ensure!(single.head.status == 201, "{single:?}");
            Ok(())
        })
        .buffer_unordered(3)
        .collect::<Vec<Result<()>>>()
        .await;
    answers.into_iter().collect()
}

/// The broken messages have really come, and were dropped for what they are.
async fn dropped(ground: &Ground, times: usize) -> Result<()> {
    let topics = ground.stage.channels.len() + 1;
    for reason in ["malformed", "version", "not_utf8", "too_large"] {
        let kinds = BROKEN_FRAMES
            .iter()
            .filter(|(_, why)| *why == reason)
            .count();
        let sent = match reason {
            "too_large" => topics * ROUNDS / 10,
            _ => topics * ROUNDS * kinds,
        } * times;
        let what = format!("{sent} messages are dropped as {reason}");
        wait::until(PATIENCE, &what, async || {
            let metrics = ground.node().metrics().await?;
            let dropped = metrics.labelled("sluice_events_dropped_total", "reason", reason);
            Ok((dropped >= sent as f64).then_some(()))
        })
        .await?;
    }
    Ok(())
}

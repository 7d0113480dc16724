//! Thousands of clients that come back at once, with cursors that are old, forged, torn or someone else's.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use sluice_e2e::{
    cursor,
    journal::Journal,
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::{
    exchange::{answer, exchange},
    ground::{Ground, MIB},
};

const CHANNELS: usize = 4;
/// Kept events of each channel.
const EVENTS: usize = 200;
const EVENT_BYTES: usize = 2_000;
/// Clients that are under way at once.
const AT_ONCE: usize = 128;
/// The rings of four channels, and what is being replayed to 128 streams.
const CAP: u64 = 128 * MIB;

/// A reconnect: the channels it asks for, its cursor, and what the stream must hold.
struct Return {
    channels: Vec<String>,
    cursor: Vec<u8>,
    told: String,
}

/// Every cursor is answered with what it deserves: a place that is kept with the next event, any other with a reset; memory
/// stays under its cap and the live readers get everything.
#[tokio::test]
async fn resume_storms_with_bad_cursors_are_answered_one_by_one() {
    storm(4_000).await;
}

/// The same for longer.
#[tokio::test]
#[ignore = "takes minutes: make test-full"]
async fn resume_storms_with_bad_cursors_are_answered_one_by_one_for_long() {
    storm(60_000).await;
}

async fn storm(clients: usize) {
    lab::run(Weight::Heavy, Duration::from_secs(600), async |lab| {
        let ground = Ground::new(lab, &NodeSettings::default()).await?;
        let channels: Vec<String> = (0..CHANNELS).map(|n| format!("storm.{n}")).collect();
        let publisher = sluice_e2e::publisher::Publisher::new(&ground.stage.redis)?;
        for _ in 0..EVENTS {
            let sized = channels
                .iter()
                .map(|channel| publisher.publish_sized(channel, EVENT_BYTES));
            futures_util::future::try_join_all(sized).await?;
        }
        let journal = publisher.journal();
        let answers: Vec<Result<&str>> = stream::iter(0..clients)
            .map(async |n| {
                let back = returning(n as u64, &channels, &journal)?;
                come_back(&ground, &back).await.with_context(|| {
                    format!(
                        "client {n} with {:?} on {:?}",
                        back.cursor.escape_ascii().to_string(),
                        back.channels
                    )
                })
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut counts = BTreeMap::<&str, usize>::new();
        for answer in answers {
            *counts.entry(answer?).or_default() += 1;
        }
        ensure!(
            counts.len() == 4,
            "not every kind of answer was given: {counts:?}"
        );
        let cost = ground.finish(lab, CAP).await?;
        println!("{clients} reconnects with {counts:?}; {cost}");
        Ok(())
    })
    .await;
}

/// The `n`th client's reconnect. Numbers that look random come from `n`, so that a failure can be repeated.
fn returning(n: u64, channels: &[String], journal: &Journal) -> Result<Return> {
    let random = mixed(n);
    let mine = &channels[(random % CHANNELS as u64) as usize];
    let at = (random >> 8) as usize % (EVENTS - 1);
    let place = |channel: &str, at: usize| place(journal, channel, at);
    let one = |cursor: Vec<u8>, told: &str| Return {
        channels: vec![mine.clone()],
        cursor,
        told: told.to_owned(),
    };
    let all = |cursor: String, told: &str| Return {
        channels: channels.to_vec(),
        cursor: cursor.into_bytes(),
        told: told.to_owned(),
    };
    let everywhere = || {
        let places = channels
            .iter()
            .map(|channel| Ok((channel.clone(), place(channel, at)?)));
        Ok::<_, anyhow::Error>(cursor::of(&places.collect::<Result<_>>()?))
    };
    Ok(match n % 8 {
        // A place that is kept: what comes next is the event after it.
        0 => one(place(mine, at)?.into_bytes(), &place(mine, at + 1)?),
        1 => all(everywhere()?, &place(mine, at + 1)?),
        // Sound, and never given out.
        kind @ 2..=4 => one(
            never_given(kind, random, &place(mine, at)?).into_bytes(),
            "event: sluice.reset\n",
        ),
        // Someone else's: places of channels that this stream has not.
        5 => {
            let places = (0..32).map(|k| {
                (
                    format!("other.{k}"),
                    format!("{n}-{k}.{:08x}", random as u32),
                )
            });
            all(cursor::of(&places.collect()), "event: sluice.open\n")
        }
        // Torn and forged.
        6 => one(torn(&place(mine, at)?, random), "bad_cursor"),
        _ => {
            let whole = everywhere()?;
            let kept = whole.len() - 1 - (random % 3) as usize;
            all(whole[..kept].to_owned(), "bad_cursor")
        }
    })
}

/// Where the `at`th event of a channel stands.
fn place(journal: &Journal, channel: &str, at: usize) -> Result<String> {
    let mut records = journal
        .records
        .iter()
        .filter(|record| record.channel == channel);
    let record = records.nth(at).context("published")?;
    Ok(record.position().context("stored")?.to_owned())
}

/// The right time with another tag, long ago, or in the future.
fn never_given(kind: u64, random: u64, position: &str) -> String {
    let tag = random as u32;
    let id = position.split('.').next().unwrap_or_default();
    match kind {
        2 => format!("{id}.{tag:08x}"),
        3 => format!("{}-{}.{tag:08x}", random % 1_000_000, random % 65_536),
        _ => format!("{}-0.{tag:08x}", (1_u64 << 48) - 1 - random % 1_000_000),
    }
}

/// A position with one byte replaced by one that stands in no position; bytes of no text among them.
fn torn(position: &str, random: u64) -> Vec<u8> {
    let wrong = [b'x', b'~', b'/', b' ', b'"', 0x80, 0xff, b'\t'];
    let mut bytes = position.as_bytes().to_vec();
    let at = 1 + random as usize % (bytes.len() - 2);
    bytes[at] = wrong[(random >> 16) as usize % wrong.len()];
    bytes
}

/// What becomes of one reconnect, read up to what it must be told.
async fn come_back(ground: &Ground, back: &Return) -> Result<&'static str> {
    let channels: Vec<String> = back
        .channels
        .iter()
        .map(|channel| format!("channel={channel}"))
        .collect();
    // Among several channels only the envelope names an event's own position.
    let request = format!(
        "GET /v1/events?envelope=json&{} HTTP/1.1\r\nHost: sluice.test\r\nAccept: text/event-stream\r\nLast-Event-ID: ",
        channels.join("&")
    );
    let request = [request.as_bytes(), &back.cursor, b"\r\n\r\n"].concat();
    let has_told = |bytes: &[u8]| {
        answer(bytes, false)
            .is_ok_and(|answer| answer.is_some_and(|answer| answer.body.contains(&back.told)))
    };
    let heard = exchange(ground.http(), &request, has_told).await?;
    let answer = answer(&heard.bytes, false)?.context("no answer")?;
    ensure!(
        answer.head.status == 200 && answer.body.contains(&back.told),
        "{} {}",
        answer.head.status,
        answer.body
    );
    let reset = answer.body.contains("event: sluice.reset\n");
    Ok(match back.told.as_str() {
        "bad_cursor" => "bad_cursor",
        "event: sluice.reset\n" => "another reset",
        "event: sluice.open\n" => "live",
        // Nobody who stands on the chain may be told that something is missing.
        _ => {
            ensure!(!reset, "a false reset: {}", answer.body);
            "the next event"
        }
    })
}

/// A number that looks random (SplitMix64's step).
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

//! `sluice demo`: the backend of the demo page, as a service of its own beside the gateway.
//! It only publishes and follows channels; all that it must remember is in the events themselves.

mod answers;
mod asks;
mod chatter;
mod contract;
mod jobs;
mod likes;
mod outbox;
mod prices;

use std::convert::Infallible;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use crate::args::{Demo, Link};
use crate::backoff::Backoff;
use crate::failure::{Failure, printable};
use crate::history;
use crate::publish::Publisher;
use contract::{Envelope, Likes, Price};

/// The wait before what was away is tried again: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// A part of the demo ends only with a failure, or with the program.
type Ended = Result<Infallible, Failure>;

/// Plays the backend until Ctrl-C.
///
/// # Errors
/// Redis or the gateway refuses for good. One that is away is waited for.
pub async fn run(job: Demo) -> Result<(), Failure> {
    let publisher = Publisher::new(job.link.clone())?;
    let price = last::<Price>(&job.link, contract::PRICES).await?;
    let likes = last::<Likes>(&job.link, contract::LIKES).await?;
    let tally = likes::recall(likes);
    let begin = likes::begin(&tally);

    let (outbox, queue) = outbox::channel();
    let (tallied, tally) = watch::channel(tally);
    // One task for all: each waits for its clock or for the network, and none of them computes.
    let ended = tokio::try_join!(
        outbox::deliver(publisher, job.link.to_string(), queue),
        likes::publish(&outbox, tally),
        prices::publish(&outbox, price.map(|(price, _)| price.price)),
        chatter::notices(&outbox),
        chatter::lines(&outbox),
        asks::answer(job.link, begin, &outbox, tallied),
    );
    ended.map(drop)
}

/// What the last event of a channel says, with its event id. Waits for a server that is away.
async fn last<T: DeserializeOwned>(
    link: &Link,
    channel: &str,
) -> Result<Option<(T, Option<String>)>, Failure> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    let line = loop {
        match history::last_event(link.clone(), contract::channel(channel)?).await {
            Err(failure) if failure.is_unreachable() => away(&failure),
            settled => break settled?,
        }
        sleep(backoff.next_wait()).await;
    };
    // An event that somebody else wrote there is no state of ours.
    Ok(line.and_then(|line| {
        let envelope: Envelope = serde_json::from_slice(&line).ok()?;
        let said = serde_json::from_str(&envelope.data).ok()?;
        Some((said, envelope.event_id))
    }))
}

fn away(failure: &Failure) {
    note(&format!("{failure}; going on once it is back"));
}

fn note(what: &str) {
    eprintln!("note: {}", printable(what));
}

//! What the demo has to publish, on its way out: one bounded queue, delivered in batches, through outages.
//! An event with an id is sent until it is taken; news without one is dropped rather than told late.

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Ended, RETRY_FIRST, RETRY_MOST, away, contract, note};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::publish::{Outgoing, Publisher};

/// Events that wait for the one batch under way.
const QUEUE_EVENTS: usize = 256;
const BATCH_EVENTS: usize = 256;

/// Where the demo's parts leave their events.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::Sender<Outgoing>,
}

pub fn channel() -> (Outbox, mpsc::Receiver<Outgoing>) {
    let (queue, events) = mpsc::channel(QUEUE_EVENTS);
    (Outbox { queue }, events)
}

impl Outbox {
    /// Leaves news that is worth nothing later: dropped when there is no room.
    pub fn offer(
        &self,
        channel: &str,
        event_type: &str,
        data: &impl Serialize,
    ) -> Result<(), Failure> {
        // Full while the server is away, and told there.
        drop(
            self.queue
                .try_send(outgoing(channel, event_type, None, data)?),
        );
        Ok(())
    }

    /// Leaves an event that must arrive, once: waits for room.
    pub async fn send(
        &self,
        channel: &str,
        event_type: &str,
        event_id: String,
        data: &impl Serialize,
    ) -> Result<(), Failure> {
        let event = outgoing(channel, event_type, Some(event_id), data)?;
        let sent = self.queue.send(event).await;
        sent.map_err(|_| Failure::failed("the demo's outbox is closed"))
    }

    /// Leaves a line of the demo's own log.
    pub fn log(&self, level: &str, text: &str) -> Result<(), Failure> {
        let at = contract::now_ms();
        self.offer(contract::LOG, "line", &contract::Line { level, text, at })
    }
}

fn outgoing(
    channel: &str,
    event_type: &str,
    event_id: Option<String>,
    data: &impl Serialize,
) -> Result<Outgoing, Failure> {
    let data = serde_json::to_vec(data)
        .map_err(|error| Failure::failed(format!("an event for {channel}: {error}")))?;
    Ok(Outgoing {
        line: None,
        channel: contract::channel(channel)?,
        event_type: Some(event_type.to_owned()),
        event_id,
        data,
        traceparent: None,
    })
}

/// Publishes what is left in the outbox, for ever, and says when that begins, stops and goes on.
pub async fn deliver(
    mut publisher: Publisher,
    target: String,
    mut queue: mpsc::Receiver<Outgoing>,
) -> Ended {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    let mut batch: Vec<Outgoing> = Vec::new();
    let mut working = None;
    loop {
        if batch.is_empty() {
            let first = queue.recv().await;
            batch.push(first.ok_or_else(|| Failure::failed("the demo has nothing to publish"))?);
        }
        while batch.len() < BATCH_EVENTS
            && let Ok(event) = queue.try_recv()
        {
            batch.push(event);
        }
        let outcomes = publisher.publish(&batch).await;
        let (mut again, mut cause) = (Vec::new(), None);
        for (event, outcome) in batch.drain(..).zip(outcomes) {
            match outcome {
                Ok(_) => {}
                Err(failure) if is_away(&failure) => {
                    cause = Some(failure);
                    again.extend(event.event_id.is_some().then_some(event));
                }
                Err(failure) if failure.ends_the_batch() => return Err(failure),
                Err(failure) => note(&format!("{}: {failure}", event.channel)),
            }
        }
        batch = again;
        if let Some(failure) = cause {
            if working != Some(false) {
                away(&failure);
            }
            working = Some(false);
            sleep(backoff.next_wait()).await;
            continue;
        }
        match working.replace(true) {
            None => eprintln!("demo: working through {target}"),
            Some(false) => note(&format!("{target} is back")),
            Some(true) => {}
        }
        backoff.reset();
    }
}

/// Whether the same event may be taken a moment later.
fn is_away(failure: &Failure) -> bool {
    failure.is_unreachable() || matches!(failure, Failure::OutcomeUnknown { .. })
}

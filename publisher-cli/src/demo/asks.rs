//! What pages ask: `demo.ask` is followed, likes are counted, jobs run, questions answered. All of it bounded: what is
//! beyond the bounds, stale, or no ask at all is told in the log and left alone.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, pending};
use futures_util::stream::FuturesUnordered;
use sluice_wire::{Channel, Position};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::contract::{self, Envelope, Notice, Question};
use super::likes::Tally;
use super::outbox::Outbox;
use super::{Ended, RETRY_FIRST, RETRY_MOST, answers, away, jobs, note};
use crate::args::{Link, Start};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::tail::{self, Printer};

/// A question or a job that was asked longer ago than this is not taken up: whoever asked has gone on.
pub const FRESH: Duration = Duration::from_secs(15);
/// Asks that wait to be looked at.
const QUEUE_ASKS: usize = 512;
const ANSWERS_AT_ONCE: usize = 16;
const JOBS_AT_ONCE: usize = 3;
/// With nothing asked for, a job begins by itself this long after the last one.
const JOB_PAUSE: Duration = Duration::from_secs(12);

/// What was asked.
#[derive(Debug, PartialEq)]
enum Ask {
    Like,
    Job,
    Question { channel: Channel, question: String },
}

/// Follows `demo.ask` from `begin` and does what is asked there.
pub async fn answer(
    link: Link,
    begin: Start,
    outbox: &Outbox,
    tally: watch::Sender<Tally>,
) -> Ended {
    let (queue, lines) = mpsc::channel(QUEUE_ASKS);
    tokio::try_join!(follow(link, begin, queue), work(lines, outbox, tally)).map(|(never, _)| never)
}

/// Hands on the events of `demo.ask`. A tail comes back by itself once it was connected; until then it is begun anew.
async fn follow(link: Link, begin: Start, queue: mpsc::Sender<Vec<u8>>) -> Ended {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    loop {
        let channels = vec![contract::channel(contract::ASK)?];
        let printer = Printer::to_queue(queue.clone());
        match tail::follow(link.clone(), channels, begin.clone(), true, printer).await {
            Ok(()) => return Err(Failure::failed("nobody takes in what is asked any more")),
            Err(failure) if failure.is_unreachable() => away(&failure),
            Err(failure) => return Err(failure),
        }
        sleep(backoff.next_wait()).await;
    }
}

async fn work(
    mut lines: mpsc::Receiver<Vec<u8>>,
    outbox: &Outbox,
    tally: watch::Sender<Tally>,
) -> Ended {
    let mut answering = FuturesUnordered::new();
    let mut running = FuturesUnordered::new();
    let mut next_job = Instant::now();
    loop {
        let idle = if running.is_empty() {
            Either::Left(sleep_until(next_job))
        } else {
            Either::Right(pending())
        };
        tokio::select! {
            line = lines.recv() => {
                let line = line.ok_or_else(|| Failure::failed("demo.ask is not followed any more"))?;
                let Some((ask, place)) = read(&line) else { continue };
                match ask {
                    Ask::Like => tally.send_modify(|tally| {
                        tally.count += 1;
                        tally.after = Some(place.to_string());
                    }),
                    _ if is_stale(place) => note("left alone: it was asked while the demo was away"),
                    Ask::Job if running.len() < JOBS_AT_ONCE => {
                        running.push(run_job(outbox, format!("job-{}", place.id())));
                    }
                    Ask::Job => refuse_job(outbox)?,
                    Ask::Question { channel, question } => {
                        let text = if answering.len() < ANSWERS_AT_ONCE {
                            answers::to(&question)
                        } else {
                            answers::BUSY
                        };
                        if answering.len() < 2 * ANSWERS_AT_ONCE {
                            answering.push(answers::speak(outbox, channel, place, text));
                        } else {
                            note("too many questions at once: one is not answered");
                        }
                    }
                }
            }
            Some(ended) = answering.next() => ended?,
            Some(ended) = running.next() => {
                ended?;
                next_job = Instant::now() + JOB_PAUSE;
            }
            () = idle => running.push(run_job(outbox, format!("job-{:08x}", rand::random::<u32>()))),
        }
    }
}

async fn run_job(outbox: &Outbox, id: String) -> Result<(), Failure> {
    jobs::run(outbox, &id).await
}

fn refuse_job(outbox: &Outbox) -> Result<(), Failure> {
    let notice = Notice {
        title: "No job was begun",
        text: "Three are running already.",
        level: "warn",
    };
    outbox.offer(contract::NOTICES, "notice", &notice)
}

/// Whether it was asked too long ago. A clock that is behind Redis's makes nothing stale.
fn is_stale(asked: Position) -> bool {
    let age_ms = contract::now_ms().saturating_sub(asked.id().ms);
    age_ms > u64::try_from(FRESH.as_millis()).unwrap_or(u64::MAX)
}

/// What the line asks, and where it stands in `demo.ask`. What is no ask is told.
fn read(line: &[u8]) -> Option<(Ask, Position)> {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else {
        note("left alone: an event on demo.ask that cannot be read");
        return None;
    };
    let place = envelope.id.as_deref().and_then(|id| id.parse().ok());
    match (ask(&envelope), place) {
        (Ok(ask), Some(place)) => Some((ask, place)),
        (Err(why), _) => {
            note(&format!("left alone: {why}"));
            None
        }
        (Ok(_), None) => {
            note("left alone: an event on demo.ask that has no place in its history");
            None
        }
    }
}

fn ask(envelope: &Envelope) -> Result<Ask, String> {
    match envelope.r#type.as_deref() {
        Some("like") => Ok(Ask::Like),
        Some("job") => Ok(Ask::Job),
        Some("question") => {
            let asked: Question = serde_json::from_str(&envelope.data)
                .map_err(|error| format!("a question that cannot be read: {error}"))?;
            let own = asked.channel.strip_prefix(contract::ANSWERS);
            if own.is_none_or(|own| own.is_empty() || own.contains('.')) {
                let most = asked.channel.chars().take(80).collect::<String>();
                return Err(format!(
                    "a question to be answered on `{most}`, which is no {}*",
                    contract::ANSWERS
                ));
            }
            let channel = Channel::parse(&asked.channel)
                .map_err(|error| format!("a question to be answered on no channel: {error}"))?;
            Ok(Ask::Question {
                channel,
                question: asked.question,
            })
        }
        Some(other) => {
            let other = other.chars().take(80).collect::<String>();
            Err(format!("`{other}`, which nobody here knows how to do"))
        }
        None => Err("an event without a type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(event_type: Option<&str>, data: &str) -> Result<Ask, String> {
        ask(&Envelope {
            id: None,
            r#type: event_type.map(str::to_owned),
            event_id: None,
            data: data.to_owned(),
        })
    }

    #[test]
    fn a_question_is_answered_only_on_a_channel_for_answers() {
        let question = |channel: &str| {
            let data = serde_json::json!({ "channel": channel, "question": "why?" });
            asked(Some("question"), &data.to_string())
        };
        let good = question("demo.answer.f00-1");
        assert!(matches!(good, Ok(Ask::Question { channel, question })
            if channel.as_str() == "demo.answer.f00-1" && question == "why?"));
        for other in [
            "orders",
            "demo.prices",
            "demo.answer",
            "demo.answer.",
            "demo.answer.a.b",
            "demo.answer.a b",
            "demo.answers.a",
            "x.demo.answer.a",
            "",
        ] {
            assert!(question(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_no_ask_is_told() {
        assert_eq!(asked(Some("like"), "anything"), Ok(Ask::Like));
        assert_eq!(asked(Some("job"), "{}"), Ok(Ask::Job));
        assert!(asked(Some("dance"), "{}").is_err());
        assert!(asked(Some("question"), "{}").is_err());
        assert!(asked(Some("question"), "no JSON").is_err());
        assert!(asked(None, "{}").is_err());
        assert!(read(b"no JSON").is_none());
        let no_place =
            br#"{"channel":"demo.ask","id":null,"type":"like","event_id":null,"data":"{}"}"#;
        assert!(read(no_place).is_none());
    }
}

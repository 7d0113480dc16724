//! `sluice publish`: events from the command line or standard input, in order, a batch in flight at a time.
//! Each event's position goes to standard output; what failed goes to standard error and spoils no other.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sluice_wire::{Channel, Position, TraceContext};
use tokio::sync::mpsc;

use crate::args::{Link, Publish, Source};
use crate::failure::Failure;
use crate::gateway_publish::GatewayPublisher;
use crate::ndjson::{self, INPUT_BYTES, Line};
use crate::notice::{Notice, tell};
use crate::output::Output;
use crate::pace::Pace;
use crate::redis_publish::RedisPublisher;

/// One batch's bounds: how much is on its way, unanswered, at any time.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its line of standard input, counted from 1.
    pub line: Option<u64>,
    pub channel: Channel,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    /// UTF-8.
    pub data: Vec<u8>,
    pub traceparent: Option<TraceContext>,
}

/// An event that was published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub position: Position,
    /// Its id had been published before, and this is the first position. Only the gateway says so.
    pub repeated: bool,
}

/// What became of one event.
pub type Outcome = Result<Published, Failure>;

/// Either way to publish.
pub enum Publisher {
    Redis(Box<RedisPublisher>),
    Gateway(GatewayPublisher),
}

impl Publisher {
    /// # Errors
    /// As [`GatewayPublisher::new`].
    pub fn new(link: Link) -> Result<Publisher, Failure> {
        Ok(match link {
            Link::Redis(address) => Publisher::Redis(Box::new(RedisPublisher::new(address))),
            Link::Gateway(address) => Publisher::Gateway(GatewayPublisher::new(address)?),
        })
    }

    /// What became of each event of `batch`, in its order. Events of one channel are published in order.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Vec<Outcome> {
        match self {
            Publisher::Redis(publisher) => publisher.publish(batch).await,
            Publisher::Gateway(publisher) => publisher.publish(batch).await,
        }
    }
}

/// Publishes what the command line says.
///
/// # Errors
/// The one event's failure, or for a batch how many of it failed, or what ended it early.
pub async fn run(job: Publish) -> Result<(), Failure> {
    let mut publisher = Publisher::new(job.link)?;
    let mut receipts = Receipts::new(job.json);
    match job.source {
        Source::One {
            channel,
            event_type,
            event_id,
            data,
            traceparent,
        } => {
            let data = match data {
                Some(data) => data.into_bytes(),
                // Off this thread: Ctrl-C must be heard while a terminal is waited for.
                None => tokio::task::spawn_blocking(standard_input)
                    .await
                    .map_err(|error| {
                        Failure::failed(format!("cannot read standard input: {error}"))
                    })??,
            };
            let event = Outgoing {
                line: None,
                channel,
                event_type,
                event_id,
                data,
                traceparent,
            };
            let outcome = publisher.publish(std::slice::from_ref(&event)).await;
            for outcome in outcome {
                receipts.published(&event, outcome?)?;
            }
            receipts.flush()
        }
        Source::Ndjson {
            channel,
            event_type,
            traceparent,
        } => {
            receipts.show_progress();
            let lines = ndjson::read(
                std::io::stdin(),
                ndjson::Defaults {
                    channel,
                    event_type,
                    traceparent,
                },
            );
            publish_lines(&mut publisher, lines, Pace::new(job.rate), receipts).await
        }
    }
}

/// All of standard input as one event's data.
fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    std::io::stdin()
        .take(INPUT_BYTES as u64 + 1)
        .read_to_end(&mut data)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if data.len() > INPUT_BYTES {
        return Err(Failure::Failed {
            what: format!("standard input holds more than {INPUT_BYTES} bytes"),
            hint: Some("one event is that of all input; for one event a line use --ndjson".into()),
        });
    }
    match std::str::from_utf8(&data) {
        Ok(_) => Ok(data),
        Err(error) => Err(Failure::Failed {
            what: format!(
                "standard input is not UTF-8 at byte {}",
                error.valid_up_to()
            ),
            hint: Some("an event's data is text; encode bytes, for instance as base64".into()),
        }),
    }
}

async fn publish_lines(
    publisher: &mut Publisher,
    mut lines: mpsc::Receiver<Line>,
    mut pace: Pace,
    mut receipts: Receipts,
) -> Result<(), Failure> {
    while let Some(first) = lines.recv().await {
        let due = pace.due(BATCH_EVENTS).await;
        let mut batch = Vec::new();
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(line) = next.take() {
            match line {
                Ok(event) => {
                    bytes += event.data.len();
                    batch.push(event);
                }
                Err(bad) => receipts.failed(Some(bad.number), &Failure::failed(bad.what)),
            }
            if batch.len() < due && bytes < BATCH_BYTES {
                next = lines.try_recv().ok();
            }
        }
        pace.spent(batch.len());
        let outcomes = publisher.publish(&batch).await;
        let mut ended = None;
        for (event, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Ok(published) => receipts.published(event, published)?,
                Err(failure) if failure.ends_the_batch() => {
                    ended.get_or_insert((event.line, failure));
                }
                Err(failure) => receipts.failed(event.line, &failure),
            }
        }
        if let Some((line, failure)) = ended {
            return Err(receipts.ended(line, failure));
        }
        receipts.flush()?;
    }
    receipts.finish()
}

/// Tells of each event: positions on standard output, failures and progress on standard error.
struct Receipts {
    output: Output,
    json: bool,
    /// Hidden unless standard error is a terminal.
    progress: ProgressBar,
    published: u64,
    failed: u64,
}

impl Receipts {
    fn new(json: bool) -> Receipts {
        Receipts {
            output: Output::new(),
            json,
            progress: ProgressBar::hidden(),
            published: 0,
            failed: 0,
        }
    }

    fn published(&mut self, event: &Outgoing, published: Published) -> Result<(), Failure> {
        self.published += 1;
        self.progress.inc(1);
        let position = published.position.to_string();
        if !self.json {
            return self.output.line(position.as_bytes());
        }
        let mut object = serde_json::Map::new();
        object.insert("channel".into(), event.channel.as_str().into());
        object.insert("id".into(), position.into());
        if let Some(line) = event.line {
            object.insert("line".into(), line.into());
        }
        if published.repeated {
            object.insert("repeated".into(), true.into());
        }
        self.output
            .line(serde_json::Value::Object(object).to_string().as_bytes())
    }

    fn failed(&mut self, line: Option<u64>, failure: &Failure) {
        self.failed += 1;
        let told = failure.told(line, self.json);
        self.progress.suspend(|| tell(&told));
    }

    /// Positions are handed on batch by batch, so that a reader learns of them while the input goes on.
    fn flush(&mut self) -> Result<(), Failure> {
        self.progress.suspend(|| self.output.flush())
    }
    /// What ended the batch, after telling how far it came; `line` is the first that was not published for it.
    fn ended(&mut self, line: Option<u64>, failure: Failure) -> Failure {
        if let Err(unwritten) = self.flush() {
            return unwritten;
        }
        self.progress.finish_and_clear();
        let how_far = format!(
            "stopped at line {}: {} events were published, {} failed before",
            line.unwrap_or_default(),
            self.published,
            self.failed
        );
        Notice::Note(how_far).tell(self.json);
        failure
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.progress.finish_and_clear();
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::SomeFailed {
                failed,
                total: failed + self.published,
            }),
        }
    }

    /// A line that counts events, on a terminal only.
    fn show_progress(&mut self) {
        if std::io::stderr().is_terminal() {
            self.progress = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} {human_pos} published, {per_sec}, {elapsed}",
            ) {
                self.progress.set_style(style);
            }
            self.progress.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

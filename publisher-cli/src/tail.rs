//! `sluice tail`: events to standard output as they come; resets, closes and reconnects to standard error.

use std::num::NonZeroU64;

use sluice_wire::Channel;
use tokio::sync::mpsc;

use crate::args::{Link, Start, Tail};
use crate::explain::Explainer;
use crate::failure::Failure;
use crate::notice::Notice;
use crate::output::Output;
use crate::{gateway_tail, redis_tail};

/// Follows the channels until enough events came, the reader went away, or for ever.
///
/// # Errors
/// The server cannot be reached at first, or refuses. A connection lost later is opened again.
pub async fn run(job: Tail) -> Result<(), Failure> {
    let printer = Printer {
        sink: Sink::Output(Output::new()),
        left: job.count,
        json: job.json,
    };
    match (job.link, job.explain) {
        (Link::Gateway(address), Some(explain)) => {
            let explainer = Explainer::new(explain)?;
            let (channels, start) = (job.channels, job.start);
            gateway_tail::explain(address, channels, start, job.json, printer, explainer).await
        }
        (link, _) => follow(link, job.channels, job.start, job.json, printer).await,
    }
}

/// Hands the channels' events to `printer` until it has enough.
///
/// # Errors
/// As [`run`].
pub async fn follow(
    link: Link,
    channels: Vec<Channel>,
    start: Start,
    json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    match link {
        Link::Redis(address) => redis_tail::follow(address, channels, start, json, printer).await,
        Link::Gateway(address) => {
            gateway_tail::follow(address, channels, start, json, printer).await
        }
    }
}

/// Hands on events and knows when to stop.
pub struct Printer {
    sink: Sink,
    left: Option<NonZeroU64>,
    json: bool,
}

/// Where the lines of events go.
enum Sink {
    Output(Output),
    /// Another part of this program. A line for which it has no room is dropped, and that is told.
    Queue(mpsc::Sender<Vec<u8>>),
}

/// Whether a tail goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    More,
    Stop,
}

impl Printer {
    /// A printer that hands its lines to `queue`, until its receiver is gone.
    pub fn to_queue(queue: mpsc::Sender<Vec<u8>>) -> Printer {
        Printer {
            sink: Sink::Queue(queue),
            left: None,
            json: false,
        }
    }

    /// Prints one event's line. After [`Next::Stop`] nothing more is to be printed.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn event(&mut self, line: &[u8]) -> Result<Next, Failure> {
        match &mut self.sink {
            Sink::Output(output) => output.line(line)?,
            Sink::Queue(queue) => {
                if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(line.to_vec()) {
                    self.notice(&Notice::Note(
                        "more events than can be taken in: one was dropped".into(),
                    ))?;
                }
            }
        }
        if let Some(left) = self.left {
            self.left = NonZeroU64::new(left.get() - 1);
            if self.left.is_none() {
                return self.flush().map(|_| Next::Stop);
            }
        }
        Ok(self.next())
    }

    /// Hands on what was printed: to be called before every wait.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn flush(&mut self) -> Result<Next, Failure> {
        if let Sink::Output(output) = &mut self.sink {
            output.flush()?;
        }
        Ok(self.next())
    }

    fn next(&self) -> Next {
        let closed = match &self.sink {
            Sink::Output(output) => output.is_closed(),
            Sink::Queue(queue) => queue.is_closed(),
        };
        if closed { Next::Stop } else { Next::More }
    }

    /// Tells of something that is no event, after all events before it.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        self.flush().map(drop)?;
        notice.tell(self.json);
        Ok(())
    }
}

/// An event's line in JSON: its envelope, and before that the cursor to go on with; `null` when there is none yet.
pub fn ndjson_line(cursor: &str, envelope: &[u8]) -> Vec<u8> {
    let cursor = (!cursor.is_empty()).then_some(cursor);
    let mut line = b"{\"cursor\":".to_vec();
    // A text always serializes.
    line.extend(serde_json::to_vec(&cursor).unwrap_or_default());
    line.push(b',');
    line.extend(envelope.strip_prefix(b"{").unwrap_or(envelope));
    line
}

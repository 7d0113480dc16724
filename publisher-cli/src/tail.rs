//! `sluice tail`: events to standard output as they come; resets, closes and reconnects to standard error.

use std::num::NonZeroU64;

use crate::args::{Link, Tail};
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
        output: Output::new(),
        left: job.count,
        json: job.json,
    };
    match job.link {
        Link::Redis(address) => {
            redis_tail::follow(address, job.channels, job.start, job.json, printer).await
        }
        Link::Gateway(address) => {
            gateway_tail::follow(address, job.channels, job.start, job.json, printer).await
        }
    }
}

/// Prints events and knows when to stop.
pub struct Printer {
    output: Output,
    left: Option<NonZeroU64>,
    json: bool,
}

/// Whether a tail goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    More,
    Stop,
}

impl Printer {
    /// Prints one event's line. After [`Next::Stop`] nothing more is to be printed.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn event(&mut self, line: &[u8]) -> Result<Next, Failure> {
        self.output.line(line)?;
        if let Some(left) = self.left {
            self.left = NonZeroU64::new(left.get() - 1);
            if self.left.is_none() {
                self.output.flush()?;
                return Ok(Next::Stop);
            }
        }
        Ok(if self.output.is_closed() {
            Next::Stop
        } else {
            Next::More
        })
    }

    /// Hands on what was printed: to be called before every wait.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn flush(&mut self) -> Result<Next, Failure> {
        self.output.flush()?;
        Ok(if self.output.is_closed() {
            Next::Stop
        } else {
            Next::More
        })
    }

    /// Tells of something that is no event, after all events before it.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        self.output.flush()?;
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

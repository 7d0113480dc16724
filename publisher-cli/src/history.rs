//! `sluice history`: the kept events of one channel to standard output, oldest first, up to where the channel stood
//! when it was first looked at. What the history cannot prove goes to standard error as a reset.

use std::num::NonZeroU64;

use sluice_wire::sse::{EventView, envelope_json};
use sluice_wire::{Channel, Position};

use crate::args::{History, Link, Start};
use crate::failure::{Failure, printable};
use crate::notice::{Notice, Reset};
use crate::output::Output;
use crate::tail::Next;
use crate::{gateway_history, redis_history};

/// Prints what is kept, or the part of it that was asked for.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn run(job: History) -> Result<(), Failure> {
    if matches!(job.start, Start::Last(0)) {
        return Ok(());
    }
    let mut printer = Printer {
        channel: job.channel,
        output: Output::new(),
        left: job.limit.map(NonZeroU64::get),
        json: job.json,
        last: None,
    };
    let outcome = match job.link {
        Link::Redis(address) => redis_history::read(address, &job.start, &mut printer).await,
        Link::Gateway(address) => gateway_history::read(address, &job.start, &mut printer).await,
    };
    printer.output.flush()?;
    if let (Err(failure), Some(last)) = (&outcome, printer.last)
        && failure.is_unreachable()
    {
        printer.more(last)?;
    }
    outcome
}

/// Prints the events of one channel and knows when to stop.
pub struct Printer {
    pub channel: Channel,
    output: Output,
    /// How many more may be printed.
    left: Option<u64>,
    json: bool,
    last: Option<Position>,
}

impl Printer {
    /// How many more events are wanted, at most `most`.
    pub fn wanted(&self, most: u64) -> u64 {
        self.left.map_or(most, |left| left.min(most))
    }

    /// Prints one event. After [`Next::Stop`] nothing more is to be printed.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn event(&mut self, position: Position, event: &EventView<'_>) -> Result<Next, Failure> {
        let id = position.to_string();
        if self.json {
            let line = envelope_json(&self.channel, &id, event);
            self.output.line(&line)?;
        } else {
            let data = printable(&String::from_utf8_lossy(event.data));
            let line = format!("{id}\t{}\t{data}", event.event_type.unwrap_or("-"));
            self.output.line(line.as_bytes())?;
        }
        self.last = Some(position);
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) || self.output.is_closed() {
            Next::Stop
        } else {
            Next::More
        })
    }

    /// Tells that there is more after `position`, unless nobody reads on.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn more(&mut self, position: Position) -> Result<(), Failure> {
        self.output.flush()?;
        if self.output.is_closed() {
            return Ok(());
        }
        self.notice(&Notice::More {
            channel: self.channel.to_string(),
            cursor: position.to_string(),
        })
    }

    /// Tells that events may be missing between two places.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn reset(
        &mut self,
        reason: &str,
        from: Option<Position>,
        to: Option<Position>,
    ) -> Result<(), Failure> {
        let reset = Reset::new(&self.channel, reason, from, to);
        self.notice(&Notice::Reset(reset))
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

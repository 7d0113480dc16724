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
        sink: Sink::Output(Output::new()),
        left: job.limit.map(NonZeroU64::get),
        json: job.json,
        last: None,
    };
    let outcome = read(job.link, &job.start, &mut printer).await;
    printer.flush()?;
    if let (Err(failure), Some(last)) = (&outcome, printer.last)
        && failure.is_unreachable()
    {
        printer.more(last)?;
    }
    outcome
}

/// The last kept event of a channel as an envelope; `None` where there is none.
///
/// # Errors
/// As [`run`].
pub async fn last_event(link: Link, channel: Channel) -> Result<Option<Vec<u8>>, Failure> {
    let mut printer = Printer {
        channel,
        sink: Sink::Latest(None),
        left: None,
        json: true,
        last: None,
    };
    read(link, &Start::Last(1), &mut printer).await?;
    match printer.sink {
        Sink::Latest(line) => Ok(line),
        Sink::Output(_) => Ok(None),
    }
}

async fn read(link: Link, start: &Start, printer: &mut Printer) -> Result<(), Failure> {
    match link {
        Link::Redis(address) => redis_history::read(address, start, printer).await,
        Link::Gateway(address) => gateway_history::read(address, start, printer).await,
    }
}

/// Where the lines of events go.
enum Sink {
    Output(Output),
    /// Kept here, each in the place of the one before it.
    Latest(Option<Vec<u8>>),
}

/// Prints the events of one channel and knows when to stop.
pub struct Printer {
    pub channel: Channel,
    sink: Sink,
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
        let line = if self.json {
            envelope_json(&self.channel, &id, event)
        } else {
            let data = printable(&String::from_utf8_lossy(event.data));
            format!("{id}\t{}\t{data}", event.event_type.unwrap_or("-")).into_bytes()
        };
        match &mut self.sink {
            Sink::Output(output) => output.line(&line)?,
            Sink::Latest(latest) => *latest = Some(line),
        }
        self.last = Some(position);
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) || self.is_closed() {
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
        self.flush()?;
        if self.is_closed() {
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
        self.flush()?;
        notice.tell(self.json);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Output(output) => output.flush(),
            Sink::Latest(_) => Ok(()),
        }
    }

    fn is_closed(&self) -> bool {
        match &self.sink {
            Sink::Output(output) => output.is_closed(),
            Sink::Latest(_) => false,
        }
    }
}

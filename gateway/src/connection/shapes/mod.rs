//! The shapes in which the same stream leaves: Server-Sent Events, NDJSON, and
//! the one page of a poll. A [`Sheet`] is what one pull writes, in its shape.

pub mod lines;
pub mod page;
pub mod sse;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::blocks::Notice;
use super::chunk::Chunk;
use crate::hub::exchange::Reset;
use crate::hub::frame::{EphemeralFrame, EventFrame, Format};
use page::Page;

/// What a reader wants the stream to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Server-Sent Events; `data:` is the publisher's data, or with `envelope` an object.
    EventStream { envelope: bool },
    /// A JSON object a line.
    Ndjson,
    /// One JSON object, as soon as there is something to tell.
    Poll(PollTerms),
}

/// The bounds of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTerms {
    /// How long it waits for a first event.
    pub timeout: Duration,
    /// Events of one answer.
    pub events: u32,
    /// Bytes of the events of one answer, unless a single one is larger.
    pub bytes: u32,
}

impl Shape {
    /// The stable text for the log.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Shape::EventStream { envelope: false } => "event_stream",
            Shape::EventStream { envelope: true } => "envelope",
            Shape::Ndjson => "ndjson",
            Shape::Poll(_) => "poll",
        }
    }

    /// How this shape wants its events encoded.
    #[must_use]
    pub fn format(self) -> Format {
        match self {
            Shape::EventStream { envelope: false } => Format::Plain,
            Shape::EventStream { envelope: true } => Format::Envelope,
            Shape::Ndjson | Shape::Poll(_) => Format::Ndjson,
        }
    }
}

/// What one pull writes.
#[derive(Debug)]
pub struct Sheet {
    shape: Shape,
    chunk: Chunk,
    /// Bytes from which on nothing is added.
    enough: usize,
    page: Page,
}

impl Sheet {
    /// An empty one; a stream's is full at `chunk_bytes`, a poll's at its own bounds.
    #[must_use]
    pub fn new(shape: Shape, chunk_bytes: usize) -> Sheet {
        Sheet {
            shape,
            chunk: Chunk::default(),
            enough: chunk_bytes,
            page: Page::default(),
        }
    }

    /// Whether there is room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => self.chunk.len() < self.enough,
            Shape::Poll(terms) => self.page.has_room(&terms),
        }
    }

    /// Whether an event may be added whose tail is what `tail` gives. A poll that has
    /// no room for it is full, so that nothing overtakes it.
    pub fn admits(&mut self, tail: impl FnOnce(Format) -> Bytes) -> bool {
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => true,
            Shape::Poll(terms) => {
                let element = page::element_bytes(&tail(self.shape.format()));
                self.page.admits(self.chunk.len(), element, &terms)
            }
        }
    }

    /// Whether an event was left to the next poll for its bytes.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.page.is_cut()
    }

    /// What a quiet connection is kept alive with; also its first bytes.
    pub fn heartbeat(&mut self) {
        match self.shape {
            Shape::EventStream { .. } => self.push(sse::HEARTBEAT),
            Shape::Ndjson => self.push(lines::HEARTBEAT),
            Shape::Poll(_) => {}
        }
    }

    /// An event on a stream of its channel alone, whose cursor is the event's position.
    pub fn event(&mut self, frame: &EventFrame) {
        let format = self.shape.format();
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => self.chunk.push(frame.block(format)),
            Shape::Poll(_) => self.element(&frame.tail(format)),
        }
    }

    /// An event on a stream of several channels.
    pub fn event_among_others(&mut self, frame: &EventFrame, cursor: impl FnOnce() -> BytesMut) {
        self.tail(frame.tail(self.shape.format()), cursor);
    }

    /// An event without a place.
    pub fn ephemeral(&mut self, frame: &EphemeralFrame, cursor: impl FnOnce() -> BytesMut) {
        self.tail(frame.tail(self.shape.format()), cursor);
    }

    /// A reset in its place among the events.
    pub fn reset(&mut self, notice: &Notice<'_>, reset: &Reset, cursor: impl FnOnce() -> BytesMut) {
        match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => self.notice(notice, &cursor()),
            Shape::Poll(_) => {
                self.page.count();
                page::write_reset(notice, reset, self.chunk.buffer());
            }
        }
    }

    /// Any other block of Sluice's own; a poll has none.
    pub fn notice(&mut self, notice: &Notice<'_>, cursor: &[u8]) {
        match self.shape {
            Shape::EventStream { .. } => sse::write_notice(notice, cursor, self.chunk.buffer()),
            Shape::Ndjson => lines::write_notice(notice, cursor, self.chunk.buffer()),
            Shape::Poll(_) => {}
        }
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// The bytes, of a stream.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        self.chunk.freeze()
    }

    /// The whole answer, of a poll that stands at `cursor`.
    #[must_use]
    pub fn answer(self, cursor: &[u8]) -> Bytes {
        page::answer(cursor, &self.chunk.freeze())
    }

    fn tail(&mut self, tail: Bytes, cursor: impl FnOnce() -> BytesMut) {
        match self.shape {
            Shape::EventStream { .. } => sse::write_id(&cursor(), self.chunk.buffer()),
            Shape::Ndjson => lines::write_cursor(&cursor(), self.chunk.buffer()),
            Shape::Poll(_) => return self.element(&tail),
        }
        self.chunk.push(tail);
    }

    fn element(&mut self, tail: &[u8]) {
        self.page.count();
        page::write_event(tail, self.chunk.buffer());
    }

    fn push(&mut self, bytes: &'static [u8]) {
        self.chunk.push(Bytes::from_static(bytes));
    }
}

//! Events encoded once per node and shared by every connection that sends them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::position::Position;
use sluice_wire::trace::TraceContext;
use sluice_wire::{ndjson, sse};

/// How a connection wants its events written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `data:` is the publisher's data.
    #[default]
    Plain,
    /// `data:` is a JSON object that names the channel too.
    Envelope,
    /// That object, with the cursor before its members, is a line.
    Ndjson,
}

/// An event of the chain and its bytes on the wire.
#[derive(Debug)]
pub struct EventFrame {
    pub position: Position,
    pub prev: Position,
    plain: Encoded,
    envelope: OnceLock<Encoded>,
    ndjson: OnceLock<Encoded>,
    channel: Channel,
    event: Event,
    handing: Handing,
}

/// How many streams an event has been handed to, and by how many it still is to be.
#[derive(Debug)]
struct Handing {
    left: AtomicUsize,
    streams: AtomicUsize,
}

/// A block or line: its own place first, then the part that every connection shares.
#[derive(Clone, Debug)]
struct Encoded {
    block: Bytes,
    tail_at: usize,
}

impl EventFrame {
    /// Encodes an event of the given channel.
    #[must_use]
    pub fn new(channel: &Channel, event: Event) -> Arc<EventFrame> {
        let plain = Encoded::new(event.position, event.event_type.as_deref(), &event.data);
        Arc::new(EventFrame {
            position: event.position,
            prev: event.prev,
            plain,
            envelope: OnceLock::new(),
            ndjson: OnceLock::new(),
            channel: channel.clone(),
            event,
            handing: Handing {
                // Whoever made it.
                left: AtomicUsize::new(1),
                streams: AtomicUsize::new(0),
            },
        })
    }

    /// The trace that the event belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.event.traceparent
    }

    /// One more is going to hand out an event that belongs to a trace, and will say so with [`EventFrame::handed_to`].
    pub fn expect_one(&self) {
        if self.event.traceparent.is_some() {
            self.handing.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The caller has handed it to so many streams, or, as who made it, to all who hand it out. The last of them learns the
    /// sum, if the event belongs to a trace.
    #[must_use]
    pub fn handed_to(&self, streams: usize) -> Option<usize> {
        self.event.traceparent?;
        let Handing { left, streams: all } = &self.handing;
        all.fetch_add(streams, Ordering::Relaxed);
        let was_last = left.fetch_sub(1, Ordering::AcqRel) == 1;
        was_last.then(|| all.load(Ordering::Relaxed))
    }

    /// The whole block, with the event's own position as its id or cursor: one channel's stream.
    #[must_use]
    pub fn block(&self, format: Format) -> Bytes {
        self.encoded(format).block.clone()
    }

    /// The block without its own place: a stream of several channels writes its cursor there.
    #[must_use]
    pub fn tail(&self, format: Format) -> Bytes {
        let encoded = self.encoded(format);
        encoded.block.slice(encoded.tail_at..)
    }

    /// Bytes that this frame keeps alive, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.plain.block.len() + self.event.data.len() + size_of::<EventFrame>()
    }

    fn encoded(&self, format: Format) -> &Encoded {
        match format {
            Format::Plain => &self.plain,
            Format::Envelope => self.envelope.get_or_init(|| {
                let json =
                    sse::envelope_json(&self.channel, &self.position.to_string(), &self.view());
                Encoded::new(self.position, self.event.event_type.as_deref(), &json)
            }),
            Format::Ndjson => self.ndjson.get_or_init(|| {
                let id = self.position.to_string();
                let mut line = BytesMut::with_capacity(self.event.data.len() + 192);
                ndjson::write_cursor(id.as_bytes(), &mut line);
                let tail_at = line.len();
                ndjson::write_event_tail(&self.channel, &id, &self.view(), &mut line);
                Encoded {
                    block: line.freeze(),
                    tail_at,
                }
            }),
        }
    }

    fn view(&self) -> sse::EventView<'_> {
        sse::EventView {
            event_type: self.event.event_type.as_deref(),
            event_id: self.event.event_id.as_deref(),
            data: &self.event.data,
            traceparent: self.event.traceparent,
        }
    }
}

impl Encoded {
    fn new(position: Position, event_type: Option<&str>, data: &[u8]) -> Encoded {
        let mut block = BytesMut::with_capacity(data.len() + 96);
        sse::write_id_line(position.to_string().as_bytes(), &mut block);
        let tail_at = block.len();
        sse::write_event_tail(event_type, data, &mut block);
        Encoded {
            block: block.freeze(),
            tail_at,
        }
    }
}

/// An event without position or history; each connection repeats its current id.
#[derive(Debug)]
pub struct EphemeralFrame {
    plain: Bytes,
    envelope: OnceLock<Bytes>,
    ndjson: OnceLock<Bytes>,
    channel: Channel,
    data: Bytes,
}

impl EphemeralFrame {
    /// Encodes what a plain `PUBLISH` carried; `data` is valid UTF-8.
    #[must_use]
    pub fn new(channel: &Channel, data: Bytes) -> Arc<EphemeralFrame> {
        let mut plain = BytesMut::with_capacity(data.len() + 16);
        sse::write_event_tail(None, &data, &mut plain);
        Arc::new(EphemeralFrame {
            plain: plain.freeze(),
            envelope: OnceLock::new(),
            ndjson: OnceLock::new(),
            channel: channel.clone(),
            data,
        })
    }

    /// The block without a place: each stream writes its cursor there.
    #[must_use]
    pub fn tail(&self, format: Format) -> Bytes {
        match format {
            Format::Plain => self.plain.clone(),
            Format::Envelope => self.envelope.get_or_init(|| self.enveloped()).clone(),
            Format::Ndjson => self.ndjson.get_or_init(|| self.line()).clone(),
        }
    }

    /// Bytes that this frame keeps alive, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.plain.len() + self.data.len() + size_of::<EphemeralFrame>()
    }

    fn enveloped(&self) -> Bytes {
        let json = sse::envelope_json(&self.channel, "", &self.view());
        let mut tail = BytesMut::with_capacity(json.len() + 16);
        sse::write_event_tail(None, &json, &mut tail);
        tail.freeze()
    }

    fn line(&self) -> Bytes {
        let mut tail = BytesMut::with_capacity(self.data.len() + 128);
        ndjson::write_event_tail(&self.channel, "", &self.view(), &mut tail);
        tail.freeze()
    }

    fn view(&self) -> sse::EventView<'_> {
        sse::EventView {
            event_type: None,
            event_id: None,
            data: &self.data,
            traceparent: None,
        }
    }
}

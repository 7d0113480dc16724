//! Events encoded once per node and shared by every connection that sends them.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use sluice_wire::channel::Channel;
use sluice_wire::event::Event;
use sluice_wire::position::Position;
use sluice_wire::sse;

/// How a connection wants its events written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `data:` is the publisher's data.
    #[default]
    Plain,
    /// `data:` is a JSON object that names the channel too.
    Envelope,
}

/// An event of the chain and its bytes on the wire.
#[derive(Debug)]
pub struct EventFrame {
    pub position: Position,
    pub prev: Position,
    plain: Encoded,
    envelope: OnceLock<Encoded>,
    channel: Channel,
    event: Event,
}

/// A block: its own `id:` line, then the part that every connection shares.
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
            channel: channel.clone(),
            event,
        })
    }

    /// The whole block, with the event's own position as its id: one channel's stream.
    #[must_use]
    pub fn block(&self, format: Format) -> Bytes {
        self.encoded(format).block.clone()
    }

    /// The block without its `id:` line: a stream of several channels writes its own.
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
                let id = self.position.to_string();
                let event = &self.event;
                let view = sse::EventView {
                    event_type: event.event_type.as_deref(),
                    event_id: event.event_id.as_deref(),
                    data: &event.data,
                };
                let json = sse::envelope_json(&self.channel, &id, &view);
                Encoded::new(self.position, event.event_type.as_deref(), &json)
            }),
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
            channel: channel.clone(),
            data,
        })
    }

    /// The block without its `id:` line.
    #[must_use]
    pub fn tail(&self, format: Format) -> Bytes {
        match format {
            Format::Plain => self.plain.clone(),
            Format::Envelope => self.envelope.get_or_init(|| self.enveloped()).clone(),
        }
    }

    /// Bytes that this frame keeps alive, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.plain.len() + self.data.len() + size_of::<EphemeralFrame>()
    }

    fn enveloped(&self) -> Bytes {
        let view = sse::EventView {
            event_type: None,
            event_id: None,
            data: &self.data,
        };
        let json = sse::envelope_json(&self.channel, "", &view);
        let mut tail = BytesMut::with_capacity(json.len() + 16);
        sse::write_event_tail(None, &json, &mut tail);
        tail.freeze()
    }
}

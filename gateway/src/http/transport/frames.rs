//! HTTP/2 frames (RFC 9113, section 4) counted as they pass, for the limits that the HTTP/2 library has no setting
//! for: streams at once, resets and control frames a second, and the bytes of a header block. No I/O, no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::reasons::TransportEnd;

/// What a client sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames a second that only keep a connection busy: PING, SETTINGS, PRIORITY, empty DATA, unknown ones.
pub const CONTROL_FRAMES_PER_SECOND: u32 = 1_000;
/// WINDOW_UPDATE frames a second: an honest reader sends some for what it reads.
pub const WINDOW_UPDATES_PER_SECOND: u32 = 20_000;
/// Streams that a client may open that has not yet been told the limit: most begin with this many.
pub const STREAMS_UNTOLD: usize = 100;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
/// ACK for PING and SETTINGS.
const END_STREAM_OR_ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const NO_ERROR: u32 = 0x0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What one HTTP/2 connection may do.
#[derive(Clone, Copy, Debug)]
pub struct Http2Limits {
    /// Streams at once.
    pub streams: usize,
    /// RST_STREAM frames a second, after as many at once.
    pub resets_per_second: u32,
    /// Size of a request's head; told to the client as SETTINGS_MAX_HEADER_LIST_SIZE.
    pub head_bytes: usize,
    /// How long a connection without a stream may stay.
    pub idle: Duration,
}

impl Http2Limits {
    /// Bytes of a header block as sent, compressed: twice a head, so that a head a little too large is still answered.
    fn block_bytes(&self) -> usize {
        self.head_bytes.saturating_mul(2)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn parse(bytes: [u8; HEAD_BYTES]) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Head {
            length: usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Walks over the frames of one direction, however their bytes are cut.
struct Walk {
    skip: usize,
    head: [u8; HEAD_BYTES],
    have: usize,
}

impl Walk {
    /// Begins after so many bytes that are no frames.
    fn after(skip: usize) -> Walk {
        Walk {
            skip,
            head: [0; HEAD_BYTES],
            have: 0,
        }
    }

    /// The next frame whose header is complete, its payload still to come.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        *bytes = &bytes[skipped..];
        self.skip -= skipped;
        let taken = (HEAD_BYTES - self.have).min(bytes.len());
        self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.have += taken;
        if self.have < HEAD_BYTES {
            return None;
        }
        let head = Head::parse(self.head);
        self.have = 0;
        self.skip = head.length;
        Some(head)
    }

    fn is_past_payload(&self) -> bool {
        self.skip == 0
    }

    fn is_between_frames(&self) -> bool {
        self.is_past_payload() && self.have == 0
    }
}

/// So many a second, after as many at once.
struct Bucket {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Bucket {
        let rate = f64::from(rate);
        Bucket {
            rate,
            left: rate,
            at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.rate).min(self.rate);
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

/// Which sides of a stream have ended.
#[derive(Clone, Copy, Default)]
struct Ends {
    client: bool,
    gateway: bool,
}

/// How far a client's beginning has come: its preface, then SETTINGS (RFC 9113, section 3.4).
#[derive(Clone, Copy)]
enum Beginning {
    NoFrame,
    Settings,
    /// Another frame came first. The library may bear it, or end the connection.
    Wrong,
    Over,
}

#[derive(Clone, Copy)]
struct Block {
    bytes: usize,
    since: Instant,
}

/// Watches both directions of one connection.
pub struct Guard {
    limits: Http2Limits,
    received: Walk,
    sent: Walk,
    began_at: Instant,
    beginning: Beginning,
    /// The frame that arrived last, until its payload is over.
    arriving: Option<Head>,
    open: HashMap<u32, Ends>,
    /// The last stream that the client has opened.
    last: u32,
    /// Since when no stream is open.
    idle_since: Instant,
    /// The header block that is arriving.
    block: Option<Block>,
    resets: Bucket,
    control: Bucket,
    windows: Bucket,
    /// The client has acknowledged our settings.
    is_told: bool,
}

impl Guard {
    /// Watches a connection from its first byte, the preface.
    pub fn new(limits: Http2Limits, now: Instant) -> Guard {
        Guard {
            limits,
            received: Walk::after(PREFACE.len()),
            sent: Walk::after(0),
            began_at: now,
            beginning: Beginning::NoFrame,
            arriving: None,
            open: HashMap::new(),
            last: 0,
            idle_since: now,
            block: None,
            resets: Bucket::new(limits.resets_per_second, now),
            control: Bucket::new(CONTROL_FRAMES_PER_SECOND, now),
            windows: Bucket::new(WINDOW_UPDATES_PER_SECOND, now),
            is_told: false,
        }
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// Which limit they break; the connection must end.
    pub fn received(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), TransportEnd> {
        while let Some(head) = self.received.next(&mut bytes) {
            self.over();
            self.arriving = Some(head);
            self.take(head, now)?;
        }
        if self.received.is_past_payload() {
            self.over();
        }
        Ok(())
    }

    /// Takes bytes that went to the client.
    pub fn sent(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(head) = self.sent.next(&mut bytes) {
            let ends = matches!(head.kind, DATA | HEADERS) && head.has(END_STREAM_OR_ACK);
            if head.kind == RST_STREAM {
                self.close(head.stream, now);
            } else if ends {
                self.end(head.stream, now, |ends| ends.gateway = true);
            }
        }
    }

    /// Since when the client's beginning is awaited, or a header block arrives; nothing where neither does.
    pub fn head_since(&self) -> Option<Instant> {
        match self.beginning {
            Beginning::NoFrame | Beginning::Settings | Beginning::Wrong => Some(self.began_at),
            Beginning::Over => self.block.map(|block| block.since),
        }
    }

    /// The GOAWAY frame (RFC 9113, section 6.8) for an end; nothing where it would fall into another frame.
    pub fn goaway(&self, end: TransportEnd) -> Option<[u8; HEAD_BYTES + 8]> {
        let code = match end {
            TransportEnd::Idle | TransportEnd::Silent => NO_ERROR,
            TransportEnd::HeadTimeout
            | TransportEnd::HandshakeTimeout
            | TransportEnd::HandshakeFailed
            | TransportEnd::Crowd
            | TransportEnd::FieldName
            | TransportEnd::HeaderBlock
            | TransportEnd::Streams
            | TransportEnd::Resets
            | TransportEnd::ControlFrames => ENHANCE_YOUR_CALM,
        };
        let mut frame = [0; HEAD_BYTES + 8];
        frame[2] = 8;
        frame[3] = GOAWAY;
        frame[9..13].copy_from_slice(&self.last.to_be_bytes());
        frame[13..].copy_from_slice(&code.to_be_bytes());
        self.sent.is_between_frames().then_some(frame)
    }

    fn take(&mut self, head: Head, now: Instant) -> Result<(), TransportEnd> {
        if let Beginning::NoFrame = self.beginning {
            let is_settings = head.kind == SETTINGS && !head.has(END_STREAM_OR_ACK);
            self.beginning = match is_settings {
                true => Beginning::Settings,
                false => Beginning::Wrong,
            };
        }
        match head.kind {
            HEADERS => self.headers(head, now),
            CONTINUATION => self.block(head),
            RST_STREAM => {
                self.close(head.stream, now);
                within(self.resets.take(now), TransportEnd::Resets)
            }
            DATA => {
                let ends = head.has(END_STREAM_OR_ACK);
                if ends {
                    self.end(head.stream, now, |ends| ends.client = true);
                }
                let counts = head.length == 0 && !ends;
                within(
                    !counts || self.control.take(now),
                    TransportEnd::ControlFrames,
                )
            }
            PING if head.has(END_STREAM_OR_ACK) && self.is_idle(now) => Err(TransportEnd::Idle),
            WINDOW_UPDATE => within(self.windows.take(now), TransportEnd::ControlFrames),
            GOAWAY | PUSH_PROMISE => Ok(()),
            kind => {
                debug_assert!(
                    kind == PING || kind == SETTINGS || kind == PRIORITY || kind > CONTINUATION
                );
                self.is_told |= kind == SETTINGS && head.has(END_STREAM_OR_ACK);
                within(self.control.take(now), TransportEnd::ControlFrames)
            }
        }
    }

    /// The payload of the frame that was arriving is over, and with it what that frame ends.
    fn over(&mut self) {
        let Some(head) = self.arriving.take() else {
            return;
        };
        if let Beginning::Settings = self.beginning {
            self.beginning = Beginning::Over;
        }
        if matches!(head.kind, HEADERS | CONTINUATION) && head.has(END_HEADERS) {
            self.block = None;
        }
    }

    fn headers(&mut self, head: Head, now: Instant) -> Result<(), TransportEnd> {
        if head.stream > self.last {
            self.last = head.stream;
            self.open.insert(head.stream, Ends::default());
        }
        if head.has(END_STREAM_OR_ACK) {
            self.end(head.stream, now, |ends| ends.client = true);
        }
        let since = self.block.map_or(now, |block| block.since);
        self.block = Some(Block { bytes: 0, since });
        self.block(head)?;
        let limit = if self.is_told {
            self.limits.streams
        } else {
            self.limits.streams.max(STREAMS_UNTOLD)
        };
        within(self.open.len() <= limit, TransportEnd::Streams)
    }

    fn block(&mut self, head: Head) -> Result<(), TransportEnd> {
        let Some(block) = self.block.as_mut() else {
            // A CONTINUATION without a beginning: the library ends the connection.
            return Ok(());
        };
        // An empty frame costs its header too.
        block.bytes += head.length + HEAD_BYTES;
        let fits = block.bytes <= self.limits.block_bytes();
        within(fits, TransportEnd::HeaderBlock)
    }

    fn end(&mut self, stream: u32, now: Instant, end: impl FnOnce(&mut Ends)) {
        let Some(ends) = self.open.get_mut(&stream) else {
            return;
        };
        end(ends);
        if ends.client && ends.gateway {
            self.close(stream, now);
        }
    }

    fn close(&mut self, stream: u32, now: Instant) {
        if self.open.remove(&stream).is_some() {
            self.idle_since = now;
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.idle_since);
        self.open.is_empty() && idle >= self.limits.idle
    }
}

fn within(is: bool, end: TransportEnd) -> Result<(), TransportEnd> {
    if is { Ok(()) } else { Err(end) }
}

/// Adds to the gateway's first SETTINGS frame (RFC 9113, section 6.5) the limits that the library does not tell;
/// nothing while the frame is not complete.
pub fn announce(first: &[u8], limits: &Http2Limits) -> Option<Vec<u8>> {
    let head = Head::parse(*first.first_chunk()?);
    let end = HEAD_BYTES + head.length;
    if first.len() < end {
        return None;
    }
    if head.kind != SETTINGS {
        return Some(first.to_vec());
    }
    let mut told = first[..end].to_vec();
    for (setting, value) in [
        (MAX_CONCURRENT_STREAMS, limits.streams),
        (MAX_HEADER_LIST_SIZE, limits.head_bytes),
    ] {
        told.extend_from_slice(&setting.to_be_bytes());
        told.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
    }
    let length = u32::try_from(told.len() - HEAD_BYTES).unwrap_or(u32::MAX);
    told[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    told.extend_from_slice(&first[end..]);
    Some(told)
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;

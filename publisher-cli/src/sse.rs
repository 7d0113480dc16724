//! The event-stream parser of WHATWG HTML, section 9.2.6, over chunks of bytes. It is written apart from the encoder.
//! It bounds what it holds; it knows nothing of HTTP or of Sluice's own events.

use std::time::Duration;

/// The longest line, and the most data of one block. Above what any deployment accepts as an event, enveloped.
pub const BLOCK_BYTES: usize = 16 * 1024 * 1024;

/// A dispatched block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Empty for the browser's default, `message`.
    pub event_type: String,
    /// Lines joined by LF.
    pub data: String,
    /// The last event id when it was dispatched.
    pub id: String,
}

/// A block or line beyond [`BLOCK_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of the stream is larger than {BLOCK_BYTES} bytes")]
pub struct BlockTooLarge;

/// The state between chunks.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// A line has been read, so that no byte order mark may follow.
    begun: bool,
    data: Option<String>,
    event_type: String,
    id: Option<String>,
    last_event_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// Reads `chunk` and appends to `blocks` what it completes.
    ///
    /// # Errors
    /// [`BlockTooLarge`]; the stream cannot be read on.
    pub fn feed(&mut self, chunk: &[u8], blocks: &mut Vec<Block>) -> Result<(), BlockTooLarge> {
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            self.after_cr = false;
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.hold(&rest[..end])?;
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            blocks.extend(self.end_line());
        }
        self.hold(rest)
    }

    /// The id to come back with: that of the last block with an id.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time, if the server has named one since this was last asked.
    pub fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), BlockTooLarge> {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held + part.len() > BLOCK_BYTES {
            return Err(BlockTooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Block> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = &*text;
        if !self.begun {
            self.begun = true;
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            return self.dispatch();
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.event_type),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
        None
    }

    /// An empty line: the id counts even for a block without data, which is not dispatched.
    fn dispatch(&mut self) -> Option<Block> {
        if let Some(id) = self.id.take() {
            self.last_event_id = id;
        }
        let event_type = std::mem::take(&mut self.event_type);
        self.data.take().map(|data| Block {
            event_type,
            data,
            id: self.last_event_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    const STREAM: &str = "\u{feff}:\n\nid: 1\r\nevent: a\r\ndata: x\r\ndata:y\r\n\r\nid: 2\n\ndata\n\n\
        id: 3\0\nretry: 250\nretry: soon\ndata:  z\rdata: đ\r\rdata: never ended";

    fn blocks(step: usize) -> (Vec<Block>, Parser) {
        let (mut parser, mut blocks) = (Parser::default(), Vec::new());
        for chunk in STREAM.as_bytes().chunks(step) {
            parser.feed(chunk, &mut blocks).unwrap();
        }
        (blocks, parser)
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let block = |id: &str, event_type: &str, data: &str| Block {
            event_type: event_type.into(),
            data: data.into(),
            id: id.into(),
        };
        for step in 1..STREAM.len() {
            let (blocks, mut parser) = blocks(step);
            assert_eq!(
                blocks,
                [
                    block("1", "a", "x\ny"),
                    block("2", "", ""),
                    block("2", "", " z\nđ")
                ],
                "chunks of {step}"
            );
            assert_eq!(parser.last_event_id(), "2");
            assert_eq!(parser.take_retry(), Some(Duration::from_millis(250)));
        }
    }

    #[test]
    fn an_endless_block_is_refused() {
        let (mut parser, mut blocks) = (Parser::default(), Vec::new());
        let chunk = vec![b'x'; BLOCK_BYTES];
        parser.feed(&chunk, &mut blocks).unwrap();
        assert_eq!(parser.feed(b"x", &mut blocks), Err(BlockTooLarge));
    }
}

//! The answer to the canary's one request, from bytes to events: HTTP/1.1's head and chunks (RFC 9112), and the event
//! stream in them (WHATWG HTML, 9.2). Written for what this very gateway sends, apart from its encoders, and strict: what
//! is anything else is an error. No I/O.

use std::fmt;

/// The longest head, line of the stream, or size of a chunk as it is written.
const LINE_MAX_BYTES: usize = 16 * 1_024;

/// An event with data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub name: String,
    pub data: String,
}

/// Why there are no more events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The answer is over.
    Over,
    /// Its status is not 200.
    Status(String),
    /// It is not what the gateway sends.
    Malformed(&'static str),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Over => f.write_str("the stream ended"),
            Stop::Status(status) => write!(f, "the listener answered {status}"),
            Stop::Malformed(what) => write!(f, "the listener's answer has {what}"),
        }
    }
}

enum State {
    Head,
    Size,
    /// Bytes of a chunk still to come.
    Chunk(usize),
    ChunkEnd,
    Over,
}

/// An answer, as far as it has come.
pub(super) struct Reader {
    state: State,
    raw: Vec<u8>,
    text: Vec<u8>,
    event: Event,
    id: Option<String>,
    cursor: Option<String>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader {
            state: State::Head,
            raw: Vec::new(),
            text: Vec::new(),
            event: Event::default(),
            id: None,
            cursor: None,
        }
    }

    /// Takes bytes that have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Where the stream stands after the events taken so far.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next event, if it has come.
    ///
    /// # Errors
    /// [`Stop`].
    pub(super) fn next(&mut self) -> Result<Option<Event>, Stop> {
        loop {
            if let Some(event) = self.event()? {
                return Ok(Some(event));
            }
            let moved = match self.state {
                State::Head => self.head()?,
                State::Size => self.size()?,
                State::Chunk(left) => self.chunk(left),
                State::ChunkEnd => self.chunk_end()?,
                State::Over => return Err(Stop::Over),
            };
            if !moved {
                return Ok(None);
            }
        }
    }

    /// The text up to `end`, taken with it.
    fn take(&mut self, end: &[u8], what: &'static str) -> Result<Option<String>, Stop> {
        let found = self.raw.windows(end.len()).position(|part| part == end);
        let Some(at) = found else {
            let too_long = self.raw.len() > LINE_MAX_BYTES;
            return if too_long {
                Err(Stop::Malformed(what))
            } else {
                Ok(None)
            };
        };
        let mut taken: Vec<u8> = self.raw.drain(..at + end.len()).collect();
        taken.truncate(at);
        String::from_utf8(taken)
            .map(Some)
            .map_err(|_| Stop::Malformed(what))
    }

    fn head(&mut self) -> Result<bool, Stop> {
        let Some(head) = self.take(b"\r\n\r\n", "no head")? else {
            return Ok(false);
        };
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let status = status
            .strip_prefix("HTTP/1.1 ")
            .ok_or(Stop::Malformed("no status"))?;
        if !status.starts_with("200 ") {
            return Err(Stop::Status(status.to_owned()));
        }
        let chunked = lines.any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
        if !chunked {
            return Err(Stop::Malformed("no chunks"));
        }
        self.state = State::Size;
        Ok(true)
    }

    fn size(&mut self) -> Result<bool, Stop> {
        let Some(size) = self.take(b"\r\n", "no size of a chunk")? else {
            return Ok(false);
        };
        self.state = match usize::from_str_radix(&size, 16) {
            Ok(0) => State::Over,
            Ok(size) => State::Chunk(size),
            Err(_) => return Err(Stop::Malformed("no size of a chunk")),
        };
        Ok(true)
    }

    fn chunk(&mut self, left: usize) -> bool {
        if self.raw.is_empty() {
            return false;
        }
        let count = left.min(self.raw.len());
        self.text.extend(self.raw.drain(..count));
        self.state = if count == left {
            State::ChunkEnd
        } else {
            State::Chunk(left - count)
        };
        true
    }

    fn chunk_end(&mut self) -> Result<bool, Stop> {
        if self.raw.len() < 2 {
            return Ok(false);
        }
        if !self.raw.starts_with(b"\r\n") {
            return Err(Stop::Malformed("no end of a chunk"));
        }
        self.raw.drain(..2);
        self.state = State::Size;
        Ok(true)
    }

    /// The next whole event of the text that has come.
    fn event(&mut self) -> Result<Option<Event>, Stop> {
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            let line = std::str::from_utf8(line.get(..end).unwrap_or_default())
                .map_err(|_| Stop::Malformed("a line that is not UTF-8"))?;
            if line.is_empty() {
                if let Some(id) = self.id.take() {
                    self.cursor = Some(id);
                }
                return Ok(Some(std::mem::take(&mut self.event)));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => self.event.data.push_str(value),
                "id" => self.id = Some(value.to_owned()),
                // Comments and `retry`.
                _ => {}
            }
        }
        if self.text.len() > LINE_MAX_BYTES {
            return Err(Stop::Malformed("a line without an end"));
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

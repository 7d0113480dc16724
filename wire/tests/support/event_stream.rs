//! A parser of event streams after WHATWG HTML, sections 9.2.5 and 9.2.6, written from the standard's text and apart from
//! the encoder, so that an encoder's bug cannot cancel itself out.

/// An event as it reaches a page.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Dispatched {
    pub event_type: String,
    pub data: String,
    pub last_event_id: String,
}

/// What a stream left behind when it ended.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct EventStream {
    pub events: Vec<Dispatched>,
    /// The last event ID string of the event source: what a reconnect sends.
    pub last_event_id: String,
    /// The reconnection time in milliseconds, if it was set.
    pub retry: Option<u64>,
    data: String,
    event_type: String,
    last_event_id_buffer: String,
}

impl EventStream {
    /// Parses a whole stream that ends where `bytes` end. UTF-8 decode drops one leading BOM and replaces what is malformed;
    /// a line end is ASCII, so decoding line by line comes to the same.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut stream = Self::default();
        let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // A last line without an end is pending data, and discarded with the block it belongs to.
        while let Some(end) = rest
            .iter()
            .position(|byte| *byte == b'\n' || *byte == b'\r')
        {
            stream.line(&String::from_utf8_lossy(&rest[..end]));
            let end_length = if rest[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
            rest = &rest[end + end_length..];
        }
        stream
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", _comment)) => {}
            Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(line, ""),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event_type = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.last_event_id_buffer = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.last_event_id = self.last_event_id_buffer.clone();
        let data = std::mem::take(&mut self.data);
        let event_type = std::mem::take(&mut self.event_type);
        if data.is_empty() {
            return;
        }
        self.events.push(Dispatched {
            event_type: if event_type.is_empty() {
                "message".to_owned()
            } else {
                event_type
            },
            data: data.strip_suffix('\n').unwrap_or(&data).to_owned(),
            last_event_id: self.last_event_id.clone(),
        });
    }
}

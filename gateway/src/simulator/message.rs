//! What an event block carries, in either format, and whether it is what was published.

use serde_json::Value;

use super::eventsource::Block;
use super::past::Record;
use crate::hub::frame::Format;

/// What an event block carries, whatever its format.
#[derive(Debug)]
pub struct Message {
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub envelope_channel: Option<String>,
    pub envelope_id: Option<String>,
    pub data: String,
}

impl Message {
    /// Reads a block that is not Sluice's own.
    pub fn read(block: &Block, format: Format) -> Result<Message, String> {
        let event_type = Some(block.event_type.clone()).filter(|name| !name.is_empty());
        match format {
            Format::Plain => Ok(Message {
                event_type,
                event_id: None,
                envelope_channel: None,
                envelope_id: None,
                data: block.data.clone(),
            }),
            Format::Envelope | Format::Ndjson => {
                let object: Value =
                    serde_json::from_str(&block.data).map_err(|e| format!("{e}: {block:?}"))?;
                let text = |field: &str| object[field].as_str().map(str::to_owned);
                if text("type") != event_type {
                    return Err(format!("two types: {block:?}"));
                }
                Ok(Message {
                    event_type,
                    event_id: text("event_id"),
                    envelope_channel: text("channel"),
                    envelope_id: text("id"),
                    data: text("data").ok_or("an envelope without data")?,
                })
            }
        }
    }

    /// Every payload of the simulation begins with its channel's number.
    pub fn channel(&self) -> Result<usize, String> {
        let digits = self.data.trim_start_matches('~').split('/').next();
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| format!("a payload that nobody sent: {:?}", self.data))
    }

    /// Whether this is what was published.
    pub fn check(&self, record: &Record, format: Format) -> Result<(), String> {
        let sent = String::from_utf8_lossy(&record.data);
        let (sent, id) = match format {
            Format::Plain => (sent.replace("\r\n", "\n").replace('\r', "\n"), None),
            Format::Envelope | Format::Ndjson => (sent.into_owned(), record.event_id.as_deref()),
        };
        if self.data != sent
            || self.event_type.as_deref() != record.event_type.as_deref()
            || self.event_id.as_deref() != id
        {
            return Err(format!("corrupt: {self:?} instead of {record:?}"));
        }
        Ok(())
    }
}

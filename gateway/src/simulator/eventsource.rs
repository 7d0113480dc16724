//! A browser's side of the wire, written from WHATWG HTML 9.2.6 and apart from
//! `wire`: bytes to blocks, and a cursor's text to places. It refuses whatever a
//! gateway has no reason to send.

use std::collections::BTreeMap;

use sluice_wire::position::Position;

/// A dispatched block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Empty when the block had no `event` field.
    pub event_type: String,
    /// None when the block had no `id` field.
    pub id: Option<String>,
    pub data: String,
}

/// Reads a stream in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    event_type: Vec<u8>,
    id: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    fields: usize,
}

impl Parser {
    /// Takes some bytes and gives the blocks that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Block>, String> {
        let mut blocks = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    blocks.extend(self.end_of_line(&line)?);
                }
                _ => self.line.push(byte),
            }
        }
        Ok(blocks)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<Option<Block>, String> {
        if line.is_empty() {
            return self.dispatch().map(Some);
        }
        if line[0] == b':' {
            return Ok(None);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        self.fields += 1;
        match name {
            b"event" => self.event_type = value.to_vec(),
            b"id" if value.contains(&0) => return Err("an id with NUL".to_owned()),
            b"id" => self.id = Some(value.to_vec()),
            b"data" => {
                let data = self.data.get_or_insert_default();
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {}
            _ => {
                let line = String::from_utf8_lossy(line);
                return Err(format!("a line that nobody should send: {line:?}"));
            }
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Result<Block, String> {
        if std::mem::take(&mut self.fields) == 0 {
            return Err("a blank line that ends nothing".to_owned());
        }
        let mut data = self.data.take().ok_or("a block without data")?;
        data.pop();
        let text = |bytes| String::from_utf8(bytes).map_err(|_| "bytes that are not UTF-8");
        Ok(Block {
            event_type: text(std::mem::take(&mut self.event_type))?,
            id: self.id.take().map(text).transpose()?,
            data: text(data)?,
        })
    }
}

/// What a `Last-Event-ID` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    Bare(Position),
    Many(BTreeMap<u32, Position>),
    Unreadable,
}

/// Reads a cursor's text.
pub fn places(text: &str) -> Places {
    let Some(encoded) = text.strip_prefix("1~") else {
        return text.parse().map_or(Places::Unreadable, Places::Bare);
    };
    let Some(bytes) = base64url(encoded) else {
        return Places::Unreadable;
    };
    if bytes.len() % 16 != 0 {
        return Places::Unreadable;
    }
    let entry = |entry: &[u8]| {
        let hash = entry[..4].iter().fold(0, |n, b| n << 8 | u32::from(*b));
        let place: [u8; 12] = entry[4..].try_into().expect("twelve bytes");
        (hash, Position::from_bytes(place))
    };
    Places::Many(bytes.chunks(16).map(entry).collect())
}

/// FNV-1a, by which a cursor names its channels.
pub fn name_hash(name: &str) -> u32 {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    name.bytes().fold(2_166_136_261, step)
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

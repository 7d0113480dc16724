//! A poll's answer: `{"cursor":"…","events":[…]}`, bounded in events and bytes.

use bytes::{BufMut, Bytes, BytesMut};
use sluice_wire::ndjson;

use super::PollTerms;
use crate::connection::blocks::Notice;
use crate::hub::exchange::Reset;

/// How full an answer is.
#[derive(Debug, Default)]
pub struct Page {
    elements: u32,
    full: bool,
}

impl Page {
    /// Whether one more element may be looked for.
    #[must_use]
    pub fn has_room(&self, terms: &PollTerms) -> bool {
        !self.full && self.elements < terms.events
    }

    /// Whether an element of so many bytes fits behind `written`; the first one always does.
    pub fn admits(&mut self, written: usize, element: usize, terms: &PollTerms) -> bool {
        let comma = 1;
        let most = usize::try_from(terms.bytes).unwrap_or(usize::MAX);
        let fits = self.elements == 0 || written + comma + element <= most;
        self.full |= !fits;
        fits
    }

    /// Whether an element has found no room for its bytes.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.full
    }

    /// One more element.
    pub fn count(&mut self) {
        self.elements = self.elements.saturating_add(1);
    }
}

/// The size of the element that is made of an NDJSON line's tail: a brace for the line's end.
#[must_use]
pub fn element_bytes(tail: &[u8]) -> usize {
    tail.len()
}

/// Writes the envelope of an event, given the tail of its NDJSON line.
pub fn write_event(tail: &[u8], out: &mut BytesMut) {
    separate(out);
    out.put_u8(b'{');
    out.put_slice(tail.strip_suffix(b"\n").unwrap_or(tail));
}

/// Writes a reset as an element.
pub fn write_reset(notice: &Notice<'_>, reset: &Reset, out: &mut BytesMut) {
    separate(out);
    let channel = notice.channel.unwrap_or_default();
    ndjson::write_reset_element(channel, &reset.to.to_string(), &notice.data, out);
}

fn separate(out: &mut BytesMut) {
    if !out.is_empty() {
        out.put_u8(b',');
    }
}

/// The whole answer.
#[must_use]
pub fn answer(cursor: &[u8], elements: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(elements.len() + cursor.len() + 32);
    ndjson::write_cursor(cursor, &mut out);
    out.put_slice(b"\"events\":[");
    out.put_slice(elements);
    out.put_slice(b"]}");
    out.freeze()
}

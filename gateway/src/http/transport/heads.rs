//! What actix-http does not hold of HTTP/1.1 heads. Their time: it keeps one over the first only, and tells nobody whom it
//! ends by it; half a later head stops its keep-alive. And the length of field names: at one of 64 KiB it panics.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use tokio::time::{Sleep, sleep};

use super::Transport;
use super::socket::Io;
use crate::http::peer::PeerStreams;
use crate::reasons::TransportEnd;

/// What a client hears whose head does not come (RFC 9110, section 15.5.9).
const TOO_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a client hears whose field name is too long (RFC 6585, section 5).
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The longest field name that the type for them takes. actix-http relies on it.
const NAME_BYTES: usize = 65_535;

/// Reads along, and finds field names that are too long.
///
/// It does not tell heads from bodies, which would take a second reading of lengths and chunks: a name is a line's first
/// bytes, tokens and nothing else, up to its colon. No JSON of that length looks so, since it has quotes, and no data below
/// the limit of an event as shipped.
#[derive(Default)]
struct FieldNames {
    /// The bytes of the line that has begun, for as long as they may be a name.
    begun: Option<usize>,
}

impl FieldNames {
    /// Whether these bytes, which follow those before, complete a name that is too long.
    fn are_too_long(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let Some(begun) = &mut self.begun else {
                let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                    return false;
                };
                bytes = &bytes[end + 1..];
                self.begun = Some(0);
                continue;
            };
            let tokens = bytes.iter().take_while(|byte| is_token(**byte)).count();
            *begun += tokens;
            bytes = &bytes[tokens..];
            match bytes.first() {
                None => return false,
                Some(b':') if *begun > NAME_BYTES => return true,
                Some(_) => self.begun = None,
            }
        }
    }
}

/// Whether a field name may hold the byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One HTTP/1.1 connection between its requests.
pub(super) struct Http1Side {
    transport: Rc<Transport>,
    names: FieldNames,
    /// Requests that had begun at the last look.
    begun: u64,
    /// The end of the time for the first head, and for a later one that has begun.
    head_end: Option<Pin<Box<Sleep>>>,
    /// Not a byte has come.
    is_silent: bool,
}

impl Http1Side {
    pub(super) fn new(transport: Rc<Transport>) -> Http1Side {
        Http1Side {
            names: FieldNames::default(),
            begun: 0,
            head_end: Some(Box::pin(sleep(transport.head_timeout))),
            transport,
            is_silent: true,
        }
    }

    /// Looks at the connection after a read of these bytes. (Those that came behind a request which is still being
    /// answered begin no time here: after the answer, actix-http's keep-alive ends it, unless more come.)
    pub(super) fn look(
        &mut self,
        read: &[u8],
        peer: &PeerStreams,
        context: &mut Context<'_>,
    ) -> Result<(), TransportEnd> {
        if self.names.are_too_long(read) {
            return Err(TransportEnd::FieldName);
        }
        self.is_silent &= read.is_empty();
        let begun = peer.begun();
        let has_begun = begun != self.begun;
        self.begun = begun;
        if has_begun || peer.is_busy() {
            self.head_end = None;
        }
        // However busily it trickles, its time is what it is.
        if !read.is_empty() && begun > 0 && !peer.is_busy() && self.head_end.is_none() {
            self.head_end = Some(Box::pin(sleep(self.transport.head_timeout)));
        }
        let end = self.head_end.as_mut();
        match end.is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            true if self.is_silent => Err(TransportEnd::Silent),
            true => Err(TransportEnd::HeadTimeout),
            false => Ok(()),
        }
    }

    /// Something of an answer was written: it is not a head that is waited for.
    pub(super) fn written(&mut self) {
        self.head_end = None;
    }

    /// Ends the connection: the client is told if it has asked for something, and if there is room in the socket.
    pub(super) fn end(
        &mut self,
        io: &mut Io,
        context: &mut Context<'_>,
        end: TransportEnd,
    ) -> io::Error {
        self.transport.ended.of(end).inc();
        tracing::debug!(cause = %end, "an HTTP/1.1 connection is ended");
        let answer = if end == TransportEnd::FieldName {
            // It may stand behind a request whose answer is on its way: nothing is to be written into that.
            (self.begun == 0).then_some(TOO_LARGE)
        } else {
            (end != TransportEnd::Silent).then_some(TOO_LATE)
        };
        if let Some(answer) = answer
            && io.write(context, answer).is_ready()
        {
            let told = io.flush(context);
            tracing::trace!(told = told.is_ready(), "the last answer");
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, end.as_label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_long(bytes: &[u8], piece: usize) -> bool {
        let mut names = FieldNames::default();
        bytes.chunks(piece).any(|piece| names.are_too_long(piece))
    }

    fn head(name: usize) -> Vec<u8> {
        let name = "a".repeat(name);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: b\r\n\r\n").into_bytes()
    }

    #[test]
    fn a_name_is_too_long_at_its_first_byte_too_many_however_it_comes() {
        for piece in [1, 7, 4_096, usize::MAX] {
            assert!(!is_too_long(&head(NAME_BYTES), piece));
            assert!(is_too_long(&head(NAME_BYTES + 1), piece));
            let behind = [head(1), head(NAME_BYTES + 1)].concat();
            assert!(is_too_long(&behind, piece), "of a later request");
            let bare = String::from_utf8_lossy(&behind).replace('\r', "");
            assert!(is_too_long(bare.as_bytes(), piece), "behind a bare LF");
        }
    }

    #[test]
    fn what_is_no_name_may_be_long() {
        let long = "a".repeat(3 * NAME_BYTES);
        for text in [
            format!("{long}: b\r\n"),
            format!("GET /{long}: HTTP/1.1\r\n"),
            format!("\r\nx: {long}:\r\n"),
            format!("\r\n{long} :\r\n"),
            format!("\r\n{{\"{long}\":\"{long}\"}}"),
            format!("\r\n{long}\r\n:"),
        ] {
            assert!(!is_too_long(text.as_bytes(), 1_000), "{}", &text[..9]);
        }
    }
}

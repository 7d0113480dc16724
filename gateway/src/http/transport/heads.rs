//! The time for the head of a second and later HTTP/1.1 request on a connection: actix-http keeps time over the first only,
//! and half a head stops its keep-alive.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Transport;
use super::socket::Io;
use crate::http::peer::PeerStreams;
use crate::metrics::Counters;
use crate::reasons::TransportEnd;

/// What a client hears whose head does not come (RFC 9110, section 15.5.9).
const TOO_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// One HTTP/1.1 connection between its requests.
pub(super) struct Http1Side {
    head_timeout: Duration,
    ended: Counters<TransportEnd>,
    /// Requests that had begun at the last look.
    begun: u64,
    /// The end of the time for the head that has begun.
    head_end: Option<Pin<Box<Sleep>>>,
}

impl Http1Side {
    pub(super) fn new(transport: &Transport) -> Http1Side {
        Http1Side {
            head_timeout: transport.head_timeout,
            ended: transport.ended.clone(),
            begun: 0,
            head_end: None,
        }
    }

    /// Looks at the connection after a read. (Bytes that came behind a request which is still being answered begin no
    /// time here: after the answer, actix-http's keep-alive ends it, unless more come.)
    pub(super) fn look(&mut self, has_read: bool, peer: &PeerStreams) {
        let begun = peer.begun();
        let has_begun = begun != self.begun;
        self.begun = begun;
        if begun == 0 || has_begun || peer.is_busy() {
            self.head_end = None;
        }
        // However busily it trickles, its time is what it is.
        if has_read && begun > 0 && !peer.is_busy() && self.head_end.is_none() {
            self.head_end = Some(Box::pin(sleep(self.head_timeout)));
        }
    }

    /// Something of an answer was written: it is not a head that is waited for.
    pub(super) fn written(&mut self) {
        self.head_end = None;
    }

    /// Whether the next head takes too long.
    pub(super) fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let end = self.head_end.as_mut();
        end.is_some_and(|end| end.as_mut().poll(context).is_ready())
    }

    /// Ends the connection: the client is told if there is room in the socket.
    pub(super) fn end(&mut self, io: &mut Io, context: &mut Context<'_>) -> io::Error {
        self.ended.of(TransportEnd::HeadTimeout).inc();
        if io.write(context, TOO_LATE).is_ready() {
            let told = io.flush(context);
            tracing::trace!(told = told.is_ready(), "408");
        }
        io::ErrorKind::TimedOut.into()
    }
}

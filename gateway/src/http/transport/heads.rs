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
    keep_alive: Duration,
    ended: Counters<TransportEnd>,
    /// Requests that had begun at the last look.
    begun: u64,
    /// Bytes have come since then: of a body, or of the next head.
    has_bytes: bool,
    wait: Wait,
}

enum Wait {
    None,
    /// Bytes came while a request was under way; whose they are is not known.
    Rest(Pin<Box<Sleep>>),
    /// A head has begun.
    Head(Pin<Box<Sleep>>),
}

impl Http1Side {
    pub(super) fn new(transport: &Transport) -> Http1Side {
        Http1Side {
            head_timeout: transport.head_timeout,
            keep_alive: transport.keep_alive,
            ended: transport.ended.clone(),
            begun: 0,
            has_bytes: false,
            wait: Wait::None,
        }
    }

    /// Looks at the connection after a read.
    pub(super) fn look(&mut self, has_read: bool, peer: &PeerStreams) {
        let begun = peer.begun();
        if begun != self.begun {
            self.begun = begun;
            self.has_bytes = false;
        }
        self.has_bytes |= has_read;
        if begun == 0 || peer.is_busy() || !self.has_bytes {
            self.wait = Wait::None;
            return;
        }
        match self.wait {
            // However busily it trickles, its time is what it is.
            Wait::Head(_) => {}
            Wait::None | Wait::Rest(_) if has_read => {
                self.wait = Wait::Head(Box::pin(sleep(self.head_timeout)));
            }
            Wait::None => self.wait = Wait::Rest(Box::pin(sleep(self.keep_alive))),
            Wait::Rest(_) => {}
        }
    }

    /// Something of an answer was written: it is not a head that is waited for.
    pub(super) fn written(&mut self) {
        self.wait = Wait::None;
    }

    /// Whether the next head takes too long.
    pub(super) fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.wait {
            Wait::None => false,
            Wait::Rest(end) | Wait::Head(end) => end.as_mut().poll(context).is_ready(),
        }
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

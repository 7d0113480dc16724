//! The bytes of one connection, plain or TLS, as actix-http reads and writes them; those of HTTP/2 pass the guard.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_web::rt::net::TcpStream;
use bytes::{Buf as _, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::frames::{Guard, announce};
use super::heads::Http1Side;
use super::{Place, Transport};
use crate::http::peer::PeerStreams;
use crate::lifecycle::Permit;
use crate::reasons::TransportEnd;

pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection's bytes. Dropped, it tells the streams that it has carried.
pub struct Socket {
    io: Io,
    /// Read already, to find out the protocol.
    early: BytesMut,
    side: Side,
    peer: Rc<PeerStreams>,
    _place: Place,
    _counted: Option<Permit>,
}

enum Side {
    Http1(Http1Side),
    Http2(Box<Http2Side>),
}

struct Http2Side {
    guard: Guard,
    transport: Rc<Transport>,
    /// The gateway's first frame, until it is complete.
    first: Option<Vec<u8>>,
    /// Taken for sent, still to be written: the first frame.
    pending: BytesMut,
    /// The end of the time for the client's beginning, and for a header block that is arriving.
    head_end: Option<Pin<Box<Sleep>>>,
    /// Since when that time runs.
    head_since: Option<Instant>,
    /// Not a byte has come.
    is_silent: bool,
}

impl Socket {
    pub(super) fn http1(io: Io, early: BytesMut, transport: Rc<Transport>) -> Socket {
        Socket::new(io, early, Side::Http1(Http1Side::new(transport)))
    }

    pub(super) fn http2(io: Io, early: BytesMut, transport: Rc<Transport>, now: Instant) -> Socket {
        let mut side = Http2Side {
            guard: Guard::new(transport.http2, now),
            head_end: None,
            head_since: None,
            transport,
            first: Some(Vec::new()),
            pending: BytesMut::new(),
            is_silent: true,
        };
        side.keep_time();
        Socket::new(io, early, Side::Http2(Box::new(side)))
    }

    fn new(io: Io, early: BytesMut, side: Side) -> Socket {
        Socket {
            io,
            early,
            side,
            peer: Rc::default(),
            _place: None,
            _counted: None,
        }
    }

    /// Keeps its place, and is counted, for as long as it lives.
    pub(super) fn in_place(mut self, place: Place, counted: Option<Permit>) -> Socket {
        self._place = place;
        self._counted = counted;
        self
    }

    /// What carries the connection.
    pub fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(socket) => socket,
            Io::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The streams on this connection.
    pub fn peer(&self) -> &Rc<PeerStreams> {
        &self.peer
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.peer.leave();
        if let Side::Http2(_) = self.side {
            // A stream's duplicate of the descriptor would keep the connection standing until the stream is polled.
            SockRef::from(self.tcp()).shutdown(Shutdown::Write).ok();
        }
    }
}

impl Io {
    fn read(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(socket) => Pin::new(socket).poll_read(context, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buf),
        }
    }

    pub(super) fn write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Io::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn write_slices(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Io::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(socket) => Pin::new(socket).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
}

impl Http2Side {
    /// Looks at bytes that have come.
    fn received(&mut self, io: &mut Io, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.is_silent &= bytes.is_empty();
        if let Err(end) = self.guard.received(bytes, Instant::now()) {
            return Err(self.end(io, context, end));
        }
        self.keep_time();
        Ok(())
    }

    /// Each header block has a time of its own, though another ended in the same read.
    fn keep_time(&mut self) {
        let since = self.guard.head_since();
        if since == self.head_since {
            return;
        }
        self.head_since = since;
        self.head_end = since.map(|since| {
            let end = since + self.transport.head_timeout;
            Box::pin(sleep_until(end.into()))
        });
    }

    /// Whether the client's beginning, or the header block that is arriving, takes too long.
    fn late(&mut self, context: &mut Context<'_>) -> Option<TransportEnd> {
        let end = self.head_end.as_mut()?;
        let is_over = end.as_mut().poll(context).is_ready();
        is_over.then_some(match self.is_silent {
            true => TransportEnd::Silent,
            false => TransportEnd::HeadTimeout,
        })
    }

    /// Ends the connection: the client is told if there is room in the socket, and nothing is waited for.
    fn end(&mut self, io: &mut Io, context: &mut Context<'_>, end: TransportEnd) -> io::Error {
        self.transport.ended.of(end).inc();
        tracing::debug!(cause = %end, "an HTTP/2 connection is ended");
        let goaway = self.guard.goaway(end).filter(|_| self.pending.is_empty());
        if let Some(frame) = goaway
            && io.write(context, &frame).is_ready()
        {
            let told = io.flush(context);
            tracing::trace!(told = told.is_ready(), "GOAWAY");
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, end.as_label())
    }

    /// Writes what is pending.
    fn flush_pending(&mut self, io: &mut Io, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let count = ready!(io.write(context, &self.pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let now = Instant::now();
            self.guard.sent(&self.pending[..count], now);
            self.pending.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes of the first frame; whether they are to be passed on as they are.
    fn is_past_first(&mut self, bytes: &[u8]) -> bool {
        let Some(first) = self.first.as_mut() else {
            return true;
        };
        first.extend_from_slice(bytes);
        if let Some(told) = announce(first, &self.transport.http2) {
            self.pending.extend_from_slice(&told);
            self.first = None;
        }
        false
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = if this.early.is_empty() {
            this.io.read(context, buf)
        } else {
            let count = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early.split_to(count));
            if this.early.is_empty() {
                this.early = BytesMut::new();
            }
            Poll::Ready(Ok(()))
        };
        match &mut this.side {
            Side::Http1(side) => {
                let read = &buf.filled()[before..];
                if let Err(end) = side.look(read, &this.peer, context) {
                    return Poll::Ready(Err(side.end(&mut this.io, context, end)));
                }
            }
            Side::Http2(side) => {
                if let Poll::Ready(Ok(())) = &read {
                    side.received(&mut this.io, context, &buf.filled()[before..])?;
                }
                if let Some(late) = side.late(context) {
                    return Poll::Ready(Err(side.end(&mut this.io, context, late)));
                }
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let side = match &mut this.side {
            Side::Http1(side) => {
                side.written();
                return this.io.write_slices(context, slices);
            }
            Side::Http2(side) => side,
        };
        ready!(side.flush_pending(&mut this.io, context))?;
        let first = slices.iter().find(|slice| !slice.is_empty());
        if let Some(first) = first
            && !side.is_past_first(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        let count = ready!(this.io.write_slices(context, slices))?;
        let (mut left, now) = (count, Instant::now());
        for slice in slices {
            let written = left.min(slice.len());
            side.guard.sent(&slice[..written], now);
            left -= written;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(socket) => socket.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Side::Http2(side) = &mut this.side {
            ready!(side.flush_pending(&mut this.io, context))?;
        }
        this.io.flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Side::Http2(side) = &mut this.side {
            ready!(side.flush_pending(&mut this.io, context))?;
        }
        match &mut this.io {
            Io::Plain(socket) => pin!(socket).poll_shutdown(context),
            Io::Tls(stream) => pin!(stream).poll_shutdown(context),
        }
    }
}

//! From an accepted socket to a connection that HTTP speaks over: socket options, TLS, the choice between HTTP/1.1 and
//! HTTP/2, and the limits of both that hold before there is a request.

pub mod frames;
mod heads;
pub mod listen;
mod socket;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_web::rt::net::TcpStream;
use bytes::{BufMut as _, BytesMut};
use rustls::ServerConfig;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;

pub use frames::Http2Limits;
pub use socket::Socket;

use crate::canary::Pass;
use crate::http::admission::shares::{Share, Shares};
use crate::http::forwarded::{AddressKey, Forwarding};
use crate::http::peer::{self, SocketOptions};
use crate::lifecycle::Admission;
use crate::metrics::Counters;
use crate::reasons::TransportEnd;
use frames::PREFACE;
use socket::Io;

/// The protocol's name in ALPN (RFC 7301; RFC 9113, section 3.2).
pub const ALPN_HTTP2: &[u8] = b"h2";
/// The same of HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// How connections are taken. A clone counts into the same counters.
#[derive(Clone)]
pub struct Transport {
    pub sockets: SocketOptions,
    /// How long a client may take to send its first bytes, its handshake and each request's head.
    pub head_timeout: Duration,
    /// How long a connection without a request stays open.
    pub keep_alive: Duration,
    pub http2: Http2Limits,
    /// Absent: plain TCP, with HTTP/2 for clients that begin with its preface.
    pub tls: Option<Arc<ServerConfig>>,
    pub ended: Counters<TransportEnd>,
    /// Counts sockets that are open; it refuses none.
    pub open: Admission,
    /// Sockets of one address; nothing where they are not counted.
    pub crowd: Option<Crowd>,
}

/// How many sockets each address has, but for trusted proxies, which speak for many.
#[derive(Clone)]
pub struct Crowd {
    pub shares: Arc<Shares<AddressKey>>,
    pub forwarding: Forwarding,
    /// The node's own canary takes no place.
    pub canary: Option<Pass>,
}

/// A socket's place among those of its address.
type Place = Option<Share<AddressKey>>;

/// What actix-http takes as a connection.
type Connection = (Socket, Protocol, Option<SocketAddr>);

impl Transport {
    /// Makes an accepted socket ready for HTTP.
    ///
    /// # Errors
    /// A client that says nothing in time, nothing that can be understood, or goes away.
    async fn open(self: Rc<Self>, socket: TcpStream) -> Result<Connection, DispatchError> {
        // First of all: a handshake that falls silent must end by these, too.
        if let Err(error) = peer::set_options(&socket, self.sockets) {
            tracing::debug!(%error, "a socket option was refused");
        }
        let address = socket.peer_addr().ok();
        let place = self.place(address)?;
        let counted = self.open.admit();
        let is_silent = Cell::new(true);
        // Pinned here, so that the socket is closed after its end is counted.
        let begun = pin!(tokio::time::timeout(
            self.head_timeout,
            begin(socket, self.tls.clone(), &is_silent)
        ));
        let (io, early, protocol) = match begun.await {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => {
                let end = match (&self.tls, is_silent.get()) {
                    (Some(_), _) => TransportEnd::HandshakeTimeout,
                    (None, true) => TransportEnd::Silent,
                    (None, false) => TransportEnd::HeadTimeout,
                };
                self.ended.of(end).inc();
                return Err(DispatchError::SlowRequestTimeout);
            }
        };
        let socket = if let Protocol::Http2 = protocol {
            Socket::http2(io, early, self, Instant::now())
        } else {
            Socket::http1(io, early, self)
        };
        let socket = socket.in_place(place, counted);
        Ok((socket, protocol, address))
    }

    /// Before anything is read: what comes next costs more than the socket.
    fn place(&self, address: Option<SocketAddr>) -> Result<Place, DispatchError> {
        let (Some(crowd), Some(address)) = (&self.crowd, address) else {
            return Ok(None);
        };
        let is_own = |pass: &Pass| pass.is_from(address);
        if crowd.forwarding.trusts(address.ip()) || crowd.canary.as_ref().is_some_and(is_own) {
            return Ok(None);
        }
        let place = crowd.shares.take(address.ip().into());
        if place.is_none() {
            self.ended.of(TransportEnd::Crowd).inc();
            return Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(place)
    }

    fn failed(&self, error: io::Error) -> DispatchError {
        // rustls tells what it could not agree to as invalid data; all else is a client that has gone.
        if error.kind() == io::ErrorKind::InvalidData {
            self.ended.of(TransportEnd::HandshakeFailed).inc();
            tracing::debug!(%error, "a TLS handshake failed");
        }
        DispatchError::Io(error)
    }
}

async fn begin(
    mut socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    is_silent: &Cell<bool>,
) -> io::Result<(Io, BytesMut, Protocol)> {
    let Some(tls) = tls else {
        let (early, protocol) = first_bytes(&mut socket, is_silent).await?;
        return Ok((Io::Plain(socket), early, protocol));
    };
    // A handshake is large, and each connection keeps room for the largest of its states, whether it comes to that or not.
    let stream = Box::pin(TlsAcceptor::from(tls).accept(socket)).await?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_HTTP2) => Protocol::Http2,
        Some(_) | None => Protocol::Http1,
    };
    Ok((Io::Tls(Box::new(stream)), BytesMut::new(), protocol))
}

/// Reads until it is clear whether the client begins with the preface of HTTP/2. (To peek would mean to spin on a
/// preface of which only a part has come.)
async fn first_bytes(
    socket: &mut TcpStream,
    is_silent: &Cell<bool>,
) -> io::Result<(BytesMut, Protocol)> {
    let mut early = BytesMut::with_capacity(PREFACE.len());
    loop {
        let missing = PREFACE.len() - early.len();
        if socket.read_buf(&mut (&mut early).limit(missing)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        is_silent.set(false);
        if !PREFACE.starts_with(&early) {
            return Ok((early, Protocol::Http1));
        }
        if early.len() == PREFACE.len() {
            return Ok((early, Protocol::Http2));
        }
    }
}

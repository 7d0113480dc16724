//! The canary's connection to its own node: a socket as any client's, with TLS where the listener speaks it, one request,
//! and the events of its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::pass::{Pass, Worn};
use super::reader::{Event, Reader, Stop};
use crate::healthcheck::reachable;

/// Bytes read at once: events are small.
const READ_BYTES: usize = 4 * 1_024;

/// Where the node's own listener is, and how it is entered.
pub struct Door {
    address: SocketAddr,
    path: &'static str,
    tls: Option<Arc<ClientConfig>>,
    pass: Pass,
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// An open stream, or one that is about to be.
pub(super) struct Link {
    /// Before the socket, so that it is nobody's when its address may become another's.
    _worn: Worn,
    wire: Box<dyn Wire>,
    reader: Reader,
    /// When something was last heard.
    pub(super) heard: Instant,
}

impl Door {
    /// The listener that is bound there, which shows one certificate if any: `tls` believes no other.
    #[must_use]
    pub fn new(
        bound: SocketAddr,
        path: &'static str,
        tls: Option<Arc<ClientConfig>>,
        pass: Pass,
    ) -> Door {
        Door {
            address: reachable(bound),
            path,
            tls,
            pass,
        }
    }

    /// Connects and sends the request; the answer comes with the events.
    pub(super) fn enter(
        &self,
        cursor: Option<&str>,
    ) -> impl Future<Output = io::Result<Link>> + use<> {
        let request = self.request(cursor);
        let (address, tls, pass) = (self.address, self.tls.clone(), self.pass.clone());
        async move {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Bound first, so that its address is known to be the canary's before the node sees the connection.
            let mut own = address;
            own.set_port(0);
            socket.bind(own)?;
            let worn = pass.wear(socket.local_addr()?);
            let socket = socket.connect(address).await?;
            socket.set_nodelay(true)?;
            let mut wire: Box<dyn Wire> = match tls {
                None => Box::new(socket),
                Some(tls) => {
                    let name = ServerName::IpAddress(address.ip().into());
                    Box::new(TlsConnector::from(tls).connect(name, socket).await?)
                }
            };
            wire.write_all(request.as_bytes()).await?;
            wire.flush().await?;
            Ok(Link {
                _worn: worn,
                wire,
                reader: Reader::new(),
                heard: Instant::now(),
            })
        }
    }

    fn request(&self, cursor: Option<&str>) -> String {
        let Door { address, path, .. } = self;
        let authorization = self.pass.header();
        let cursor =
            cursor.map_or_else(String::new, |cursor| format!("Last-Event-ID: {cursor}\r\n"));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nAuthorization: {authorization}\r\n{cursor}\r\n"
        )
    }
}

impl Link {
    /// The next event. May be given up and asked for again without losing any.
    ///
    /// # Errors
    /// Why there is none to come.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        loop {
            let read = self.reader.next();
            if let Some(event) = read.map_err(|stop| stop.to_string())? {
                return Ok(event);
            }
            let mut some = [0; READ_BYTES];
            let count = self
                .wire
                .read(&mut some)
                .await
                .map_err(|error| error.to_string())?;
            if count == 0 {
                return Err(Stop::Over.to_string());
            }
            self.heard = Instant::now();
            self.reader.push(some.get(..count).unwrap_or_default());
        }
    }

    /// Where the stream stands.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.reader.cursor()
    }
}

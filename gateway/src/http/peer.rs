//! The TCP connection behind a request: its socket options, the streams on
//! it, and the moment it goes away, which idle HTTP/2 streams do not notice.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::Version;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use super::transport::Socket;

/// Options of every accepted socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Bytes the kernel may hold for a client that does not read.
    pub send_buffer: usize,
    /// How long sent bytes may stay unacknowledged.
    pub user_timeout: Duration,
}

/// Lives in the data of a connection, and in each request of it.
struct PeerToken {
    streams: Rc<PeerStreams>,
    socket: RawFd,
}

/// The streams that one connection carries.
#[derive(Default)]
pub struct PeerStreams {
    gone: Cell<bool>,
    open: Cell<usize>,
    /// Requests that have begun, ever.
    begun: Cell<u64>,
    /// Requests whose answers have not.
    calls: Cell<usize>,
    wakers: RefCell<HashMap<usize, Waker>>,
    /// A duplicate of an HTTP/2 connection's descriptor, so that a stream can cut it: the streams run in tasks of
    /// their own, which outlive the socket. Nothing where the connection was gone already.
    duplicate: OnceCell<Option<OwnedFd>>,
}

/// What a stream knows of its connection.
pub struct Peer {
    streams: Rc<PeerStreams>,
    /// Set where the stream has the connection to itself: HTTP/1.1.
    socket: Option<RawFd>,
    address: Option<SocketAddr>,
}

/// Gives a connection its token: to be called for each, with its data.
pub fn accept(socket: &Socket, data: &mut Extensions) {
    data.insert(PeerToken {
        streams: Rc::clone(socket.peer()),
        socket: socket.tcp().as_raw_fd(),
    });
}

/// A request on its way to its answer; dropped, it is there.
pub struct Call(Rc<PeerStreams>);

impl Call {
    /// Counts a request on its connection.
    #[must_use]
    pub fn begin(request: &ServiceRequest) -> Option<Call> {
        let streams = Rc::clone(&request.conn_data::<PeerToken>()?.streams);
        streams.begun.set(streams.begun.get() + 1);
        streams.calls.set(streams.calls.get() + 1);
        Some(Call(streams))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let calls = &self.0.calls;
        calls.set(calls.get().saturating_sub(1));
    }
}

/// Sets the options of an accepted socket.
///
/// # Errors
/// An option that the kernel refuses.
pub fn set_options(stream: &TcpStream, options: SocketOptions) -> std::io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(options.send_buffer)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    // The kernel counts these in whole seconds, and refuses 0.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time(second.max(options.user_timeout / 2))
        .with_interval(second.max(options.user_timeout / 6))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

impl PeerStreams {
    /// The connection is closed: its streams wake, and end.
    pub(super) fn leave(&self) {
        self.gone.set(true);
        for (_, waker) in self.wakers.take() {
            waker.wake();
        }
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        self.gone.get()
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether a request waits for its answer, or a stream is open.
    pub(super) fn is_busy(&self) -> bool {
        self.calls.get() > 0 || self.open.get() > 0
    }

    /// Wakes a stream's body when the connection goes away.
    pub fn wake_when_gone(&self, key: usize, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        wakers
            .entry(key)
            .and_modify(|old| old.clone_from(waker))
            .or_insert_with(|| waker.clone());
    }

    /// Lets a stream's waker go.
    pub fn forget(&self, key: usize) {
        self.wakers.borrow_mut().remove(&key);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let open = &self.streams.open;
        open.set(open.get().saturating_sub(1));
    }
}

impl Peer {
    /// The peer of a request, with one more stream on it; `None` when its
    /// connection carries `limit` streams already.
    #[must_use]
    pub fn of(request: &HttpRequest, limit: usize) -> Option<Peer> {
        let token = request.conn_data::<PeerToken>();
        let streams = token
            .map(|token| Rc::clone(&token.streams))
            .unwrap_or_default();
        if streams.open.get() >= limit {
            return None;
        }
        streams.open.set(streams.open.get() + 1);
        let alone = request.version() != Version::HTTP_2;
        if let Some(token) = token.filter(|_| !alone) {
            let duplicate = || duplicate(token.socket, request.peer_addr());
            streams.duplicate.get_or_init(duplicate);
        }
        Some(Peer {
            streams,
            socket: token.filter(|_| alone).map(|token| token.socket),
            address: request.peer_addr(),
        })
    }

    /// The other end of the connection: the client, or the last proxy before this node.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The connection's streams, where one of them can outlive it: HTTP/2. An
    /// HTTP/1.1 body is dropped with its connection.
    #[must_use]
    pub fn shared(&self) -> Option<Rc<PeerStreams>> {
        self.socket.is_none().then(|| Rc::clone(&self.streams))
    }

    /// The connection's descriptor once more, where a request that waits for its answer would not notice its end:
    /// HTTP/2, whose requests keep what tells a stream's body ([`PeerStreams::wake_when_gone`]) from being dropped.
    #[must_use]
    pub fn watch(&self) -> Option<TcpStream> {
        let socket = self.streams.duplicate.get()?.as_ref()?.try_clone().ok()?;
        TcpStream::from_std(socket.into()).ok()
    }

    /// Cuts the connection of a client that has stopped reading, so that its dispatcher, which waits for room in
    /// the socket, ends. The client gets a reset (RST), and what it has not taken is dropped. With HTTP/2 the other streams of the connection end too, and resume.
    pub fn cut(&self) {
        if self.streams.has_gone() {
            return;
        }
        let Some(socket) = self.socket else {
            if let Some(Some(socket)) = self.streams.duplicate.get() {
                shut(&SockRef::from(socket));
            }
            return;
        };
        #[allow(
            unsafe_code,
            reason = "actix-web lends its socket to `on_connect` only. An HTTP/1.1 body, and so this \
                      peer, is dropped by the dispatcher that owns the socket, before it is closed."
        )]
        // SAFETY: the descriptor is open for as long as the body that holds this peer.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        shut(&SockRef::from(&socket));
    }
}

fn shut(socket: &SockRef<'_>) {
    // Without lingering, its last close is a reset instead of waiting for a client that takes nothing.
    let cut = socket
        .set_linger(Some(Duration::ZERO))
        .and_then(|()| socket.shutdown(Shutdown::Both));
    if let Err(error) = cut {
        tracing::debug!(%error, "a connection could not be cut");
    }
}

/// A descriptor of our own for an HTTP/2 connection, if it is still that connection's: its task may run
/// after the socket was closed and its number given to another.
fn duplicate(socket: RawFd, peer: Option<SocketAddr>) -> Option<OwnedFd> {
    #[allow(
        unsafe_code,
        reason = "actix-web lends its socket to `on_connect` only, and its HTTP/2 streams outlive it"
    )]
    // SAFETY: it is borrowed for one `fcntl`, which refuses a closed descriptor; whose it is, is checked below.
    let duplicate = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned();
    let duplicate = duplicate.ok()?;
    let address = SockRef::from(&duplicate).peer_addr().ok()?.as_socket();
    (address.is_some() && address == peer).then_some(duplicate)
}

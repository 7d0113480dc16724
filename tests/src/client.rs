//! An EventSource as a browser has it: keeps `lastEventId`, reconnects with it, gives up for ever on a status
//! other than 200; and the same client over NDJSON or a loop of polls. It writes down all it sees and judges nothing; the checker does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    cursor,
    http::ResponseReader,
    shapes::{Body, Pages, Shape},
    sse::{Block, Item},
};

const CONNECT: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 32 * 1024;
const ORDERS: usize = 4;
/// A browser's wait before it reconnects when the stream named none; scaled down by [`Options::retry_cap`].
const RETRY: Duration = Duration::from_secs(3);

/// What a client subscribes to, and where.
#[derive(Clone, Debug)]
pub struct Options {
    pub channels: Vec<String>,
    /// The nodes it goes round, as a load balancer would send it.
    pub nodes: Vec<SocketAddr>,
    /// The node it begins on, an index into `nodes`.
    pub first: usize,
    pub last_event_id: Option<String>,
    /// Asks for `envelope=json`; a client on several channels always does.
    pub envelope: bool,
    /// The longest it waits before a reconnect, whatever `retry:` says: scenarios have no minutes to spare.
    pub retry_cap: Duration,
    /// The kernel's receive buffer in bytes; small for a reader that is to stall.
    pub receive_buffer: Option<u32>,
    pub shape: Shape,
    /// Asks without its place each time, as no browser does: for tests of those who judge.
    pub forgets_its_place: bool,
}

impl Options {
    /// A client of one channel (or of several, in envelopes) that begins live on `nodes[first]`.
    pub fn new(channels: &[&str], nodes: &[SocketAddr], first: usize) -> Options {
        Options {
            channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
            nodes: nodes.to_vec(),
            first,
            last_event_id: None,
            envelope: channels.len() > 1,
            retry_cap: Duration::from_millis(200),
            receive_buffer: None,
            shape: Shape::EventStream,
            forgets_its_place: false,
        }
    }
}

/// One thing that a client saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It asks `node` for the stream, with this `Last-Event-ID`.
    Asked {
        node: SocketAddr,
        last_event_id: Option<String>,
    },
    Event(Block),
    /// A blank line without data.
    EmptyBlock,
    Retry(Duration),
    /// The server answered with this status: a browser gives up for ever.
    Refused(u16),
    /// The stream is over.
    Ended(End),
}

impl Seen {
    /// The node, if the client asked one.
    pub fn asked(&self) -> Option<SocketAddr> {
        if let Seen::Asked { node, .. } = self {
            Some(*node)
        } else {
            None
        }
    }

    /// The block, if one was dispatched.
    pub fn block(&self) -> Option<&Block> {
        if let Seen::Event(block) = self {
            Some(block)
        } else {
            None
        }
    }

    /// How the connection ended, if it did.
    pub fn ended(&self) -> Option<&End> {
        if let Seen::Ended(end) = self {
            Some(end)
        } else {
            None
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The server ended the body in order.
    Complete,
    /// No connection, or it broke.
    Broken(String),
    /// The client left by itself.
    Left,
}

/// All that one client saw, each with its time, in order.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub name: String,
    pub channels: Vec<String>,
    pub seen: Vec<(Instant, Seen)>,
    /// `lastEventId` as a browser would hold it now.
    pub last_event_id: String,
    pub heartbeats: u64,
}

impl Log {
    /// All dispatched blocks in order, control blocks included.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.timed_blocks().map(|(_, block)| block)
    }

    /// All dispatched blocks with the time at which each was read.
    pub fn timed_blocks(&self) -> impl DoubleEndedIterator<Item = (Instant, &Block)> {
        self.seen
            .iter()
            .filter_map(|(when, seen)| Some((*when, seen.block()?)))
    }

    /// The blocks of one control type, such as `sluice.reset`.
    pub fn controls(&self, event: &str) -> impl Iterator<Item = &Block> {
        self.blocks().filter(move |block| block.event == event)
    }

    /// The application's events: every block that is not Sluice's own.
    pub fn events(&self) -> impl Iterator<Item = &Block> {
        self.blocks()
            .filter(|block| !block.event.starts_with("sluice."))
    }

    /// How often it asked a node for the stream.
    pub fn asked(&self) -> usize {
        self.seen
            .iter()
            .filter(|(_, seen)| seen.asked().is_some())
            .count()
    }

    /// The place in `channel` that the last event id names.
    pub fn place(&self, channel: &str) -> Option<String> {
        cursor::place(&self.last_event_id, &self.channels, channel)
    }

    fn note(&mut self, seen: Seen) {
        self.seen.push((Instant::now(), seen));
    }
}

enum Order {
    MoveTo(usize),
}

/// A running client; stops when dropped.
#[derive(Debug)]
pub struct Client {
    log: Arc<Mutex<Log>>,
    orders: mpsc::Sender<Order>,
    stalled: watch::Sender<bool>,
    /// Ends the session when dropped.
    _session: JoinSet<()>,
}

impl Client {
    /// Starts a client; it connects in the background.
    pub fn start(name: impl Into<String>, options: Options) -> Client {
        let log = Log {
            name: name.into(),
            channels: options.channels.clone(),
            last_event_id: options.last_event_id.clone().unwrap_or_default(),
            ..Log::default()
        };
        let log = Arc::new(Mutex::new(log));
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (stalled, stall) = watch::channel(false);
        let run = Session {
            options,
            log: Arc::clone(&log),
            stall,
            retry: RETRY,
            pages: Pages::default(),
        }
        .run(inbox);
        let mut session = JoinSet::new();
        session.spawn(run);
        Client {
            log,
            orders,
            stalled,
            _session: session,
        }
    }

    /// The log so far, to look at for a moment.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log
            .lock()
            .expect("no client panics while it writes its log")
    }

    /// Leaves its node and asks the node of index `node` next.
    pub async fn move_to(&self, node: usize) -> Result<()> {
        self.orders
            .send(Order::MoveTo(node))
            .await
            .ok()
            .context("the client has given up")
    }

    /// Stops reading from the socket (true) or goes on (false).
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Whether its present stream has begun with `sluice.open` and the place of every channel is known.
    pub fn opened(&self) -> bool {
        let log = self.log();
        let mut stream = log
            .seen
            .iter()
            .rev()
            .take_while(|(_, seen)| seen.asked().is_none());
        stream.any(|(_, seen)| {
            seen.block()
                .is_some_and(|block| block.event == "sluice.open")
        }) && log
            .channels
            .iter()
            .all(|channel| log.place(channel).is_some())
    }
}

struct Session {
    options: Options,
    log: Arc<Mutex<Log>>,
    stall: watch::Receiver<bool>,
    retry: Duration,
    pages: Pages,
}

impl Session {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut node = self.options.first;
        loop {
            let ended = tokio::select! {
                ended = self.stream(node) => ended,
                Some(Order::MoveTo(next)) = orders.recv() => {
                    self.note(Seen::Ended(End::Left));
                    node = next;
                    continue;
                }
            };
            self.note(ended.clone());
            if matches!(ended, Seen::Refused(_)) {
                return;
            }
            node += 1;
            let wait = self.retry.min(self.options.retry_cap);
            tokio::select! {
                () = sleep(wait) => {}
                Some(Order::MoveTo(next)) = orders.recv() => node = next,
            }
        }
    }

    /// One connection from request to end.
    async fn stream(&mut self, node: usize) -> Seen {
        let addr = self.options.nodes[node % self.options.nodes.len()];
        match self.try_stream(addr).await {
            Ok(seen) => seen,
            Err(error) => Seen::Ended(End::Broken(format!("{error:#}"))),
        }
    }

    async fn try_stream(&mut self, addr: SocketAddr) -> Result<Seen> {
        let (request, last_event_id) = self.request(addr);
        self.note(Seen::Asked {
            node: addr,
            last_event_id,
        });
        let mut socket = timeout(CONNECT, self.connect(addr))
            .await
            .context("connecting took too long")??;
        socket.write_all(request.as_bytes()).await?;
        let (mut reader, mut parser) = (ResponseReader::default(), self.options.shape.body());
        let (mut buffer, mut body, mut items) = (vec![0; READ_BYTES], Vec::new(), Vec::new());
        loop {
            self.stall.wait_for(|stalled| !stalled).await?;
            let count = socket.read(&mut buffer).await?;
            if count == 0 {
                return Ok(Seen::Ended(match reader.complete() {
                    true => End::Complete,
                    false => End::Broken("cut in the middle of the body".to_owned()),
                }));
            }
            reader.feed(&buffer[..count], &mut body)?;
            let Some(head) = reader.head() else { continue };
            if head.status != 200 {
                return Ok(Seen::Refused(head.status));
            }
            let content_type = head.header("content-type").unwrap_or_default();
            if !content_type.starts_with(self.options.shape.media_type()) {
                bail!("content type {content_type:?}");
            }
            match &mut parser {
                Body::Events(parser) => parser.feed(&body, &mut items),
                Body::Lines(parser) => parser.feed(&body, self.options.envelope, &mut items)?,
                Body::Page if !reader.complete() => continue,
                Body::Page => items = self.page(std::mem::take(&mut body))?,
            }
            body.clear();
            self.take(&mut items);
            if reader.is_whole() {
                return Ok(Seen::Ended(End::Complete));
            }
        }
    }

    fn page(&mut self, body: Vec<u8>) -> Result<Vec<Item>> {
        let limit = match self.options.shape {
            Shape::Poll { limit, .. } => limit,
            Shape::EventStream | Shape::Ndjson => 0,
        };
        let text = String::from_utf8(body)?;
        self.pages.read(&text, &self.options.channels, limit)
    }

    async fn connect(&self, addr: SocketAddr) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(socket.connect(addr).await?)
    }

    fn request(&self, addr: SocketAddr) -> (String, Option<String>) {
        let mut query: Vec<String> = self
            .options
            .channels
            .iter()
            .map(|channel| format!("channel={channel}"))
            .collect();
        let (path, close) = match self.options.shape {
            Shape::EventStream if self.options.envelope => {
                query.push("envelope=json".to_owned());
                ("/v1/events", "")
            }
            Shape::EventStream | Shape::Ndjson => ("/v1/events", ""),
            Shape::Poll { limit, timeout } => {
                query.push(format!("limit={limit}&timeout={}ms", timeout.as_millis()));
                ("/v1/poll", "Connection: close\r\n")
            }
        };
        let last = self
            .log
            .lock()
            .expect("no client panics while it writes its log")
            .last_event_id
            .clone();
        // A browser sends the header only when the id is not empty.
        let last = (!last.is_empty() && !self.options.forgets_its_place).then_some(last);
        let header = last
            .as_ref()
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        let query = query.join("&");
        let text = format!(
            "GET {path}?{query} HTTP/1.1\r\nHost: {addr}\r\nAccept: {}\r\nCache-Control: no-cache\r\n{close}{header}\r\n",
            self.options.shape.media_type()
        );
        (text, last)
    }

    fn take(&mut self, items: &mut Vec<Item>) {
        let mut log = self
            .log
            .lock()
            .expect("no client panics while it writes its log");
        for item in items.drain(..) {
            match item {
                Item::Event(block) => {
                    block.last_event_id.clone_into(&mut log.last_event_id);
                    log.note(Seen::Event(block));
                }
                Item::EmptyBlock(id) => {
                    log.last_event_id = id;
                    log.note(Seen::EmptyBlock);
                }
                Item::Comment => log.heartbeats += 1,
                Item::Retry(wait) => {
                    self.retry = wait;
                    log.note(Seen::Retry(wait));
                }
            }
        }
    }

    fn note(&self, seen: Seen) {
        self.log
            .lock()
            .expect("no client panics while it writes its log")
            .note(seen);
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

//! A node in this process: the real composition root on a thread of its own, listening on free ports.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_gateway::config::{Args, Config};
use sluice_gateway::server::{self, Listeners};
use tokio::sync::oneshot;

use super::http::{self, Answer, Events};
use super::{NO_CANARY, PATIENCE, find};

/// One worker, so that what a test says about "the" worker holds; everyone may connect; no canary.
const BASE: &[(&str, &str)] = &[
    ("SLUICE__AUTH__MODE", "anonymous"),
    ("SLUICE__HTTP__WORKERS", "1"),
    NO_CANARY,
];

/// Any free port of this machine alone.
const LOOPBACK: &str = "127.0.0.1:0";

/// A running node; dropped, it drains and ends.
pub struct Node {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// A node on the embedded broker, with further settings such as `("STREAM__HEARTBEAT", "1s")`.
    pub fn embedded(settings: &[(&str, &str)]) -> Node {
        Node::start(&[&[("BROKER__MODE", "embedded")], settings].concat())
    }

    /// A node on a Redis.
    pub fn redis(url: &str, settings: &[(&str, &str)]) -> Node {
        Node::start(&[&[("REDIS__URL", url)], settings].concat())
    }

    /// A node on the embedded broker with `--dev`.
    pub fn dev(settings: &[(&str, &str)]) -> Node {
        let settings = [&[("BROKER__MODE", "embedded")], settings].concat();
        Node::start_with(true, LOOPBACK, &settings)
    }

    /// A node on the embedded broker whose public listener is bound to this address and port.
    pub fn bound(address: &str, settings: &[(&str, &str)]) -> Node {
        let settings = [&[("BROKER__MODE", "embedded")], settings].concat();
        Node::start_with(false, address, &settings)
    }

    fn start(settings: &[(&str, &str)]) -> Node {
        Node::start_with(false, LOOPBACK, settings)
    }

    fn start_with(dev: bool, public: &str, settings: &[(&str, &str)]) -> Node {
        let quick = [
            ("DRAIN__READINESS_LEAD", "0s"),
            ("DRAIN__DEADLINE", "100ms"),
        ];
        let set = quick
            .iter()
            .chain(settings)
            .map(|(key, value)| (format!("SLUICE__{key}"), (*value).to_owned()));
        let base = BASE.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let args = Args {
            dev,
            ..Args::default()
        };
        let config = Config::load(&args, base.chain(set)).expect("valid settings");
        let bind = |address: &str| TcpListener::bind(address).expect("a free port");
        let listeners = Listeners {
            public: bind(public),
            admin: bind(LOOPBACK),
        };
        let address = |listener: &TcpListener| listener.local_addr().expect("bound");
        let (public, admin) = (address(&listeners.public), address(&listeners.admin));
        let (shutdown, ends) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let ends = async { ends.await.unwrap_or_default() };
            actix_web::rt::System::new()
                .block_on(server::run(config, listeners, ends))
                .expect("the node ran and ended well");
        });
        Node {
            public,
            admin,
            shutdown: Some(shutdown),
            thread: Some(thread),
        }
    }

    /// Waits until `/readyz` says so.
    pub fn ready(self) -> Node {
        find("the node is ready", PATIENCE, || {
            (self.readiness() == Some(200)).then_some(())
        });
        self
    }

    /// The status of `/readyz`; nothing when nobody answers any more.
    pub fn readiness(&self) -> Option<u16> {
        http::try_call(self.admin, "GET", "/readyz", &[], b"").map(|answer| answer.status)
    }

    /// One sample of `/metrics`, such as `sluice_connections` or `x_total{reason="drain"}`.
    pub fn metric(&self, sample: &str) -> f64 {
        metric(self.admin, sample)
    }

    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        http::call(self.public, "GET", target, headers, b"")
    }

    /// Publishes plain data and gives the position.
    pub fn publish(&self, channel: &str, data: &str) -> String {
        let answer = self.post(channel, &[], data.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        id(&answer)
    }

    pub fn post(&self, channel: &str, headers: &[(&str, &str)], data: &[u8]) -> Answer {
        let target = format!("/v1/channels/{channel}/events");
        http::call(self.public, "POST", &target, headers, data)
    }

    /// Opens a stream and reads its `sluice.open`.
    pub fn stream(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let mut events = Events::open(self.public, &format!("/v1/events?{query}"), headers);
        let open = events.next();
        assert_eq!(open.event, "sluice.open", "{open:?}");
        events.opened = Some(open);
        events
    }

    /// Hands in a new token for a stream.
    pub fn renew(&self, connection: &str, authorization: &str) -> Answer {
        let target = format!("/v1/events/{connection}/token");
        let headers = [("Authorization", authorization)];
        http::call(self.public, "POST", &target, &headers, b"")
    }

    /// Tells the node to leave.
    pub fn leave(&mut self) {
        drop(self.shutdown.take());
    }

    /// Waits for the end of a node that was told to leave, and says how long that took.
    pub fn ended(&mut self, within: Duration) -> Duration {
        let since = Instant::now();
        find("the node has ended", within, || {
            self.thread
                .as_ref()
                .is_none_or(JoinHandle::is_finished)
                .then_some(())
        });
        since.elapsed()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.leave();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the node has panicked");
        }
    }
}

/// One sample of a node's `/metrics`.
pub fn metric(admin: SocketAddr, sample: &str) -> f64 {
    let answer = http::call(admin, "GET", "/metrics", &[], b"");
    let value = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no sample {sample}"))
        .parse()
        .expect("a number")
}

/// The position in the answer to a publish.
pub fn id(answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    json["id"].as_str().expect("a position").to_owned()
}

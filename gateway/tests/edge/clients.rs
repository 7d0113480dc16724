//! Clients over HTTP/2 and over TLS, with the certificates that they trust.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::PATIENCE;
use crate::harness::http::request;
use crate::harness::node::{Node, metric};

const CONNECTIONS: &str = "sluice_connections";

/// Runs a test's side to its end, which comes soon or is a failure.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let bounded = async { tokio::time::timeout(PATIENCE * 2, future).await };
    let ended = runtime.expect("a runtime").block_on(bounded);
    ended.expect("no answer, frame or end that never comes")
}

/// Waits for the number of open streams.
pub async fn gauge(node: &Node, what: &str, wanted: f64, within: Duration) {
    sample(node, CONNECTIONS, what, wanted, within).await;
}

/// Waits for the value of a metric.
pub async fn sample(node: &Node, name: &str, what: &str, wanted: f64, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let (admin, name) = (node.admin, name.to_owned());
        let read = tokio::task::spawn_blocking(move || metric(admin, &name));
        let seen = read.await.expect("read");
        if seen == wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: still {seen}, not {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An HTTP/2 connection with prior knowledge; dropped, its TCP connection closes.
pub struct Connection {
    requests: SendRequest<Bytes>,
    pub driver: tokio::task::JoinSet<()>,
}

impl Connection {
    pub async fn open(node: &Node) -> Connection {
        let socket = tokio::net::TcpStream::connect(node.public).await;
        Connection::over(socket.expect("connected")).await
    }

    pub async fn over<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> Connection {
        let (requests, connection) = h2::client::handshake(io).await.expect("a handshake");
        let mut driver = tokio::task::JoinSet::new();
        // How a connection ends is each test's own matter.
        driver.spawn(async { connection.await.unwrap_or_default() });
        Connection { requests, driver }
    }

    pub async fn ask(&mut self, accept: &str) -> ResponseFuture {
        self.get("/v1/events?channel=a", &[("accept", accept)])
            .await
    }

    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> ResponseFuture {
        let mut requests = self.requests.clone().ready().await.expect("room");
        let mut request = Request::get(format!("http://sluice.test{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        requests.send_request(request, true).expect("sent").0
    }

    /// Opens a stream and reads up to its `sluice.open`.
    pub async fn stream(&mut self) -> RecvStream {
        let response = self
            .ask("text/event-stream")
            .await
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        check_headers(response.headers());
        let mut body = response.into_body();
        let text = body_until(&mut body, "\n\n").await;
        assert!(text.starts_with(":\n"), "{text:?}");
        body
    }
}

/// Reads a body until it holds some text.
pub async fn body_until(body: &mut RecvStream, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let bytes = body.data().await.expect("more").expect("no error");
        body.flow_control()
            .release_capacity(bytes.len())
            .expect("released");
        text += std::str::from_utf8(&bytes).expect("UTF-8");
    }
    text
}

fn check_headers(headers: &HeaderMap) {
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    // Connection-specific fields make a message malformed (RFC 9113, 8.2.2).
    assert!(!headers.contains_key("connection") && !headers.contains_key("transfer-encoding"));
}

/// A certificate for `localhost` with its key, in files that a node reads.
pub struct Certificates {
    place: TempDir,
}

impl Certificates {
    pub fn made() -> Certificates {
        let certificates = Certificates {
            place: tempfile::tempdir().expect("a directory"),
        };
        certificates.renew();
        certificates
    }

    /// Puts another certificate with another key in place of the one before.
    pub fn renew(&self) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        self.put("cert.pem", &certificate.pem());
        self.put("key.pem", &key.serialize_pem());
    }

    pub fn put(&self, name: &str, text: &str) {
        // Whole or not at all, as a secret that is mounted changes.
        let (new, path) = (self.path("new"), self.path(name));
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, path).expect("in place");
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.place.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    pub fn settings(&self) -> [(&'static str, String); 2] {
        [
            ("TLS__CERTIFICATE_FILE", self.path("cert.pem")),
            ("TLS__KEY_FILE", self.path("key.pem")),
        ]
    }

    /// The certificate as it is now.
    pub fn current(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("cert.pem")).expect("a certificate")
    }

    /// A client's settings: it trusts the certificate as it is now.
    pub fn client(
        &self,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.current()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// A TLS connection.
pub async fn handshake(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Http1,
    Http2,
    TlsHttp1,
    TlsHttp2,
}

impl Kind {
    pub fn has_tls(self) -> bool {
        matches!(self, Kind::TlsHttp1 | Kind::TlsHttp2)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Kind::Http2 | Kind::TlsHttp2)
    }
}

/// A connection with open streams, and the socket under it.
pub struct Open {
    /// A duplicate, for what a test does to it.
    pub socket: TcpStream,
    pub carrier: Carrier,
}

pub enum Carrier {
    Http1(Box<dyn Io>),
    Http2(Connection, Vec<RecvStream>),
}

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Open {
    /// Opens so many streams on one connection; one with HTTP/1.1.
    pub async fn connect(
        address: SocketAddr,
        kind: Kind,
        certificates: &Certificates,
        streams: usize,
    ) -> Open {
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_nonblocking(true).expect("set");
        let kept = socket.try_clone().expect("a duplicate");
        let plain = tokio::net::TcpStream::from_std(socket).expect("a socket");
        let io: Box<dyn Io> = if kind.has_tls() {
            let alpn: &[u8] = if kind.is_http2() { b"h2" } else { b"http/1.1" };
            let client = certificates.client(&[alpn], rustls::ALL_VERSIONS);
            let name = ServerName::try_from("localhost").expect("a name");
            let stream = TlsConnector::from(Arc::new(client))
                .connect(name, plain)
                .await;
            let stream = stream.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
            Box::new(stream)
        } else {
            Box::new(plain)
        };
        let carrier = if kind.is_http2() {
            let mut connection = Connection::over(io).await;
            let mut open = Vec::new();
            for _ in 0..streams {
                open.push(connection.stream().await);
            }
            Carrier::Http2(connection, open)
        } else {
            assert_eq!(streams, 1);
            let mut io = io;
            let ask = request("GET", "/v1/events?channel=a", &[], b"");
            io.write_all(&ask).await.expect("sent");
            read_until(&mut io, "sluice.open").await;
            Carrier::Http1(io)
        };
        Open {
            socket: kept,
            carrier,
        }
    }

    /// Waits for some text on its streams.
    pub async fn hears(&mut self, wanted: &str) {
        match &mut self.carrier {
            Carrier::Http1(io) => {
                read_until(io, wanted).await;
            }
            Carrier::Http2(_, streams) => {
                for stream in streams {
                    body_until(stream, wanted).await;
                }
            }
        }
    }

    /// Lets go of every descriptor of the connection.
    pub async fn close(self) {
        let Open { socket, carrier } = self;
        match carrier {
            Carrier::Http1(io) => drop(io),
            Carrier::Http2(mut connection, streams) => {
                connection.driver.shutdown().await;
                drop(streams);
            }
        }
        drop(socket);
    }
}

/// Reads until some text has come.
pub async fn read_until<T: AsyncRead + Unpin>(io: &mut T, wanted: &str) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if text.contains(wanted) {
            return text.into_owned();
        }
        let count = io.read_buf(&mut bytes).await.expect("no error");
        assert!(
            count > 0,
            "closed before {wanted:?}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

//! Streams that are opened and held, read no further than `sluice.open`: for measuring what an idle one costs over TLS and
//! over HTTP/2. (Plain HTTP/1.1 is `load`'s.)

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::ServerName,
    pki_types::pem::PemObject,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{certificate::Certificate, load::connect};

/// Streams on one HTTP/2 connection: `limits.streams_per_connection`.
const STREAMS_PER_CONNECTION: usize = 100;
const OPENING: Duration = Duration::from_secs(10);
const OPEN: &[u8] = b"event: sluice.open";
const MOST_HEAD: usize = 8 * 1024;
const NAME: &str = "localhost";

/// Streams over TLS, HTTP/1.1 each.
pub struct OverTls {
    _streams: Vec<TlsStream<TcpStream>>,
}

impl OverTls {
    /// Opens `count` streams on the channel of the bench.
    pub async fn open(
        gateway: SocketAddr,
        certificate: &Certificate,
        count: usize,
    ) -> Result<OverTls> {
        let connector = connector(certificate)?;
        let name = ServerName::try_from(NAME)?;
        let mut streams = Vec::with_capacity(count);
        for n in 0..count {
            let opened = timeout(OPENING, async {
                let socket = connect(gateway, n).await?;
                let mut stream = connector.connect(name.clone(), socket).await?;
                ask(&mut stream).await?;
                anyhow::Ok(stream)
            });
            let stream = opened.await.with_context(|| format!("stream {n}"))??;
            streams.push(stream);
        }
        Ok(OverTls { _streams: streams })
    }
}

fn connector(trusted: &Certificate) -> Result<TlsConnector> {
    let pem = fs::read(&trusted.certificate)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem)?)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks for the stream and reads up to `sluice.open`.
async fn ask(stream: &mut TlsStream<TcpStream>) -> Result<()> {
    let request = "GET /v1/events?channel=bench.0 HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut seen = Vec::new();
    while !seen.windows(OPEN.len()).any(|window| window == OPEN) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await?;
        ensure!(
            count > 0 && seen.len() < MOST_HEAD,
            "no sluice.open: {}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

/// Streams over HTTP/2 without TLS, a hundred on each connection.
pub struct OverHttp2 {
    _streams: Vec<h2::RecvStream>,
    /// Drives the connections until dropped.
    _connections: JoinSet<Result<(), h2::Error>>,
}

impl OverHttp2 {
    /// Opens `count` streams on the channel of the bench.
    pub async fn open(gateway: SocketAddr, count: usize) -> Result<OverHttp2> {
        let (mut streams, mut connections) = (Vec::with_capacity(count), JoinSet::new());
        let mut requests = None;
        for n in 0..count {
            if n % STREAMS_PER_CONNECTION == 0 {
                let (sender, connection) =
                    h2::client::handshake(connect(gateway, n).await?).await?;
                connections.spawn(connection);
                requests = Some(sender);
            }
            let sender = requests.take().context("a connection")?;
            let (sender, stream) = timeout(OPENING, one(sender))
                .await
                .with_context(|| format!("stream {n}"))??;
            requests = Some(sender);
            streams.push(stream);
        }
        Ok(OverHttp2 {
            _streams: streams,
            _connections: connections,
        })
    }
}

type Sender = h2::client::SendRequest<bytes::Bytes>;

async fn one(sender: Sender) -> Result<(Sender, h2::RecvStream)> {
    let mut sender = sender.ready().await?;
    let request = http::Request::get("http://bench/v1/events?channel=bench.0")
        .header("accept", "text/event-stream")
        .body(())?;
    let (response, _) = sender.send_request(request, true)?;
    let response = response.await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while !seen.windows(OPEN.len()).any(|window| window == OPEN) {
        let Some(piece) = body.data().await.transpose()? else {
            bail!("no sluice.open: {}", String::from_utf8_lossy(&seen));
        };
        body.flow_control().release_capacity(piece.len())?;
        seen.extend_from_slice(&piece);
    }
    Ok((sender, body))
}

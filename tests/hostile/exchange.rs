//! One connection on which some bytes are sent, whatever they are, and what comes back is read to a point that the
//! caller names, to its end, or to a bound that means a hang.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::http::{Head, ResponseReader};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longest wait for an answer or an end; whoever needs longer hangs.
const LIMIT: Duration = Duration::from_secs(15);
const READ_BYTES: usize = 64 * 1024;
/// More than any answer here holds.
const MOST_BYTES: usize = 8 * 1024 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What came back.
#[derive(Debug, Default)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// The gateway ended the connection.
    pub closed: bool,
}

/// Sends `bytes` on a connection of its own, and reads until `enough` or the connection's end.
///
/// # Errors
/// Neither within the limit: a hang.
pub async fn exchange(
    addr: SocketAddr,
    bytes: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Heard> {
    let mut heard = Heard::default();
    let talk = async {
        let mut socket = TcpStream::connect(addr).await.context("connecting")?;
        let (mut from, mut to) = socket.split();
        let mut buffer = vec![0; READ_BYTES];
        let mut left = bytes;
        while !enough(&heard.bytes) {
            ensure!(heard.bytes.len() < MOST_BYTES, "an answer without an end");
            tokio::select! {
                // Whoever is refused half-way may be cut off: what has come by then is the answer.
                sent = to.write(left), if !left.is_empty() => match sent {
                    Ok(count) => left = &left[count..],
                    Err(_) => left = &[],
                },
                read = from.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => heard.bytes.extend_from_slice(&buffer[..count]),
                    Ok(_) | Err(_) => {
                        heard.closed = true;
                        return Ok(());
                    }
                },
            }
        }
        Ok(())
    };
    match timeout(LIMIT, talk).await {
        Ok(done) => done?,
        Err(_) => anyhow::bail!(
            "neither an answer nor an end within {LIMIT:?}, but {} bytes",
            heard.bytes.len()
        ),
    }
    Ok(heard)
}

/// An HTTP/1 response, as far as it has come.
#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub body: String,
    pub complete: bool,
}

/// The response in `bytes`; nothing before its head is whole.
///
/// # Errors
/// Bytes that are no response, or go on behind one.
pub fn answer(bytes: &[u8], head_only: bool) -> Result<Option<Answer>> {
    let bytes = bytes.strip_prefix(CONTINUE).unwrap_or(bytes);
    let (mut reader, mut body) = (ResponseReader::default(), Vec::new());
    reader.feed(bytes, &mut body)?;
    let complete = head_only || reader.complete();
    Ok(reader.head().cloned().map(|head| Answer {
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
        complete,
    }))
}

//! HTTP/1.1 by hand: one short GET, and a reader that takes a response apart byte by byte. Refuses what the
//! gateway has no reason to send, so that a framing error of the server is never smoothed over.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest response head that is read.
const HEAD_BYTES: usize = 16 * 1024;
/// The longest chunk-size line that is read.
const CHUNK_LINE_BYTES: usize = 64;
/// How long a short request may take altogether.
const SHORT_REQUEST: Duration = Duration::from_secs(5);

/// Status and header fields of a response; names in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// How the body is framed (RFC 9112, section 6.3).
#[derive(Debug)]
enum Body {
    /// Still reading the head.
    Unknown,
    ChunkSize,
    ChunkData(usize),
    ChunkEnd,
    Trailer,
    Length(usize),
    UntilClose,
    Done,
}

/// Takes one response apart as its bytes come in.
#[derive(Debug)]
pub struct ResponseReader {
    head: Option<Head>,
    body: Body,
    pending: Vec<u8>,
}

impl Default for ResponseReader {
    fn default() -> Self {
        ResponseReader {
            head: None,
            body: Body::Unknown,
            pending: Vec::new(),
        }
    }
}

impl ResponseReader {
    /// Takes the next bytes from the socket and appends what they hold of the body to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        while self.step(out)? {}
        Ok(())
    }

    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether the server ended the body as its framing demands (an end of file decides for a body without).
    pub fn complete(&self) -> bool {
        matches!(self.body, Body::Done | Body::UntilClose | Body::Length(0))
    }

    /// Whether the body has come whole by its own framing: nothing more is to be waited for, though the connection may stay (a
    /// load balancer keeps it for the next request).
    pub fn is_whole(&self) -> bool {
        matches!(self.body, Body::Length(0) | Body::Done)
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        match self.body {
            Body::Unknown => self.read_head(),
            Body::ChunkSize => self.read_chunk_size(),
            Body::ChunkData(left) => {
                let taken = self.take(left, out);
                self.body = if taken == left {
                    Body::ChunkEnd
                } else {
                    Body::ChunkData(left - taken)
                };
                Ok(taken == left)
            }
            Body::ChunkEnd => {
                let Some(line) = self.line(CHUNK_LINE_BYTES)? else {
                    return Ok(false);
                };
                ensure!(line.is_empty(), "a chunk is longer than its size: {line:?}");
                self.body = Body::ChunkSize;
                Ok(true)
            }
            Body::Trailer => {
                let Some(line) = self.line(HEAD_BYTES)? else {
                    return Ok(false);
                };
                if line.is_empty() {
                    self.body = Body::Done;
                }
                Ok(true)
            }
            Body::Length(left) => {
                let taken = self.take(left, out);
                self.body = Body::Length(left - taken);
                ensure!(
                    left > taken || self.pending.is_empty(),
                    "bytes after the end of the body"
                );
                Ok(false)
            }
            Body::UntilClose => {
                out.append(&mut self.pending);
                Ok(false)
            }
            Body::Done => {
                ensure!(self.pending.is_empty(), "bytes after the last chunk");
                Ok(false)
            }
        }
    }

    fn take(&mut self, limit: usize, out: &mut Vec<u8>) -> usize {
        let count = limit.min(self.pending.len());
        out.extend(self.pending.drain(..count));
        count
    }

    fn line(&mut self, limit: usize) -> Result<Option<String>> {
        let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") else {
            ensure!(
                self.pending.len() <= limit,
                "a line of more than {limit} bytes"
            );
            return Ok(None);
        };
        let line =
            String::from_utf8(self.pending[..end].to_vec()).context("a line that is not UTF-8")?;
        self.pending.drain(..end + 2);
        Ok(Some(line))
    }

    fn read_chunk_size(&mut self) -> Result<bool> {
        let Some(line) = self.line(CHUNK_LINE_BYTES)? else {
            return Ok(false);
        };
        let size =
            usize::from_str_radix(&line, 16).with_context(|| format!("chunk size {line:?}"))?;
        self.body = if size == 0 {
            Body::Trailer
        } else {
            Body::ChunkData(size)
        };
        Ok(true)
    }

    fn read_head(&mut self) -> Result<bool> {
        let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(
                self.pending.len() <= HEAD_BYTES,
                "a response head of more than {HEAD_BYTES} bytes"
            );
            return Ok(false);
        };
        let text =
            String::from_utf8(self.pending[..end].to_vec()).context("a head that is not UTF-8")?;
        self.pending.drain(..end + 4);
        let head = parse_head(&text)?;
        self.body = framing(&head)?;
        self.head = Some(head);
        Ok(true)
    }
}

fn parse_head(text: &str) -> Result<Head> {
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3));
    let status = status
        .with_context(|| format!("status line {status_line:?}"))?
        .parse()?;
    let headers = lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("header line {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Result<_>>()?;
    Ok(Head { status, headers })
}

fn framing(head: &Head) -> Result<Body> {
    if let Some(coding) = head.header("transfer-encoding") {
        ensure!(
            coding.eq_ignore_ascii_case("chunked"),
            "transfer-encoding {coding:?}"
        );
        return Ok(Body::ChunkSize);
    }
    match head.header("content-length") {
        Some(length) => Ok(Body::Length(length.parse()?)),
        None => Ok(Body::UntilClose),
    }
}

/// A finished short response.
#[derive(Debug)]
pub struct Response {
    pub head: Head,
    pub body: String,
}

/// One `GET` on a connection of its own.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Response> {
    request(
        addr,
        &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// One `POST` with `body` on a connection of its own; `headers` are whole lines, each with its CRLF.
pub async fn post(addr: SocketAddr, path: &str, headers: &str, body: &str) -> Result<Response> {
    let length = body.len();
    request(
        addr,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ),
    )
    .await
}

async fn request(addr: SocketAddr, text: &str) -> Result<Response> {
    let exchange = async {
        let mut socket = TcpStream::connect(addr).await?;
        socket.write_all(text.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        let (mut reader, mut body) = (ResponseReader::default(), Vec::new());
        reader.feed(&bytes, &mut body)?;
        let Some(head) = reader.head().cloned() else {
            bail!("no response head from {addr}")
        };
        ensure!(reader.complete(), "the response from {addr} is cut short");
        Ok(Response {
            head,
            body: String::from_utf8(body)?,
        })
    };
    timeout(SHORT_REQUEST, exchange)
        .await
        .with_context(|| format!("no answer from {addr} in {SHORT_REQUEST:?}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> Result<(ResponseReader, String)> {
        let (mut reader, mut body) = (ResponseReader::default(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            reader.feed(piece, &mut body)?;
        }
        Ok((reader, String::from_utf8(body)?))
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nc\r\n, world\r\n!!\n\r\n0\r\n\r\n";

    #[test]
    fn a_chunked_body_reads_the_same_whatever_the_split() {
        for step in 1..CHUNKED.len() {
            let (reader, body) = read(CHUNKED, step).expect("a good response");
            assert_eq!(body, "hello, world\r\n!!\n", "split every {step}");
            assert!(reader.complete());
        }
    }

    #[test]
    fn a_body_cut_short_is_not_complete() {
        let (reader, _) = read(&CHUNKED[..CHUNKED.len() - 5], 7).expect("good so far");
        assert!(!reader.complete());
    }

    #[test]
    fn broken_framing_is_refused() {
        for bad in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            "nonsense\r\n\r\n",
        ] {
            assert!(read(bad, 4).is_err(), "{bad:?} passed");
        }
    }
}

//! An HTTP/1.1 client and an event-stream reader by hand (RFC 9112; WHATWG HTML, 9.2), so that no library's leniency
//! hides what is on the wire.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// An answer, its body whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The `code` of a problem document; checks its media type.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let json: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(json["status"], self.status);
        json["code"].as_str().expect("a code").to_owned()
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// One request on a connection of its own.
pub fn call(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    try_call(address, method, target, headers, body).expect("an answer")
}

/// The same; nothing when nobody answers.
pub fn try_call(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut socket = connect(address).ok()?;
    let close = [headers, &[("Connection", "close")]].concat();
    socket
        .write_all(&request(method, target, &close, body))
        .ok()?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).ok()?;
    let end = find(&bytes, b"\r\n\r\n")?;
    let (status, headers) = head(&bytes[..end]);
    let rest = &bytes[end + 4..];
    let chunked = header(&headers, "transfer-encoding") == Some("chunked");
    let body = if chunked && method != "HEAD" {
        let mut chunks = Chunks::default();
        chunks.push(rest);
        assert!(chunks.ended, "the last chunk is missing: {:?}", text(rest));
        chunks.out
    } else {
        rest.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body: text(&body),
    })
}

pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A request's bytes.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: sluice.test\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        bytes += &format!("Content-Length: {}\r\n", body.len());
    }
    bytes += "\r\n";
    [bytes.as_bytes(), body].concat()
}

fn head(bytes: &[u8]) -> (u16, Vec<(String, String)>) {
    let text = text(bytes);
    let mut lines = text.split("\r\n");
    let status = lines.next().expect("a status line");
    let status = status.split(' ').nth(1).expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    (status.parse().expect("a number"), headers)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The chunked coding (RFC 9112, 7.1), undone as it arrives.
#[derive(Default)]
struct Chunks {
    raw: Vec<u8>,
    out: Vec<u8>,
    ended: bool,
}

impl Chunks {
    fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        while !self.ended {
            let Some(line) = find(&self.raw, b"\r\n") else {
                return;
            };
            let size = usize::from_str_radix(&text(&self.raw[..line]), 16).expect("a chunk size");
            let end = line + 2 + size + 2;
            if self.raw.len() < end {
                return;
            }
            assert_eq!(&self.raw[end - 2..end], b"\r\n", "a chunk's end");
            self.out.extend_from_slice(&self.raw[line + 2..end - 2]);
            self.raw.drain(..end);
            self.ended = size == 0;
        }
    }
}

/// One block of an event stream that has data, as it was on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub event: String,
    pub data: String,
    /// Only what this block says; a block without an id has none here.
    pub id: Option<String>,
    pub retry: Option<u64>,
}

impl Block {
    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The id, which must be there.
    pub fn id(&self) -> &str {
        self.id
            .as_deref()
            .unwrap_or_else(|| panic!("no id: {self:?}"))
    }
}

/// An open event stream.
pub struct Events {
    pub socket: TcpStream,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Comment lines so far.
    pub comments: usize,
    /// The first `sluice.open`, when it was waited for.
    pub opened: Option<Block>,
    chunks: Chunks,
    taken: usize,
}

impl Events {
    /// Sends the request and reads the head of the answer, which must be a 200.
    pub fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Events {
        let mut socket = connect(address).expect("a connection");
        socket
            .write_all(&request("GET", target, headers, b""))
            .expect("sent");
        Events::over(socket)
    }

    /// Reads the answer to a request that was sent on `socket`.
    pub fn over(mut socket: TcpStream) -> Events {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end;
            }
            let mut some = [0; 4_096];
            let count = socket.read(&mut some).expect("an answer in time");
            assert!(count > 0, "closed before the head: {:?}", text(&bytes));
            bytes.extend_from_slice(&some[..count]);
        };
        let (status, headers) = head(&bytes[..end]);
        assert_eq!(status, 200, "{}", text(&bytes));
        let mut chunks = Chunks::default();
        chunks.push(&bytes[end + 4..]);
        Events {
            socket,
            status,
            headers,
            comments: 0,
            opened: None,
            chunks,
            taken: 0,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body's bytes so far, at least one; for what stands before any block.
    pub fn first_bytes(&mut self) -> String {
        while self.chunks.out.is_empty() && self.fill() {}
        text(&self.chunks.out)
    }

    /// The next block with data.
    pub fn next(&mut self) -> Block {
        self.next_within(PATIENCE)
            .expect("a block before the end of the stream")
    }

    /// So many blocks.
    pub fn take(&mut self, count: usize) -> Vec<Block> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The data of so many blocks.
    pub fn data(&mut self, count: usize) -> Vec<String> {
        self.take(count)
            .into_iter()
            .map(|block| block.data)
            .collect()
    }

    /// The next block, or nothing when the stream ends; panics when neither comes in time.
    pub fn next_within(&mut self, within: Duration) -> Option<Block> {
        let deadline = Instant::now() + within;
        let mut block = Block::default();
        let mut data = Vec::new();
        loop {
            let Some(line) = self.line(deadline) else {
                assert!(data.is_empty(), "cut inside a block");
                return None;
            };
            match line.split_once(':') {
                None if line.is_empty() && data.is_empty() => {
                    panic!("a blank line without data raises phantom events in several clients")
                }
                None if line.is_empty() => {
                    block.data = data.join("\n");
                    return Some(block);
                }
                Some(("", _)) => self.comments += 1,
                Some((field, value)) => {
                    let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                    match field {
                        "event" => block.event = value,
                        "data" => data.push(value),
                        "id" => block.id = Some(value),
                        "retry" => block.retry = Some(value.parse().expect("a number")),
                        other => panic!("a field nobody knows: {other}"),
                    }
                }
                None => panic!("a line that is no field: {line:?}"),
            }
        }
    }

    /// The stream's last blocks up to its end, which must be whole.
    pub fn rest(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next_within(PATIENCE) {
            blocks.push(block);
        }
        blocks
    }

    /// Waits for more comment lines than there have been, without any block.
    pub fn heartbeat(&mut self) {
        let before = self.comments;
        let deadline = Instant::now() + PATIENCE;
        while self.comments == before {
            let line = self.line(deadline).expect("a heartbeat before the end");
            assert!(line.starts_with(':'), "not a heartbeat: {line:?}");
            self.comments += 1;
        }
    }

    /// Closes the sending half.
    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).expect("half closed");
    }

    /// The next line; nothing at the end of the chunked body or of the connection.
    pub fn line(&mut self, deadline: Instant) -> Option<String> {
        loop {
            let rest = &self.chunks.out[self.taken..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = text(&rest[..end]);
                self.taken += end + 1;
                return Some(line);
            }
            if self.chunks.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came in time");
            self.socket
                .set_read_timeout(Some(left))
                .expect("a valid wait");
            if !self.fill() {
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        self.chunks.out.drain(..self.taken);
        self.taken = 0;
        let mut some = [0; 65_536];
        let count = match self.socket.read(&mut some) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing came in time: {error}"),
        };
        self.chunks.push(&some[..count]);
        count > 0
    }
}

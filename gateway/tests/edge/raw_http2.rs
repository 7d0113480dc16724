//! An HTTP/2 client that sends what it likes, frame by frame (RFC 9113, section 4).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::http::connect;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A GET's header block, without Huffman and without entries for the table (RFC 7541, 6.2.2).
pub fn block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x0bsluice.test");
    block
}

pub fn ask(stream: u32) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &block("/v1/events?channel=a"),
    )
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A client that sends what it likes.
pub struct Raw {
    pub socket: TcpStream,
    /// Setting and value, as the gateway has told them.
    pub settings: Vec<(u16, u32)>,
}

impl Raw {
    /// A connection whose settings are known on both sides.
    pub fn open(address: SocketAddr) -> Raw {
        let mut socket = connect(address).expect("connected");
        socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("sent");
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).expect("sent");
        let mut raw = Raw {
            socket,
            settings: Vec::new(),
        };
        let first = raw.next().expect("settings");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0));
        raw.settings = first
            .payload
            .chunks(6)
            .map(|six| {
                let value = u32::from_be_bytes([six[2], six[3], six[4], six[5]]);
                (u16::from_be_bytes([six[0], six[1]]), value)
            })
            .collect();
        raw.send(&frame(SETTINGS, ACK, 0, &[]));
        assert!(raw.answers(), "a PING is answered");
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("sent");
    }

    /// The next frame; nothing at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).map_err(is_end).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).map_err(is_end).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// Whether the connection is alive: all that was sent before is taken, and a PING answered.
    pub fn answers(&mut self) -> bool {
        if self
            .socket
            .write_all(&frame(PING, 0, 0, b"are you?"))
            .is_err()
        {
            return false;
        }
        std::iter::from_fn(|| self.next()).any(|frame| frame.kind == PING && frame.flags == ACK)
    }

    /// Waits for the status of a stream's answer to come.
    pub fn answered(&mut self, stream: u32) {
        let head = std::iter::from_fn(|| self.next())
            .find(|frame| frame.kind == HEADERS && frame.stream == stream);
        assert!(head.is_some(), "an answer on {stream}");
    }

    /// Waits for the end of the connection; the code of its GOAWAY where one comes before.
    pub fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                let four = frame.payload[4..8].try_into().expect("a code");
                code = Some(u32::from_be_bytes(four));
            }
        }
        code
    }
}

/// A wait that is over is no end.
fn is_end(error: std::io::Error) {
    let late = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
    assert!(!late.contains(&error.kind()), "nothing came in time");
}

/// The answer to a PING.
pub fn pong(ping: &Frame) -> Vec<u8> {
    frame(PING, ACK, 0, &ping.payload)
}

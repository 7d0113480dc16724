//! HTTP/2 frames (RFC 9113, 4.1), as bytes: written with any fault that is wanted, and read just far enough to judge
//! an answer. Written apart from the product's library.

/// What a client's connection begins with (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_HEADERS: u8 = 4;

const HEAD_BYTES: usize = 9;
const ACK: u8 = 1;

/// One frame; nothing checks that it makes sense.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// What a gateway's frames say.
#[derive(Debug, Default)]
pub struct Said {
    /// The status of each response, as far as it can be read.
    pub statuses: Vec<Option<u16>>,
    pub resets: usize,
    pub goaway: bool,
    pub pong: bool,
}

impl Said {
    /// Reads the whole frames in `bytes`.
    pub fn read(mut bytes: &[u8]) -> Said {
        let mut said = Said::default();
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else {
                break;
            };
            match (head[3], head[4]) {
                (HEADERS, _) => said.statuses.push(status(payload)),
                (RST_STREAM, _) => said.resets += 1,
                (GOAWAY, _) => said.goaway = true,
                (PING, flags) => said.pong |= flags & ACK != 0,
                (_, _) => {}
            }
            bytes = &rest[length..];
        }
        said
    }
}

/// The status that a response's header block begins with (RFC 7541, appendix A and B; RFC 9113, 8.3.2).
fn status(block: &[u8]) -> Option<u16> {
    // The size of the table may stand before.
    let begin = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block.get(begin..)? {
        [0x88, ..] => Some(200),
        [0x89, ..] => Some(204),
        [0x8a, ..] => Some(206),
        [0x8b, ..] => Some(304),
        [0x8c, ..] => Some(400),
        [0x8d, ..] => Some(404),
        [0x8e, ..] => Some(500),
        // A literal whose name is `:status`, with or without indexing.
        [0x48 | 0x08 | 0x18, 3, digits @ ..] => number(digits.get(..3)?),
        [0x48 | 0x08 | 0x18, length, code @ ..] if length & 0x80 != 0 => {
            number(&huffman_digits(code.get(..usize::from(length & 0x7f))?))
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The three digits of a Huffman-coded status: `0` to `2` have the five bits 0 to 2, `3` to `9` the six bits 0x19 to 0x1f.
fn huffman_digits(code: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = code
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1))
        .collect();
    let value = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | bit);
    let (mut digits, mut rest) = (Vec::new(), &bits[..]);
    while digits.len() < 3 && rest.len() >= 5 {
        let (digit, length) = match (value(&rest[..5]), rest.get(..6).map(value)) {
            (short @ 0..=2, _) => (short, 5),
            (_, Some(long @ 0x19..=0x1f)) => (long - 0x16, 6),
            (_, _) => break,
        };
        digits.push(b'0' + digit);
        rest = &rest[length..];
    }
    digits
}

#[test]
fn statuses_are_read_from_every_form_of_a_header_block() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x20, 0x8d]), Some(404));
    assert_eq!(status(b"\x48\x03405"), Some(405));
    // RFC 7541, C.6.1: 302.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    let wire = [
        frame(SETTINGS, 0, 0, b""),
        frame(HEADERS, 4, 1, &[0x8e]),
        frame(GOAWAY, 0, 0, &[0; 8]),
    ]
    .concat();
    let said = Said::read(&wire);
    assert_eq!(said.statuses, [Some(500)]);
    assert!(said.goaway && !said.pong && said.resets == 0);
}

//! Just enough of Redis's protocol (RESP2 and RESP3) to find where a frame ends and whether it is a pub/sub
//! message, so that the proxy can drop exactly that one.

use anyhow::{Context, Result, bail};

/// Splits a byte stream from Redis into whole frames.
#[derive(Debug, Default)]
pub struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Takes the next bytes and gives back the frames they complete, each with all its bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.pending.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(length) = frame_bytes(&self.pending)? {
            frames.push(self.pending.drain(..length).collect());
        }
        Ok(frames)
    }
}

/// Topic and payload when `frame` is a `message` or `smessage` of pub/sub.
pub fn message(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (kind, header) = line(frame)?;
    if !matches!(kind, b'*' | b'>') || header != b"3" {
        return None;
    }
    let mut rest = &frame[header.len() + 3..];
    let mut parts = [&b""[..]; 3];
    for part in &mut parts {
        let (kind, length) = line(rest)?;
        if kind != b'$' {
            return None;
        }
        let start = length.len() + 3;
        let end = start + usize::try_from(number(length).ok()?).ok()?;
        *part = rest.get(start..end)?;
        rest = rest.get(end + 2..)?;
    }
    matches!(parts[0], b"message" | b"smessage").then_some((parts[1], parts[2]))
}

/// Bytes of the first frame in `bytes`; none while it is incomplete.
fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((kind, header)) = line(bytes) else {
        return Ok(None);
    };
    let start = header.len() + 3;
    let children = match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => return Ok(Some(start)),
        b'$' | b'=' | b'!' => {
            let length = number(header)?;
            let end = usize::try_from(length).map_or(start, |length| start + length + 2);
            return Ok((bytes.len() >= end).then_some(end));
        }
        b'*' | b'~' | b'>' => number(header)?,
        b'%' => 2 * number(header)?,
        // An attribute comes before the reply it belongs to.
        b'|' => 2 * number(header)? + 1,
        other => bail!("byte {other:#04x} starts no Redis frame"),
    };
    let mut end = start;
    for _ in 0..children {
        match frame_bytes(&bytes[end..])? {
            Some(length) => end += length,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

/// The first line's kind and content, without its CRLF.
fn line(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((*bytes.first()?, bytes.get(1..end)?))
}

fn number(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text)?;
    text.parse().with_context(|| format!("length {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&str; 6] = [
        "+OK\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$4\r\na\r\nb\r\n",
        ">3\r\n$8\r\nsmessage\r\n$1\r\nt\r\n$0\r\n\r\n",
        "%2\r\n$1\r\nk\r\n:1\r\n$1\r\nl\r\n*2\r\n_\r\n#t\r\n",
        "$-1\r\n",
        "*-1\r\n",
    ];

    #[test]
    fn frames_are_found_whatever_the_split() {
        let stream = FRAMES.concat();
        for step in 1..stream.len() {
            let mut frames = Frames::default();
            let found: Vec<Vec<u8>> = stream
                .as_bytes()
                .chunks(step)
                .flat_map(|piece| frames.feed(piece).expect("good frames"))
                .collect();
            assert_eq!(
                found,
                FRAMES.map(|frame| frame.as_bytes().to_vec()),
                "split every {step}"
            );
        }
    }

    #[test]
    fn only_pubsub_messages_are_messages() {
        let found: Vec<_> = FRAMES
            .iter()
            .filter_map(|frame| message(frame.as_bytes()))
            .collect();
        assert_eq!(found, [(&b"t"[..], &b"a\r\nb"[..]), (&b"t"[..], &b""[..])]);
        assert_eq!(message(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nt\r\n:1\r\n"), None);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(Frames::default().feed(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}

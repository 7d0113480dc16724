//! Cursors have one form, and hold exactly what was written. Input: the text of a cursor, read twice: as a cursor, and as
//! the places of one, 12 bytes each.

use bytes::BytesMut;
use sluice_wire::channel::Channel;
use sluice_wire::cursor::{self, Cursor};
use sluice_wire::position::Position;

use crate::text;

pub fn check(bytes: &[u8]) {
    read(&text(bytes));
    written(bytes);
}

/// Whatever is accepted could have been written here: there is no second text for the same place.
fn read(text: &str) {
    match Cursor::parse(text) {
        Ok(Cursor::Bare(position)) => {
            let mut out = BytesMut::new();
            cursor::write_bare(position, &mut out);
            assert_eq!(&out[..], text.as_bytes());
            assert_eq!(position.to_string(), text);
        }
        Ok(Cursor::Many(places)) => {
            assert!(places.len() <= Cursor::MAX_CHANNELS);
            // Four characters for three bytes, sixteen bytes a place, and the version before them.
            assert_eq!(text.len(), 2 + (places.len() * 16 * 4).div_ceil(3));
            assert!(text.is_ascii() && !text.contains(char::is_control));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The places of up to 32 channels come back, each to its own.
fn written(bytes: &[u8]) {
    let (chunks, _) = bytes.as_chunks::<12>();
    let mut places: Vec<(Channel, Position)> = Vec::new();
    for (n, chunk) in chunks.iter().take(Cursor::MAX_CHANNELS).enumerate() {
        let channel = Channel::parse(&format!("channel.{n}")).expect("a channel");
        places.push((channel, Position::from_bytes(*chunk)));
    }
    let mut out = BytesMut::new();
    let entries = places
        .iter()
        .map(|(channel, position)| (channel.short_hash(), *position));
    cursor::write_many(entries, &mut out);
    let text = String::from_utf8(out.to_vec()).expect("ASCII");
    let Ok(Cursor::Many(read)) = Cursor::parse(&text) else {
        panic!("unreadable: {text}");
    };
    assert_eq!(read.len(), places.len());
    for (channel, position) in places {
        assert_eq!(read.get(&channel), Some(position));
    }
}

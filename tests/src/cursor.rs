//! Reads what `lastEventId` holds, apart from the product: one position as it is, or the versioned vector of
//! several channels (4 bytes of FNV-1a over the name, 12 bytes of position each).

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

const VERSION: &str = "1~";
const ENTRY_BYTES: usize = 16;

/// The place that cursor `text` of a stream over `channels` holds for `channel`, as a position's text.
pub fn place(text: &str, channels: &[String], channel: &str) -> Option<String> {
    match text.strip_prefix(VERSION) {
        None if channels.len() == 1 => (!text.is_empty()).then(|| text.to_owned()),
        None => None,
        Some(entries) => entry(&BASE64_URL_SAFE_NO_PAD.decode(entries).ok()?, channel),
    }
}

fn entry(entries: &[u8], channel: &str) -> Option<String> {
    let hash = fnv1a(channel.as_bytes()).to_be_bytes();
    let entry = entries
        .chunks_exact(ENTRY_BYTES)
        .find(|entry| entry[..4] == hash)?;
    let (milliseconds, rest) = entry[4..].split_at(6);
    let ms = milliseconds
        .iter()
        .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
    let (seq, tag) = (
        u16::from_be_bytes([rest[0], rest[1]]),
        u32::from_be_bytes([rest[2], rest[3], rest[4], rest[5]]),
    );
    Some(format!("{ms}-{seq}.{tag:08x}"))
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The cursor of several channels that stand at these positions; what is no position is left out.
pub fn of(places: &BTreeMap<String, String>) -> String {
    let entries: Vec<(&str, (u64, u16, u32))> = places
        .iter()
        .filter_map(|(channel, place)| Some((channel.as_str(), position(place)?)))
        .collect();
    write(&entries)
}

fn position(text: &str) -> Option<(u64, u16, u32)> {
    let (id, tag) = text.split_once('.')?;
    let (ms, seq) = id.split_once('-')?;
    Some((
        ms.parse().ok()?,
        seq.parse().ok()?,
        u32::from_str_radix(tag, 16).ok()?,
    ))
}

/// Writes a cursor of several channels.
pub(crate) fn write(places: &[(&str, (u64, u16, u32))]) -> String {
    let bytes: Vec<u8> = places
        .iter()
        .flat_map(|(channel, (ms, seq, tag))| {
            [
                &fnv1a(channel.as_bytes()).to_be_bytes()[..],
                &ms.to_be_bytes()[2..],
                &seq.to_be_bytes(),
                &tag.to_be_bytes(),
            ]
            .concat()
        })
        .collect();
    format!("{VERSION}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_one_position_and_from_a_vector() {
        let channels = ["a".to_owned(), "b".to_owned()];
        let text = write(&[("b", (1_763_676_000_123, 7, 0x9f2c_41aa)), ("a", (0, 0, 1))]);
        assert_eq!(
            place(&text, &channels, "b").as_deref(),
            Some("1763676000123-7.9f2c41aa")
        );
        assert_eq!(
            place(&text, &channels, "a").as_deref(),
            Some("0-0.00000001")
        );
        assert_eq!(place(&text, &channels, "c"), None);
        assert_eq!(
            place("5-0.00000001", &channels[..1], "a").as_deref(),
            Some("5-0.00000001")
        );
        assert_eq!(place("5-0.00000001", &channels, "a"), None);
        assert_eq!(place("", &channels[..1], "a"), None);
    }

    #[test]
    fn places_written_as_a_cursor_read_the_same() {
        let channels = ["a".to_owned(), "b".to_owned()];
        let place = |text: &str| text.to_owned();
        let places = BTreeMap::from([
            (channels[0].clone(), place("1763676000123-7.9f2c41aa")),
            (channels[1].clone(), place("0-0.00000001")),
        ]);
        for channel in &channels {
            assert_eq!(
                super::place(&of(&places), &channels, channel).as_ref(),
                places.get(channel)
            );
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the vectors of draft-eastlake-fnv.
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}

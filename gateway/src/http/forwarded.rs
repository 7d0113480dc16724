//! Whose address a request comes from. A proxy that is trusted is believed about the hop before it, and nobody else is:
//! the list is read from its end, and whatever cannot be read ends it there. Pure: no I/O, no HTTP types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{ForwardedHeader, Network};

/// Hops that are looked at, the nearest first.
pub const HOPS_MOST: usize = 32;
/// Longest text of one hop, port included, in bytes.
const HOP_BYTES: usize = 64;
/// Longest line of `Forwarded`, which has to be read from its beginning.
const LINE_BYTES: usize = 4_096;

/// Which proxies are believed, and where they write.
#[derive(Clone, Debug)]
pub struct Forwarding {
    trusted: Vec<Network>,
    header: ForwardedHeader,
}

/// What is counted as one client: an IPv4 address, or the /64 of an IPv6 one, which a single host can have to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKey {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> AddressKey {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressKey::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                AddressKey::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Forwarding {
    /// Believes these proxies about what they write into this header.
    #[must_use]
    pub fn new(trusted: Vec<Network>, header: ForwardedHeader) -> Forwarding {
        Forwarding { trusted, header }
    }

    /// The header's name.
    #[must_use]
    pub fn header(&self) -> &'static str {
        self.header.as_str()
    }

    /// The client behind `peer`, given the values of all header lines in their order: the last address that is not a
    /// trusted proxy's. Where the next hop cannot be read or is hidden, the trusted proxy that wrote it.
    #[must_use]
    pub fn client(&self, peer: IpAddr, lines: &[&[u8]]) -> IpAddr {
        let mut nearest = peer.to_canonical();
        if !self.trusts(nearest) {
            return nearest;
        }
        let hops = lines.iter().rev().flat_map(|line| self.hops(line));
        for hop in hops.take(HOPS_MOST) {
            let Some(address) = hop else {
                return nearest;
            };
            nearest = address;
            if !self.trusts(address) {
                return nearest;
            }
        }
        nearest
    }

    /// Whether the address is a trusted proxy's.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The hops of one line, the nearest first; `None` for one that does not tell an address.
    fn hops(&self, line: &[u8]) -> Vec<Option<IpAddr>> {
        match self.header {
            ForwardedHeader::XForwardedFor => {
                let hops = line.rsplit(|byte| *byte == b',').take(HOPS_MOST);
                hops.map(|hop| node(hop.trim_ascii())).collect()
            }
            // A broken line says nothing that can be believed: a quote that a client leaves open would swallow what the
            // proxy adds behind it.
            ForwardedHeader::Forwarded => match parts(line, b',') {
                Some(elements) => elements.into_iter().rev().map(element).collect(),
                None => vec![None],
            },
        }
    }
}

/// The parts between separators outside of quoted strings (RFC 9110, 5.6.4); `None` when a string is not closed or the
/// line is too long.
fn parts(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    if text.len() > LINE_BYTES {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|byte| {
        if escaped {
            escaped = false;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        } else {
            return !quoted && *byte == separator;
        }
        false
    });
    let parts: Vec<&[u8]> = parts.collect();
    (!quoted).then_some(parts)
}

/// The `for` of one element (RFC 7239, section 4): `for=192.0.2.60;proto=http;by=203.0.113.43`.
fn element(element: &[u8]) -> Option<IpAddr> {
    let mut given = None;
    for pair in parts(element, b';')? {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        if name.eq_ignore_ascii_case(b"for") && given.replace(value).is_some() {
            return None;
        }
    }
    let value = given?;
    if value.first() != Some(&b'"') {
        return node(value);
    }
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    // An address needs no escapes; whoever writes one all the same is read as it is meant.
    let mut escaped = false;
    let plain = inner.iter().copied().filter(|byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    });
    node(&plain.take(HOP_BYTES + 1).collect::<Vec<u8>>())
}

/// An address, with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn node(text: &[u8]) -> Option<IpAddr> {
    if text.len() > HOP_BYTES {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address = address.parse::<Ipv6Addr>().ok().filter(|_| is_port);
        address.map(IpAddr::from)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        Some(address)
    } else {
        let (address, port) = text.rsplit_once(':')?;
        let address = address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port));
        address.map(IpAddr::from)
    };
    address.map(|address| address.to_canonical())
}

/// A number, or one that is kept secret (RFC 7239, section 6): `_p7`.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(secret) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !secret.is_empty() && secret.bytes().all(fits)
        }
        None => {
            (1..=5).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && text.parse::<u16>().is_ok()
        }
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;

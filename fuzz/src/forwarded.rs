//! Whose address a request comes from. Input: the peer's address, the trusted ranges parted by blanks, and the header's lines,
//! parted by line feeds. Both headers are read from them.

use std::net::{IpAddr, Ipv4Addr};

use sluice_gateway::config::{ForwardedHeader, Network};
use sluice_gateway::http::forwarded::{AddressKey, Forwarding};

use crate::{parts, text};

/// Ranges that a node is configured with, at the most.
const RANGES: usize = 8;
/// What an honest proxy saw: nobody trusts it here.
const CALLER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// A stranger is itself, whatever it says. Behind a proxy it is a hop that the lines name, or the proxy; and nobody becomes
/// another by what it sends ahead of what an honest proxy adds.
pub fn check(bytes: &[u8]) {
    let [peer, ranges, lines] = parts::<3>(bytes);
    let peer = text(peer).trim().parse();
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ranges = text(ranges);
    let trusted = ranges.split(' ').filter_map(|range| range.parse().ok());
    let trusted: Vec<Network> = trusted.take(RANGES).collect();
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let forwarding = Forwarding::new(trusted.clone(), header);
        let client = forwarding.client(peer, &lines);
        let own = peer.to_canonical();
        assert_eq!(client, client.to_canonical(), "one address has one form");
        assert_eq!(forwarding.client(own, &lines), client);
        assert_eq!(AddressKey::from(client), AddressKey::from(own_form(client)));
        if !trusts(&trusted, peer) {
            assert_eq!(client, own, "a stranger became another");
            continue;
        }
        if client != own {
            assert!(is_named(client, &lines, header), "{client} stands nowhere");
        }
        if !trusts(&trusted, CALLER.into()) {
            honest(&forwarding, peer, &lines);
            far(&forwarding, &trusted, peer, &lines);
        }
    }
}

fn trusts(trusted: &[Network], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The same address as IPv6 has it.
fn own_form(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

/// What a proxy writes for `address`.
fn word(header: &str, address: IpAddr) -> String {
    match (header, address) {
        ("forwarded", IpAddr::V4(four)) => format!("for={four};proto=https"),
        ("forwarded", IpAddr::V6(six)) => format!("for=\"[{six}]:443\""),
        (_, address) => address.to_string(),
    }
}

/// The proxy adds its caller, on a line of its own or behind what the caller sent.
fn honest(forwarding: &Forwarding, proxy: IpAddr, sent: &[&[u8]]) {
    let word = word(forwarding.header(), CALLER.into());
    let apart = [sent, &[word.as_bytes()]].concat();
    assert_eq!(forwarding.client(proxy, &apart), IpAddr::V4(CALLER));
    let Some((last, before)) = sent.split_last() else {
        return;
    };
    let joined = [last, &b", "[..], word.as_bytes()].concat();
    let lines = [before, &[joined.as_slice()]].concat();
    let found = forwarding.client(proxy, &lines);
    // A quote that the caller leaves open takes the proxy's word with it: then nobody is believed.
    let broken = forwarding.header() == "forwarded" && found == proxy.to_canonical();
    assert!(broken || found == IpAddr::V4(CALLER), "{found}");
}

/// A second proxy, trusted too, adds the first: here the peer, which calls itself so.
fn far(forwarding: &Forwarding, trusted: &[Network], proxy: IpAddr, sent: &[&[u8]]) {
    assert!(trusts(trusted, proxy));
    let caller = word(forwarding.header(), CALLER.into());
    let first = word(forwarding.header(), proxy);
    let line = format!("{caller}, {first}");
    for lines in [
        [sent, &[caller.as_bytes(), first.as_bytes()]].concat(),
        [sent, &[line.as_bytes()]].concat(),
    ] {
        assert_eq!(forwarding.client(proxy, &lines), IpAddr::V4(CALLER));
    }
}

/// Whether a line has the address: as a word of its own, whatever stands around it, once escapes are taken out.
fn is_named(address: IpAddr, lines: &[&[u8]], header: ForwardedHeader) -> bool {
    lines.iter().any(|line| {
        let mut line = text(line);
        if header == ForwardedHeader::Forwarded {
            line.retain(|letter| letter != '\\');
        }
        let is_of_address =
            |letter: char| letter.is_ascii_hexdigit() || letter == '.' || letter == ':';
        let mut words = line.split(|letter| !is_of_address(letter));
        words.any(|word| reads_as(word, address))
    })
}

/// Whether the word is the address, with or without a port.
fn reads_as(word: &str, address: IpAddr) -> bool {
    let is = |text: &str| {
        text.parse::<IpAddr>()
            .is_ok_and(|read| read.to_canonical() == address)
    };
    is(word) || word.rsplit_once(':').is_some_and(|(host, _)| is(host))
}

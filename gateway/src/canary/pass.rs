//! How the node knows its own canary: by a secret that never leaves the process but on the canary's own socket, and by that
//! socket. Whoever has neither is a caller like any other, and reserved channels are refused to all of those.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sluice_wire::channel::Channel;

/// The authentication scheme (RFC 9110, section 11.1) that nobody else uses: no token is ever looked for in it.
pub const SCHEME: &str = "Sluice-Canary";
/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// What lets the canary in, and the one channel that it may read. A clone is the same.
#[derive(Clone)]
pub struct Pass {
    channel: Channel,
    /// In hexadecimal, drawn at the start of the process.
    secret: Arc<str>,
    /// Where the canary's socket comes from, while it has one.
    socket: Arc<Mutex<Option<SocketAddr>>>,
}

/// Says that a socket is the canary's, until it is dropped.
pub struct Worn(Pass);

impl Pass {
    #[must_use]
    pub fn new(channel: Channel) -> Pass {
        let secret: [u8; SECRET_BYTES] = rand::random();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Pass {
            channel,
            secret: secret.into(),
            socket: Arc::default(),
        }
    }

    /// The canary's own channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What the canary sends as `Authorization`.
    #[must_use]
    pub(super) fn header(&self) -> String {
        format!("{SCHEME} {}", self.secret)
    }

    /// Notes the address of the canary's socket, before it connects.
    #[must_use]
    pub(super) fn wear(&self, socket: SocketAddr) -> Worn {
        self.set(Some(socket));
        Worn(self.clone())
    }

    /// Whether a connection from there is the canary's. No other connection to this listener can have the address while
    /// the canary's has it.
    #[must_use]
    pub fn is_from(&self, peer: SocketAddr) -> bool {
        let socket = *self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.is_some_and(|socket| same(socket, peer))
    }

    /// Whether a request with this `Authorization` from there is the canary's.
    #[must_use]
    pub fn admits(&self, authorization: &[u8], peer: SocketAddr) -> bool {
        let given = authorization
            .strip_prefix(SCHEME.as_bytes())
            .and_then(|rest| rest.strip_prefix(b" "));
        let knows = given
            .is_some_and(|given| verify_slices_are_equal(given, self.secret.as_bytes()).is_ok());
        knows && self.is_from(peer)
    }

    fn set(&self, socket: Option<SocketAddr>) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = socket;
    }
}

impl Drop for Worn {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass({})", self.channel)
    }
}

/// A listener for both versions of IP sees addresses of the older one in the form of the newer.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    let canonical =
        |address: SocketAddr| -> (IpAddr, u16) { (address.ip().to_canonical(), address.port()) };
    canonical(one) == canonical(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The secret alone is not enough, nor is the socket; and both are only good together and while the socket lives.
    #[test]
    fn the_canary_is_known_by_its_secret_and_its_socket() {
        let channel = Channel::parse("_canary.a").expect("a name");
        let (pass, other) = (Pass::new(channel.clone()), Pass::new(channel));
        let (own, stranger) = (address("127.0.0.1:4000"), address("127.0.0.1:4001"));
        let header = pass.header();
        assert!(!pass.admits(header.as_bytes(), own), "it has no socket yet");
        let worn = pass.wear(own);
        assert!(pass.admits(header.as_bytes(), own));
        assert!(pass.admits(header.as_bytes(), address("[::ffff:127.0.0.1]:4000")));
        assert!(!pass.admits(header.as_bytes(), stranger));
        for guess in [
            "",
            "Sluice-Canary",
            "Sluice-Canary ",
            "Bearer x",
            &header[..header.len() - 1],
            &format!("{header}0"),
            &other.header(),
            &header.to_ascii_lowercase(),
        ] {
            assert!(!pass.admits(guess.as_bytes(), own), "{guess}");
        }
        drop(worn);
        assert!(!pass.admits(header.as_bytes(), own) && !pass.is_from(own));
    }

    #[test]
    fn what_is_printed_of_it_says_no_secret() {
        let pass = Pass::new(Channel::parse("_canary.a").expect("a name"));
        let secret = pass.header();
        let secret = secret.split(' ').next_back().expect("a secret");
        assert_eq!(secret.len(), SECRET_BYTES * 2);
        assert!(!format!("{pass:?}").contains(secret));
    }
}

//! The name of one stream among all streams of all nodes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A stream's name: 16 random bytes, written as 22 characters of base64url. It is told to the stream's own reader only,
/// and grants nothing by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionId([u8; 16]);

/// A text that names no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a connection id is the 22 characters that `sluice.open` told")]
pub struct ConnectionIdError;

impl ConnectionId {
    /// Out of 16 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> ConnectionId {
        ConnectionId(bytes)
    }

    /// Its first bytes, which are as random as the whole.
    pub(super) fn start(self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<ConnectionId, ConnectionIdError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| ConnectionIdError)?;
        bytes
            .try_into()
            .map(ConnectionId)
            .map_err(|_| ConnectionIdError)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConnectionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_reads() {
        let id = ConnectionId::from_bytes([0xfb; 16]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "x",
            "*******************!!!",
            &"A".repeat(21),
            &"A".repeat(23),
        ] {
            assert_eq!(bad.parse::<ConnectionId>(), Err(ConnectionIdError), "{bad}");
        }
    }
}

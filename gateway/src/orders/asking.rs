//! Questions to all nodes, and the answer of the one that knows. Whoever asks waits for its own nonce.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::explain::Why;

/// Names one question: 16 random bytes, so that nobody takes another's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Out of 16 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Nonce {
        Nonce(bytes)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nonce, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        let bytes = bytes.try_into();
        bytes
            .map(Nonce)
            .map_err(|_| D::Error::custom("a nonce has 16 bytes"))
    }
}

/// What the node that knew has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub nonce: Nonce,
    #[serde(flatten)]
    pub finding: Finding,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// The stream goes on with the new token.
    Renewed,
    /// The new token was revoked on its way to the stream, which goes on as it was.
    Revoked,
    /// The stream belongs to another subject and goes on as it was.
    OtherSubject,
    /// The new token does not allow this channel of the stream, which goes on as it was.
    MissingChannel { channel: String },
    /// Why a stream did or did not get an event.
    Why(Box<Why>),
}

impl From<Why> for Finding {
    fn from(why: Why) -> Finding {
        Finding::Why(Box::new(why))
    }
}

//! A token taken apart (RFC 7515, section 3.1), without a word on whether it may be trusted.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// An object of JSON.
pub type Object = Map<String, Value>;

/// A token's parts.
pub struct Parts {
    /// The token's length in bytes.
    pub bytes: usize,
    pub header: Object,
    pub claims: Object,
    /// What is signed.
    pub message: String,
    pub signature: String,
}

/// A text that is no token. Holds no part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// So many parts between dots.
    Parts(usize),
    NotBase64(&'static str),
    NotObject(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Parts(1) => f.write_str("it has no dots; a token has three parts"),
            Malformed::Parts(5) => {
                f.write_str("it has five parts: an encrypted token, which gateways do not read")
            }
            Malformed::Parts(count) => write!(f, "it has {count} parts; a token has three"),
            Malformed::NotBase64(part) => write!(f, "its {part} is not base64url"),
            Malformed::NotObject(part) => write!(f, "its {part} is not a JSON object"),
        }
    }
}

impl Parts {
    /// # Errors
    /// [`Malformed`].
    pub fn of(token: &str) -> Result<Parts, Malformed> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return Err(Malformed::Parts(parts.len()));
        };
        Ok(Parts {
            bytes: token.len(),
            header: object(header, "header")?,
            claims: object(claims, "part with the claims")?,
            message: format!("{header}.{claims}"),
            signature: (*signature).to_owned(),
        })
    }

    /// A text of the header.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }
}

fn object(part: &str, name: &'static str) -> Result<Object, Malformed> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Malformed::NotBase64(name))?;
    serde_json::from_slice(&bytes).map_err(|_| Malformed::NotObject(name))
}

/// An object as a part of a token.
pub fn encode(object: &Object) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(object).unwrap_or_default())
}

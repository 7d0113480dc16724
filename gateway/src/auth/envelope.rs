//! A token before anything is verified: its three parts and its header's demands. Whatever would make a verifier
//! fetch, guess or ignore something is refused here, before any cryptography (RFC 8725, sections 3.1 and 3.10).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::unique::Unique;
use super::{AuthError, KEY_ID_MAX_BYTES, TOKEN_MAX_BYTES};

/// What a header may be typed as (RFC 7519, section 5.1; RFC 9068, section 2.1). Other kinds of JWT are for other uses.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// Members that would bring a key, an encoding or an encryption of the token's own choosing.
const REFUSED: [(&str, &str); 10] = [
    (
        "crit",
        "the token's header has `crit`, which is not supported",
    ),
    (
        "jku",
        "the token's header has `jku`; keys come from the configuration only",
    ),
    (
        "jwk",
        "the token's header has `jwk`; keys come from the configuration only",
    ),
    (
        "x5u",
        "the token's header has `x5u`; keys come from the configuration only",
    ),
    (
        "x5c",
        "the token's header has `x5c`; keys come from the configuration only",
    ),
    (
        "b64",
        "the token's header has `b64`, which is not supported",
    ),
    (
        "enc",
        "the token is encrypted (`enc`), which is not supported",
    ),
    (
        "zip",
        "the token is compressed (`zip`), which is not supported",
    ),
    (
        "epk",
        "the token is encrypted (`epk`), which is not supported",
    ),
    (
        "p2c",
        "the token is encrypted (`p2c`), which is not supported",
    ),
];

/// A token's text and what its header says. Nothing of it is verified.
pub(super) struct Envelope<'a> {
    pub token: &'a str,
    pub algorithm: Algorithm,
    /// 1 to 128 bytes, good for comparing and nothing else.
    pub key_id: Option<String>,
}

impl<'a> Envelope<'a> {
    /// Takes a JWS in compact serialisation (RFC 7515, section 7.1).
    ///
    /// # Errors
    /// [`AuthError::Invalid`].
    pub(super) fn read(token: &'a str) -> Result<Envelope<'a>, AuthError> {
        let header = header(token).map_err(AuthError::Invalid)?;
        for (name, complaint) in REFUSED {
            if header.contains_key(name) {
                return Err(AuthError::Invalid(complaint));
            }
        }
        check_type(&header).map_err(AuthError::Invalid)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        Ok(Envelope {
            token,
            algorithm: algorithm
                .and_then(|name| name.parse().ok())
                .ok_or(AuthError::Invalid(
                    "the token's `alg` is not one that is accepted",
                ))?,
            key_id: key_id(&header).map_err(AuthError::Invalid)?,
        })
    }
}

fn header(token: &str) -> Result<Map<String, Value>, &'static str> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err("the token is longer than 8192 bytes");
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("the token is malformed: three parts are expected, joined by dots");
    };
    if signature.is_empty() {
        return Err("the token is not signed");
    }
    if header.is_empty() || claims.is_empty() {
        return Err("the token is malformed: a part is empty");
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| "the token is malformed: its header is not base64url")?;
    match serde_json::from_slice(&bytes) {
        Ok(Unique(Value::Object(members))) => Ok(members),
        Ok(_) | Err(_) => {
            Err("the token's header is not a JSON object that names each member once")
        }
    }
}

fn check_type(header: &Map<String, Value>) -> Result<(), &'static str> {
    let known = |kind: &Value| {
        let text = kind.as_str();
        text.is_some_and(|text| TYPES.iter().any(|known| known.eq_ignore_ascii_case(text)))
    };
    if !header.get("typ").is_none_or(known) {
        return Err("the token's `typ` is not JWT");
    }
    // RFC 7519, section 5.2: its claims would be another token.
    if header.contains_key("cty") {
        return Err("the token's header has `cty`: nested tokens are not supported");
    }
    Ok(())
}

fn key_id(header: &Map<String, Value>) -> Result<Option<String>, &'static str> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(text)) if (1..=KEY_ID_MAX_BYTES).contains(&text.len()) => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err("the token's `kid` must be a text of 1 to 128 bytes"),
    }
}

//! A JWK Set (RFC 7517) as keys. What is not for verifying signatures here is left out and told, never guessed at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::KEY_ID_MAX_BYTES;
use super::claims::Checks;
use super::keys::{KEYS_MAX, Key, KeySet};
use super::material::{Curve, Material};
use super::unique::Unique;
use crate::config::JwtAlgorithm;

/// Members that only private and symmetric keys have (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The keys of a set, and what was left out.
pub(super) struct Reading {
    pub keys: KeySet,
    /// One sentence for each key that is not used, naming it by its `kid`.
    pub left_out: Vec<String>,
}

/// Reads a JWK Set.
///
/// # Errors
/// What is wrong with the whole, worded to follow its name.
pub(super) fn read(
    bytes: &[u8],
    configured: &[JwtAlgorithm],
    checks: &Checks,
) -> Result<Reading, String> {
    let Unique(document) = serde_json::from_slice(bytes)
        .map_err(|error| format!("is not the JSON of a JWK Set ({})", place(&error)))?;
    let Some(listed) = document.get("keys").and_then(Value::as_array) else {
        return Err("is not a JWK Set: it has no list `keys`".to_owned());
    };
    if listed.len() > KEYS_MAX {
        return Err(format!(
            "has {} keys; at most {KEYS_MAX} are accepted",
            listed.len()
        ));
    }
    let mut keys = KeySet::default();
    let mut left_out = Vec::new();
    for (index, jwk) in listed.iter().enumerate() {
        let added = one(jwk, configured, checks)
            .and_then(|(name, key)| keys.add(name, key).map_err(str::to_owned));
        if let Err(complaint) = added {
            left_out.push(format!("{} {complaint}", called(jwk, index)));
        }
    }
    Ok(Reading { keys, left_out })
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// A key's name for people.
fn called(jwk: &Value, index: usize) -> String {
    match jwk.get("kid").and_then(Value::as_str) {
        Some(name) => {
            let short: String = name.chars().take(KEY_ID_MAX_BYTES).collect();
            format!("the key `{}`", short.escape_debug())
        }
        None => format!("the key number {} (without `kid`)", index + 1),
    }
}

fn one(
    jwk: &Value,
    configured: &[JwtAlgorithm],
    checks: &Checks,
) -> Result<(Option<String>, Key), String> {
    let jwk = jwk.as_object().ok_or("is not an object")?;
    let name = name(jwk)?;
    for_verifying(jwk)?;
    let material = material(jwk)?;
    let algorithm = match jwk.get("alg") {
        None => material.bind(configured)?,
        Some(Value::String(text)) => material.bind_to(text, configured)?,
        Some(_) => return Err("has an `alg` that is no text".to_owned()),
    };
    Ok((name, Key::new(&material, algorithm, checks)))
}

fn name(jwk: &Map<String, Value>) -> Result<Option<String>, String> {
    match jwk.get("kid") {
        None => Ok(None),
        Some(Value::String(text)) if (1..=KEY_ID_MAX_BYTES).contains(&text.len()) => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(format!(
            "has a `kid` that is no text of 1 to {KEY_ID_MAX_BYTES} bytes"
        )),
    }
}

fn for_verifying(jwk: &Map<String, Value>) -> Result<(), String> {
    if jwk.get("kty").and_then(Value::as_str) == Some("oct") {
        return Err("is a symmetric key, which only auth.jwt.secret can be".to_owned());
    }
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return Err("is a private key, and known to whoever can read this set".to_owned());
    }
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err("has a `use` other than `sig`".to_owned());
    }
    let verify = Value::from("verify");
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.contains(&verify) => Ok(()),
        Some(_) => Err("has `key_ops` without `verify`".to_owned()),
    }
}

fn material(jwk: &Map<String, Value>) -> Result<Material, String> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str).unwrap_or_default();
    let bytes = |member: &str| {
        URL_SAFE_NO_PAD
            .decode(text(member))
            .map_err(|_| format!("has a `{member}` that is not base64url"))
    };
    match (text("kty"), text("crv")) {
        ("RSA", _) => Material::rsa(&bytes("n")?, &bytes("e")?),
        ("EC", "P-256") => point(Curve::P256, &bytes("x")?, &bytes("y")?),
        ("EC", "P-384") => point(Curve::P384, &bytes("x")?, &bytes("y")?),
        ("OKP", "Ed25519") => Material::ed(bytes("x")?),
        ("EC" | "OKP", _) => Err("has a `crv` that is not used here".to_owned()),
        _ => Err("has a `kty` that is not used here".to_owned()),
    }
}

/// Coordinates have their full length (RFC 7518, section 6.2.1.2).
fn point(curve: Curve, x: &[u8], y: &[u8]) -> Result<Material, String> {
    let length = curve.coordinate_bytes();
    if x.len() != length || y.len() != length {
        return Err(format!("has coordinates that are not {length} bytes long"));
    }
    Material::ec(curve, [&[4], x, y].concat())
}

//! Keys that are there from the start: the secret, PEM files, a JWKS file.

use std::fs::File;
use std::io::Read as _;

use super::claims::Checks;
use super::keys::{Key, KeySet};
use super::material::Material;
use super::{KeyError, jwk, pem};
use crate::config::JwtConfig;

/// Reads the keys that the configuration names.
///
/// # Errors
/// The setting and what is wrong with what it names.
pub(super) fn local(config: &JwtConfig, checks: &Checks) -> Result<KeySet, KeyError> {
    let mut keys = KeySet::default();
    if let Some(secret) = &config.secret {
        let material = Material::Secret(secret.clone());
        let wrong = |complaint| KeyError::new("auth.jwt.secret", complaint);
        let algorithm = material.bind(&config.algorithms).map_err(wrong)?;
        let key = Key::new(&material, algorithm, checks);
        keys.add(None, key).map_err(|text| wrong(text.to_owned()))?;
    }
    for path in &config.public_key_file {
        from_pem(path, config, checks, &mut keys).map_err(|complaint| {
            KeyError::new("auth.jwt.public_key_file", format!("{path} {complaint}"))
        })?;
    }
    if let Some(path) = &config.jwks_file {
        from_set(path, config, checks, &mut keys).map_err(|complaint| {
            KeyError::new("auth.jwt.jwks_file", format!("{path} {complaint}"))
        })?;
    }
    if keys.len() == 0 {
        let complaint = "must be set when auth.mode is jwt, or another source of keys";
        return Err(KeyError::new("auth.jwt.secret", complaint.to_owned()));
    }
    Ok(keys)
}

fn from_pem(
    path: &str,
    config: &JwtConfig,
    checks: &Checks,
    keys: &mut KeySet,
) -> Result<(), String> {
    let bytes = read(path, pem::FILE_MAX_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not a PEM file")?;
    for material in pem::keys(&text)? {
        let algorithm = material.bind(&config.algorithms)?;
        keys.add(None, Key::new(&material, algorithm, checks))?;
    }
    Ok(())
}

fn from_set(
    path: &str,
    config: &JwtConfig,
    checks: &Checks,
    keys: &mut KeySet,
) -> Result<(), String> {
    let bytes = read(path, config.jwks_bytes.get() as u64)?;
    let reading = jwk::read(&bytes, &config.algorithms, checks)?;
    for complaint in &reading.left_out {
        tracing::warn!(file = path, "left out of auth.jwt.jwks_file: {complaint}");
    }
    if reading.keys.len() == 0 {
        let why = reading.left_out.join("; ");
        return Err(format!("holds no key to verify with ({why})"));
    }
    keys.join(reading.keys).map_err(str::to_owned)
}

fn read(path: &str, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(format!("is larger than {most} bytes"));
    }
    Ok(bytes)
}

//! Public keys from PEM files (RFC 7468): `PUBLIC KEY` (RFC 5280) and `RSA PUBLIC KEY` (RFC 8017). What else such files
//! hold is refused with the way to a public key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::material::{Curve, Material};
use crate::der::{BIT_STRING, Der, INTEGER, OBJECT_ID, SEQUENCE};

/// Most bytes of a PEM file.
pub(super) const FILE_MAX_BYTES: u64 = 64 * 1024;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// All keys of a file's text.
///
/// # Errors
/// What is wrong, worded to follow the file's name.
pub(super) fn keys(text: &str) -> Result<Vec<Material>, String> {
    let blocks = blocks(text)?;
    if blocks.is_empty() {
        return Err("holds no `-----BEGIN PUBLIC KEY-----`".to_owned());
    }
    blocks.iter().map(|(label, der)| key(label, der)).collect()
}

fn key(label: &str, der: &[u8]) -> Result<Material, String> {
    match label {
        "PUBLIC KEY" => public_key(der),
        "RSA PUBLIC KEY" => rsa(der),
        private if private.ends_with("PRIVATE KEY") => Err(
            "holds a private key, which has no business on a gateway; give the public one (`openssl pkey -in FILE -pubout`)"
                .to_owned(),
        ),
        certificate if certificate.ends_with("CERTIFICATE") => Err(
            "holds a certificate, whose dates and names are not checked here; give its public key (`openssl x509 -in FILE -noout -pubkey`)"
                .to_owned(),
        ),
        _ => Err("holds a PEM block that is no `PUBLIC KEY`".to_owned()),
    }
}

/// The blocks, each with its label and bytes.
fn blocks(text: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        let boundary = |word: &str| {
            let label = line.strip_prefix("-----")?.strip_prefix(word)?;
            label.trim_start().strip_suffix("-----")
        };
        if let Some(label) = boundary("BEGIN ") {
            if open.is_some() {
                return Err("has a PEM block within another".to_owned());
            }
            open = Some((label.to_owned(), String::new()));
        } else if let Some(label) = boundary("END ") {
            match open.take() {
                Some((begun, body)) if begun == label => {
                    // A private key may be encrypted, with headers: its label says enough.
                    let der = STANDARD.decode(&body);
                    if der.is_err() && !label.ends_with("PRIVATE KEY") {
                        return Err("has a PEM block that is not base64".to_owned());
                    }
                    blocks.push((begun, der.unwrap_or_default()));
                }
                Some(_) | None => return Err("has a PEM block with another end".to_owned()),
            }
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    match open {
        Some(_) => Err("has a PEM block without an end".to_owned()),
        None => Ok(blocks),
    }
}

/// A SubjectPublicKeyInfo (RFC 5280, section 4.1).
fn public_key(der: &[u8]) -> Result<Material, String> {
    let unreadable = || "holds a `PUBLIC KEY` that cannot be read".to_owned();
    let (algorithm, key) = info(der).ok_or_else(unreadable)?;
    let mut algorithm = Der::new(algorithm);
    let name = algorithm.take(OBJECT_ID).ok_or_else(unreadable)?;
    match name {
        RSA => rsa(key),
        EC => match algorithm.take(OBJECT_ID) {
            Some(P256) => Material::ec(Curve::P256, key.to_vec()),
            Some(P384) => Material::ec(Curve::P384, key.to_vec()),
            Some(_) | None => Err("is a key of a curve other than P-256 and P-384".to_owned()),
        },
        ED25519 => Material::ed(key.to_vec()),
        _ => Err("is neither an RSA, nor a P-256, P-384 or Ed25519 key".to_owned()),
    }
}

/// Algorithm and key of a SubjectPublicKeyInfo.
fn info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Der::new(der);
    let mut info = Der::new(outer.take(SEQUENCE)?);
    let algorithm = info.take(SEQUENCE)?;
    // The first byte counts unused bits, of which a key has none.
    let key = info.take(BIT_STRING)?.strip_prefix(&[0])?;
    (outer.is_empty() && info.is_empty()).then_some((algorithm, key))
}

/// An RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa(der: &[u8]) -> Result<Material, String> {
    let numbers = || {
        let mut outer = Der::new(der);
        let mut numbers = Der::new(outer.take(SEQUENCE)?);
        let pair = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
        (outer.is_empty() && numbers.is_empty()).then_some(pair)
    };
    let (modulus, exponent) =
        numbers().ok_or_else(|| "holds an RSA key that cannot be read".to_owned())?;
    Material::rsa(modulus, exponent)
}

//! PEM files: the keys in them, and keys written as such. What is no key for tokens is refused with what would be.

use std::path::Path;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::algorithm::Kind;
use super::key::{Private, Public};
use crate::failure::Failure;

/// How a public key of a curve begins in DER (RFC 5480, RFC 8410): all but the point is the same in each.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const P256_POINT_BYTES: usize = 65;
const P384_POINT_BYTES: usize = 97;
const ED25519_POINT_BYTES: usize = 32;
/// Characters of a line (RFC 7468, section 2).
const LINE: usize = 64;

const KINDS: &str = "RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519";

/// A key as found in a PEM file.
pub enum Found {
    Private(Private),
    Public(Public),
}

/// The first key in a PEM text; `path` is for messages.
///
/// # Errors
/// There is no key that tokens can be signed or checked with.
pub fn read(text: &[u8], path: &Path) -> Result<Found, Failure> {
    let refuse = |what: &str, hint: String| Failure::Failed {
        what: format!("{}: {what}", path.display()),
        hint: Some(hint),
    };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|_| {
            refuse(
                "the PEM is damaged",
                "copy the file again, from -----BEGIN to -----END".into(),
            )
        })?;
        let found = if kind == SectionKind::RsaPrivateKey {
            RsaKeyPair::from_der(&der).ok().map(Private::rsa)
        } else if kind == SectionKind::EcPrivateKey {
            curve(&der)
        } else if kind == SectionKind::PrivateKey {
            let rsa = RsaKeyPair::from_pkcs8(&der).ok().map(Private::rsa);
            let ed = || Ed25519KeyPair::from_pkcs8(&der).ok().map(Private::Ed25519);
            rsa.or_else(|| curve(&der)).or_else(ed)
        } else if kind == SectionKind::PublicKey {
            let public = public(&der).map(Found::Public);
            return public.ok_or_else(|| {
                refuse(
                    "no public key that tokens are checked with",
                    format!("it must be {KINDS}"),
                )
            });
        } else if kind == SectionKind::Certificate {
            return Err(refuse(
                "a certificate, not a key",
                "take the key out of it: openssl x509 -in FILE -noout -pubkey".into(),
            ));
        } else {
            continue;
        };
        return found.map(Found::Private).ok_or_else(|| {
            refuse(
                "no private key that signs tokens",
                format!("it must be {KINDS}"),
            )
        });
    }
    if text
        .windows(b"ENCRYPTED".len())
        .any(|word| word == b"ENCRYPTED")
    {
        let hint = "decrypt it: openssl pkey -in FILE -out PLAIN, and keep PLAIN to yourself";
        return Err(refuse("the key is encrypted", hint.into()));
    }
    if text
        .windows(b"BEGIN RSA PUBLIC".len())
        .any(|word| word == b"BEGIN RSA PUBLIC")
    {
        let hint = "convert it: openssl rsa -RSAPublicKey_in -in FILE -pubout";
        return Err(refuse("a PKCS#1 public key", hint.into()));
    }
    Err(refuse(
        "there is no key in it",
        "a PEM file is text, with -----BEGIN PRIVATE KEY----- or -----BEGIN PUBLIC KEY-----".into(),
    ))
}

/// A private key of P-256 or P-384, as PKCS#8 or SEC1.
fn curve(der: &[u8]) -> Option<Private> {
    let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
    let p384 = || EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, der);
    match p256 {
        Ok(pair) => Some(Private::Curve(Kind::P256, pair)),
        Err(_) => p384().ok().map(|pair| Private::Curve(Kind::P384, pair)),
    }
}

fn public(der: &[u8]) -> Option<Public> {
    let curves = [
        (Kind::P256, P256, P256_POINT_BYTES),
        (Kind::P384, P384, P384_POINT_BYTES),
        (Kind::Ed25519, ED25519, ED25519_POINT_BYTES),
    ];
    let curve = curves.iter().find_map(|(kind, begin, bytes)| {
        let point = der.strip_prefix(*begin)?;
        (point.len() == *bytes).then(|| Public::new(*kind, point))
    });
    let rsa = || rsa::PublicKey::from_der(der).ok();
    curve.or_else(|| rsa().map(|key| Public::new(Kind::Rsa, key.as_ref())))
}

/// DER as PEM text.
pub fn write(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let encoded = STANDARD.encode(der);
    for line in encoded.as_bytes().chunks(LINE) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

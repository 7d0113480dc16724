//! `sluice token keygen` and `sluice token jwks`: keys made, and their public halves told. A private key is written to a
//! file of its own and nowhere else.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse, ThumbprintHash};

use super::algorithm::Kind;
use super::key::Public;
use super::pem;
use crate::args::{Jwks, Keygen};
use crate::failure::Failure;
use crate::output::Output;

/// Bytes of chance in a secret: the hash's size for HS384, and more than enough for the others as text.
const SECRET_BYTES: usize = 48;

/// Writes the private key to its file and prints the public one.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn keygen(job: &Keygen) -> Result<(), Failure> {
    let made = match job.algorithm.kind() {
        Kind::Secret => {
            let secret = STANDARD.encode(rand::random::<[u8; SECRET_BYTES]>());
            return create(&job.out, &format!("{secret}\n"));
        }
        Kind::Rsa => rsa(),
        Kind::P256 => curve(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Kind::P384 => curve(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Kind::Ed25519 => ed25519(),
    };
    let (private, public) = made.map_err(|_| Failure::failed("cannot make a key"))?;
    create(&job.out, &pem::write("PRIVATE KEY", &private))?;
    let mut output = Output::new();
    output.line(pem::write("PUBLIC KEY", &public).trim_end().as_bytes())?;
    output.flush()
}

/// A private key in PKCS#8 and its public half in X.509, both DER.
type Made = Result<(Vec<u8>, Vec<u8>), Unspecified>;

fn rsa() -> Made {
    let pair = RsaKeyPair::generate(KeySize::Rsa3072)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok((private.as_ref().to_vec(), public.as_ref().to_vec()))
}

fn curve(algorithm: &'static EcdsaSigningAlgorithm) -> Made {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok((
        pair.to_pkcs8v1()?.as_ref().to_vec(),
        public.as_ref().to_vec(),
    ))
}

fn ed25519() -> Made {
    let pair = Ed25519KeyPair::generate()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok((
        pair.to_pkcs8v1()?.as_ref().to_vec(),
        public.as_ref().to_vec(),
    ))
}

fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    // Readable by nobody else from its first moment on.
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::Failed {
        what: format!("cannot write {}: {error}", path.display()),
        hint: Some("name a file that is not there yet, in a folder you may write to".into()),
    })
}

/// Prints the set.
///
/// # Errors
/// A file holds no key, or one that is not for the algorithm asked for.
pub fn jwks(job: &Jwks) -> Result<(), Failure> {
    let mut set = JwkSet { keys: Vec::new() };
    for (path, kid) in &job.files {
        let key = Public::read(path)?;
        let mut jwk = key.jwk(key.kind.algorithm(job.algorithm)?)?;
        let thumbprint = || jwk.thumbprint(ThumbprintHash::SHA256);
        let kid = match kid {
            Some(kid) => kid.clone(),
            None => thumbprint().map_err(|_| Failure::failed("cannot name the key"))?,
        };
        jwk.common.key_id = Some(kid);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        set.keys.push(jwk);
    }
    let mut output = Output::new();
    output.line(serde_json::to_string(&set).unwrap_or_default().as_bytes())?;
    output.flush()
}

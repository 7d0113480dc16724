//! Keys that sign tokens and keys that check them, read from files. No message shows any part of one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::{Algorithm, Kind};
use super::pem::{self, Found};
use crate::args::{KeySource, Secret};
use crate::failure::Failure;

/// The largest file with a key or keys that is read; a gateway reads as much of a JWKS.
const FILE_BYTES_MOST: u64 = 256 * 1024;
/// Fewest bytes of a secret that a gateway takes: the hash's own size for HS256 (RFC 7518, section 3.2).
const SECRET_BYTES_LEAST: usize = 32;

/// A key that signs.
pub enum Private {
    Secret(Secret),
    Rsa(Box<RsaKeyPair>),
    /// Of P-256 or P-384.
    Curve(Kind, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The public half of a key: RSA in PKCS#1, of a curve its point.
pub struct Public {
    pub kind: Kind,
    bytes: Vec<u8>,
}

/// What a signature is checked with.
pub enum Verifying {
    Secret(Secret),
    Public(Public),
    Set(JwkSet),
}

/// Why a signature was not found to be right.
#[derive(Debug, Eq, PartialEq)]
pub enum Unverified {
    /// It is wrong.
    Wrong,
    /// The key is for other algorithms.
    OtherKind(String),
    /// The set has no key for this token.
    NoKey(String),
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unverified::Wrong => f.write_str("the signature was not made with this key"),
            Unverified::OtherKind(why) | Unverified::NoKey(why) => f.write_str(why),
        }
    }
}

impl Private {
    pub fn rsa(pair: RsaKeyPair) -> Private {
        Private::Rsa(Box::new(pair))
    }

    /// # Errors
    /// A file that cannot be read or holds no key that signs.
    pub fn read(source: &KeySource) -> Result<Private, Failure> {
        match source {
            KeySource::Secret(secret) => {
                check_secret(secret, "SLUICE_TOKEN_SECRET")?;
                Ok(Private::Secret(secret.clone()))
            }
            KeySource::SecretFile(path) => secret_file(path).map(Private::Secret),
            KeySource::Pem(path) | KeySource::Jwks(path) => {
                match pem::read(&read_file(path)?, path)? {
                    Found::Private(key) => Ok(key),
                    Found::Public(_) => Err(Failure::Failed {
                        what: format!("{}: a public key cannot sign", path.display()),
                        hint: Some("give the file of the private key".into()),
                    }),
                }
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Private::Secret(_) => Kind::Secret,
            Private::Rsa(_) => Kind::Rsa,
            Private::Curve(kind, _) => *kind,
            Private::Ed25519(_) => Kind::Ed25519,
        }
    }

    /// The public half; a secret has none.
    pub fn public(&self) -> Option<Public> {
        let kind = self.kind();
        match self {
            Private::Secret(_) => None,
            Private::Rsa(pair) => Some(Public::new(kind, pair.public_key().as_ref())),
            Private::Curve(_, pair) => Some(Public::new(kind, pair.public_key().as_ref())),
            Private::Ed25519(pair) => Some(Public::new(kind, pair.public_key().as_ref())),
        }
    }

    /// The signature of `message`, as a token has it. `algorithm` must be one of this kind of key.
    ///
    /// # Errors
    /// The library cannot sign.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<String, Failure> {
        let failed = || Failure::failed(format!("cannot sign with {}", algorithm.name()));
        let random = SystemRandom::new();
        match self {
            Private::Secret(secret) => {
                let key = EncodingKey::from_secret(secret.expose().as_bytes());
                jsonwebtoken::crypto::sign(message, &key, algorithm.library()).map_err(|_| failed())
            }
            Private::Rsa(pair) => {
                let encoding = rsa_encoding(algorithm).ok_or_else(failed)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(encoding, &random, message, &mut signature);
                signed.map_err(|_| failed())?;
                Ok(URL_SAFE_NO_PAD.encode(signature))
            }
            Private::Curve(_, pair) => {
                let signature = pair.sign(&random, message).map_err(|_| failed())?;
                Ok(URL_SAFE_NO_PAD.encode(signature))
            }
            Private::Ed25519(pair) => {
                let signature = pair.try_sign(message).map_err(|_| failed())?;
                Ok(URL_SAFE_NO_PAD.encode(signature))
            }
        }
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_SHA512),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => None,
    }
}

impl Public {
    pub fn new(kind: Kind, bytes: &[u8]) -> Public {
        let bytes = bytes.to_vec();
        Public { kind, bytes }
    }

    /// Of a PEM file, with a public key or a private one.
    ///
    /// # Errors
    /// A file that cannot be read or holds no such key.
    pub fn read(path: &Path) -> Result<Public, Failure> {
        match pem::read(&read_file(path)?, path)? {
            Found::Public(key) => Ok(key),
            Found::Private(key) => key
                .public()
                .ok_or_else(|| Failure::failed("a secret has no public half")),
        }
    }

    fn decoding_key(&self) -> DecodingKey {
        match self.kind {
            Kind::Rsa => DecodingKey::from_rsa_der(&self.bytes),
            Kind::P256 | Kind::P384 => DecodingKey::from_ec_der(&self.bytes),
            Kind::Ed25519 => DecodingKey::from_ed_der(&self.bytes),
            Kind::Secret => DecodingKey::from_secret(&self.bytes),
        }
    }

    /// As a key of a JWKS.
    ///
    /// # Errors
    /// The library does not take the key.
    pub fn jwk(&self, algorithm: Algorithm) -> Result<Jwk, Failure> {
        Jwk::from_decoding_key(&self.decoding_key(), Some(algorithm.library()))
            .map_err(|_| Failure::failed("the key cannot be written as a JWK"))
    }
}

impl Verifying {
    /// # Errors
    /// A file that cannot be read or holds no such key.
    pub fn read(source: &KeySource) -> Result<Verifying, Failure> {
        Ok(match source {
            KeySource::Secret(secret) => {
                check_secret(secret, "SLUICE_TOKEN_SECRET")?;
                Verifying::Secret(secret.clone())
            }
            KeySource::SecretFile(path) => Verifying::Secret(secret_file(path)?),
            KeySource::Pem(path) => Verifying::Public(Public::read(path)?),
            KeySource::Jwks(path) => {
                let set = serde_json::from_slice(&read_file(path)?);
                Verifying::Set(set.map_err(|_| Failure::Failed {
                    what: format!("{}: no JWKS", path.display()),
                    hint: Some("it is JSON: {\"keys\":[{\"kty\":…}]}".into()),
                })?)
            }
        })
    }

    /// Checks a signature over `message`. The key says which kind of algorithm there may be, never the token.
    ///
    /// # Errors
    /// [`Unverified`].
    pub fn check(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &str,
        signature: &str,
    ) -> Result<(), Unverified> {
        let kind = match self {
            Verifying::Secret(_) => Some(Kind::Secret),
            Verifying::Public(key) => Some(key.kind),
            Verifying::Set(_) => None,
        };
        if let Some(kind) = kind.filter(|kind| *kind != algorithm.kind()) {
            return Err(Unverified::OtherKind(format!(
                "the token says {}, and the key given is {kind}",
                algorithm.name()
            )));
        }
        let key = match self {
            Verifying::Secret(secret) => DecodingKey::from_secret(secret.expose().as_bytes()),
            Verifying::Public(key) => key.decoding_key(),
            Verifying::Set(set) => of_set(set, algorithm, kid)?,
        };
        let is_right =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm.library());
        match is_right {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Unverified::Wrong),
        }
    }
}

/// The key of a set that a token names, or, without a name, the one that fits.
fn of_set(
    set: &JwkSet,
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Result<DecodingKey, Unverified> {
    let fits = |jwk: &&Jwk| {
        let family = DecodingKey::from_jwk(jwk).map(|key| key.family());
        let is_family = family.is_ok_and(|family| family == algorithm.library().family());
        let of_key = jwk.common.key_algorithm;
        is_family && of_key.is_none_or(|of_key| of_key == algorithm.library().into())
    };
    let told = || {
        let named = kid.map_or_else(|| "without a name".to_owned(), |kid| format!("`{kid}`"));
        Unverified::NoKey(format!(
            "the JWKS has no key {named} for {}",
            algorithm.name()
        ))
    };
    let key = match kid {
        Some(kid) => set.find(kid).filter(fits).ok_or_else(told)?,
        None => {
            let mut fitting = set.keys.iter().filter(fits);
            let key = fitting.next().ok_or_else(told)?;
            if fitting.next().is_some() {
                return Err(Unverified::NoKey(format!(
                    "the token names no key, and the JWKS has several for {}",
                    algorithm.name()
                )));
            }
            key
        }
    };
    DecodingKey::from_jwk(key).map_err(|_| told())
}

fn secret_file(path: &Path) -> Result<Secret, Failure> {
    let bytes = read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::Failed {
        what: format!("{}: the secret is not text", path.display()),
        hint: Some("a gateway takes its secret as text: openssl rand -base64 48".into()),
    })?;
    // An editor or `echo` ends the line; that is no part of the secret.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let secret = Secret::new(text.strip_suffix('\r').unwrap_or(text));
    check_secret(&secret, &path.display().to_string())?;
    Ok(secret)
}

fn check_secret(secret: &Secret, origin: &str) -> Result<(), Failure> {
    let bytes = secret.expose().len();
    if bytes >= SECRET_BYTES_LEAST {
        return Ok(());
    }
    Err(Failure::Failed {
        what: format!(
            "{origin}: the secret has {bytes} bytes, and no gateway takes less than {SECRET_BYTES_LEAST}"
        ),
        hint: Some("make one: sluice token keygen --algorithm HS256 --out FILE".into()),
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::Failed {
        what: format!("cannot read {}: {why}", path.display()),
        hint: Some("name a file with a key that you may read".into()),
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MOST {
        return Err(failed("it has more than 256 KiB".into()));
    }
    Ok(bytes)
}

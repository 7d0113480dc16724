//! Issuers of the tests' own: keys of every kind, tokens of any text, honest and forged.

pub mod forgeries;
pub mod server;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "sluice";
/// Every algorithm that is verified.
pub const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("fits")
}

/// Claims of ann, who may do everything for ten minutes.
pub fn claims() -> Value {
    json!({
        "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600,
        "sluice": { "subscribe": ["**"], "publish": ["**"] },
    })
}

enum Pair {
    Secret(String),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// One key and the algorithm it signs with.
pub struct Issuer {
    pub algorithm: &'static str,
    pub name: String,
    pair: Pair,
}

/// RSA keys are slow to make: ours and a stranger's are made once, as PKCS#8.
static RSA: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = pair.as_der().expect("DER");
        der.as_ref().to_vec()
    })
});

fn curve(algorithm: &str) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        "ES256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        "ES384" => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        other => panic!("{other} has no curve"),
    }
}

fn rsa_encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        other => panic!("{other} is not for RSA"),
    }
}

/// A MAC as the HS algorithms make it.
pub fn mac(algorithm: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        other => panic!("{other} is not for secrets"),
    };
    let tag = hmac::sign(&hmac::Key::new(hash, secret), message);
    tag.as_ref().to_vec()
}

impl Issuer {
    /// The issuer that is trusted.
    pub fn trusted(algorithm: &'static str) -> Issuer {
        Issuer::new(algorithm, 0)
    }

    /// Another one, with a key of the same kind.
    pub fn stranger(algorithm: &'static str) -> Issuer {
        Issuer::new(algorithm, 1)
    }

    fn new(algorithm: &'static str, which: usize) -> Issuer {
        let pair = match &algorithm[..2] {
            "HS" => Pair::Secret(b64(rand::random::<[u8; 64]>())),
            "RS" | "PS" => Pair::Rsa(RsaKeyPair::from_pkcs8(&RSA[which]).expect("a key")),
            "ES" => Pair::Ec(EcdsaKeyPair::generate(curve(algorithm)).expect("a key")),
            _ => Pair::Ed(Ed25519KeyPair::generate().expect("a key")),
        };
        Issuer {
            algorithm,
            name: "key-1".to_owned(),
            pair,
        }
    }

    pub fn named(self, name: &str) -> Issuer {
        Issuer {
            name: name.to_owned(),
            ..self
        }
    }

    /// Algorithms that this key can be made to sign with.
    pub fn abilities(&self) -> &'static [&'static str] {
        match &self.pair {
            Pair::Secret(_) => &["HS256", "HS384", "HS512"],
            Pair::Rsa(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Pair::Ec(_) if self.algorithm == "ES256" => &["ES256"],
            Pair::Ec(_) => &["ES384"],
            Pair::Ed(_) => &["EdDSA"],
        }
    }

    pub fn sign_as(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Secret(secret) => mac(algorithm, secret.as_bytes(), message),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(rsa_encoding(algorithm), &random, message, &mut out)
                    .expect("signs");
                out
            }
            Pair::Ec(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message);
                signed.expect("signs").as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(self.algorithm, message)
    }

    /// The ASN.1 form of an ECDSA signature, which JWS does not use.
    pub fn sign_asn1(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Pair::Ec(pair) = &self.pair else {
            return None;
        };
        let algorithm = if self.algorithm == "ES256" {
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING
        } else {
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING
        };
        let document = pair.to_pkcs8v1().expect("PKCS#8");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).expect("a key");
        let signed = pair.sign(&SystemRandom::new(), message).expect("signs");
        Some(signed.as_ref().to_vec())
    }

    /// A compact JWS of these very bytes, well signed.
    pub fn seal(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "typ": "JWT", "kid": self.name})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.seal(self.header().to_string(), claims.to_string())
    }

    /// An honest token.
    pub fn good(&self) -> String {
        self.token(&claims())
    }

    /// The secret, or what others may know as the key.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Secret(secret) => secret.as_bytes().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo.
    pub fn der(&self) -> Vec<u8> {
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'static> = match &self.pair {
            Pair::Secret(_) => panic!("a secret has no public key"),
            Pair::Rsa(pair) => pair.public_key().as_der().expect("DER"),
            Pair::Ec(pair) => pair.public_key().as_der().expect("DER"),
            Pair::Ed(pair) => pair.public_key().as_der().expect("DER"),
        };
        der.as_ref().to_vec()
    }

    /// The private key, which no gateway should be given.
    pub fn private_pem(&self) -> String {
        match &self.pair {
            Pair::Secret(_) | Pair::Ed(_) | Pair::Ec(_) => panic!("only for RSA"),
            Pair::Rsa(pair) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = pair.as_der().expect("DER");
                pem("PRIVATE KEY", der.as_ref())
            }
        }
    }

    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.der())
    }

    pub fn jwk(&self) -> Value {
        let public = self.public();
        let mut jwk = match &self.pair {
            Pair::Secret(_) => json!({"kty": "oct", "k": b64(&public)}),
            Pair::Rsa(_) => {
                // RSAPublicKey of 2048 bits ends in the modulus and INTEGER 65537.
                let (rest, exponent) = public.split_at(public.len() - 3);
                let modulus = &rest[rest.len() - 2 - 256..rest.len() - 2];
                json!({"kty": "RSA", "n": b64(modulus), "e": b64(exponent)})
            }
            Pair::Ec(_) => {
                let (x, y) = public[1..].split_at(public.len() / 2);
                let curve = if self.algorithm == "ES256" {
                    "P-256"
                } else {
                    "P-384"
                };
                json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
            }
            Pair::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&public)}),
        };
        jwk["kid"] = self.name.clone().into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub fn secret(&self) -> String {
        String::from_utf8(self.public()).expect("a secret is text here")
    }

    pub fn is_symmetric(&self) -> bool {
        matches!(self.pair, Pair::Secret(_))
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A JWK Set.
pub fn key_set(issuers: &[&Issuer]) -> Value {
    json!({"keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>()})
}

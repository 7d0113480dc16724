//! What a key is made of, proved before it is used (RFC 8725, section 3.4), and which algorithm it is bound to.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::DecodingKey;

use crate::config::JwtAlgorithm::{self, *};

const RSA_MIN_BITS: usize = 2_048;
const RSA_MAX_BITS: usize = 8_192;
/// Bytes of a public exponent; more would only make verification slow.
const RSA_EXPONENT_MAX_BYTES: usize = 4;

/// The points of Ed25519 whose order divides 8, and their other spellings, sign bit cleared. With one of these as key
/// a signature over one message is good for others too.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    small(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    small(0xec, 0xff, 0x7f),
    small(0xed, 0xff, 0x7f),
    small(0xee, 0xff, 0x7f),
];

const fn small(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// An elliptic curve of ECDSA (RFC 7518, section 3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) fn coordinate_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }
}

/// A key's numbers, good for its kind of signature.
#[derive(Debug)]
pub(super) enum Material {
    Secret(Secret),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    Ec(Curve, Vec<u8>),
    Ed(Vec<u8>),
}

pub(super) use crate::config::Secret;

impl Material {
    /// Takes an RSA public key, big-endian.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, String> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let bits = bits(modulus);
        if bits < RSA_MIN_BITS {
            return Err(format!(
                "is an RSA key of {bits} bits; at least {RSA_MIN_BITS} are needed"
            ));
        }
        if bits > RSA_MAX_BITS {
            return Err(format!(
                "is an RSA key of {bits} bits; at most {RSA_MAX_BITS} are accepted"
            ));
        }
        let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent == [1] || exponent.len() > RSA_EXPONENT_MAX_BYTES {
            return Err(
                "is an RSA key whose exponent is not an odd number of 3 to 2^32".to_owned(),
            );
        }
        let components = RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        components
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| "is not a valid RSA key".to_owned())?;
        Ok(Material::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// Takes an uncompressed point (SEC 1, section 2.3.3).
    ///
    /// # Errors
    /// What is wrong with it, such as that it does not lie on the curve.
    pub(super) fn ec(curve: Curve, point: Vec<u8>) -> Result<Material, String> {
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.coordinate_bytes() {
            return Err(format!(
                "is not an uncompressed point of the curve {curve:?}"
            ));
        }
        let proved = match curve {
            Curve::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point),
            Curve::P384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point),
        };
        proved.map_err(|_| format!("is not a point of the curve {curve:?}"))?;
        Ok(Material::Ec(curve, point))
    }

    /// Takes an Ed25519 public key (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn ed(point: Vec<u8>) -> Result<Material, String> {
        let Ok(mut bytes) = <[u8; 32]>::try_from(point.as_slice()) else {
            return Err(format!(
                "is an Ed25519 key of {} bytes instead of 32",
                point.len()
            ));
        };
        bytes[31] &= 0x7f;
        if SMALL_ORDER.contains(&bytes) || ParsedPublicKey::new(&ED25519, &point).is_err() {
            return Err("is not a valid Ed25519 key".to_owned());
        }
        Ok(Material::Ed(point))
    }

    /// The algorithms that this kind of key is made for, the usual one first.
    pub(super) fn algorithms(&self) -> &'static [JwtAlgorithm] {
        match self {
            Material::Secret(_) => &[Hs256, Hs384, Hs512],
            Material::Rsa { .. } => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            Material::Ec(Curve::P256, _) => &[Es256],
            Material::Ec(Curve::P384, _) => &[Es384],
            Material::Ed(_) => &[EdDsa],
        }
    }

    /// What people call this kind of key.
    fn kind(&self) -> &'static str {
        match self {
            Material::Secret(_) => "a secret",
            Material::Rsa { .. } => "an RSA key",
            Material::Ec(Curve::P256, _) => "a P-256 key",
            Material::Ec(Curve::P384, _) => "a P-384 key",
            Material::Ed(_) => "an Ed25519 key",
        }
    }

    /// The one algorithm of a key that does not say itself: the configured one of its kind, or the usual one.
    ///
    /// # Errors
    /// What is wrong, where there is not exactly one.
    pub(super) fn bind(&self, configured: &[JwtAlgorithm]) -> Result<JwtAlgorithm, String> {
        let made_for = self.algorithms();
        if let (true, Some(usual)) = (configured.is_empty(), made_for.first()) {
            return Ok(*usual);
        }
        let mut fitting = configured.iter().filter(|name| made_for.contains(name));
        let kind = self.kind();
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(*only),
            (Some(one), Some(other)) => Err(format!(
                "is {kind}, and auth.jwt.algorithms names {one} and {other} for it; a key is used with exactly one"
            )),
            (None, _) => Err(format!(
                "is {kind}, and auth.jwt.algorithms names none for it (it could be {})",
                names(made_for)
            )),
        }
    }

    /// The same for a key that names its algorithm.
    ///
    /// # Errors
    /// The name is unknown, not for this kind, or not configured.
    pub(super) fn bind_to(
        &self,
        name: &str,
        configured: &[JwtAlgorithm],
    ) -> Result<JwtAlgorithm, String> {
        let made_for = self.algorithms();
        let Some(named) = made_for.iter().find(|known| known.as_str() == name) else {
            return Err(format!(
                "is {} with an `alg` that is not for it or not known here",
                self.kind()
            ));
        };
        if !configured.is_empty() && !configured.contains(named) {
            return Err(format!(
                "is for {named}, which auth.jwt.algorithms does not name"
            ));
        }
        Ok(*named)
    }

    pub(super) fn decoding(&self) -> DecodingKey {
        match self {
            Material::Secret(secret) => DecodingKey::from_secret(secret.expose().as_bytes()),
            Material::Rsa { modulus, exponent } => {
                DecodingKey::from_rsa_raw_components(modulus, exponent)
            }
            Material::Ec(_, point) => DecodingKey::from_ec_der(point),
            Material::Ed(point) => DecodingKey::from_ed_der(point),
        }
    }

    /// What tells it from other keys; nothing of a secret.
    pub(super) fn print(&self) -> Vec<u8> {
        match self {
            Material::Secret(_) => Vec::new(),
            Material::Rsa { modulus, exponent } => [&modulus[..], exponent].concat(),
            Material::Ec(_, point) | Material::Ed(point) => point.clone(),
        }
    }
}

fn names(algorithms: &[JwtAlgorithm]) -> String {
    let texts: Vec<&str> = algorithms.iter().map(|name| name.as_str()).collect();
    texts.join(", ")
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bits(number: &[u8]) -> usize {
    match number.first() {
        Some(first) => number.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

//! The signature algorithms, and the kind of key that each needs. One key never serves two kinds.

use std::fmt;

use clap::ValueEnum;

use crate::failure::Failure;

/// An algorithm by its name in RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Algorithm {
    #[value(name = "HS256")]
    Hs256,
    #[value(name = "HS384")]
    Hs384,
    #[value(name = "HS512")]
    Hs512,
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "RS384")]
    Rs384,
    #[value(name = "RS512")]
    Rs512,
    #[value(name = "PS256")]
    Ps256,
    #[value(name = "PS384")]
    Ps384,
    #[value(name = "PS512")]
    Ps512,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "ES384")]
    Es384,
    #[value(name = "EdDSA")]
    EdDsa,
}

/// What a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a token's header; `None` for `none` and all that no gateway takes.
    pub fn of_name(name: &str) -> Option<Algorithm> {
        let all = Algorithm::value_variants().iter();
        all.copied().find(|algorithm| algorithm.name() == name)
    }

    /// The kind of key it works with.
    pub fn kind(self) -> Kind {
        match self {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Kind::Secret,
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => Kind::Rsa,
            Algorithm::Es256 => Kind::P256,
            Algorithm::Es384 => Kind::P384,
            Algorithm::EdDsa => Kind::Ed25519,
        }
    }

    /// The same in the library's type.
    pub fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
            Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl Kind {
    /// What a key of this kind signs with when nothing else is asked for.
    pub fn usual(self) -> Algorithm {
        match self {
            Kind::Secret => Algorithm::Hs256,
            Kind::Rsa => Algorithm::Rs256,
            Kind::P256 => Algorithm::Es256,
            Kind::P384 => Algorithm::Es384,
            Kind::Ed25519 => Algorithm::EdDsa,
        }
    }

    /// `wanted`, or the usual algorithm.
    ///
    /// # Errors
    /// The wanted algorithm needs another kind of key.
    pub fn algorithm(self, wanted: Option<Algorithm>) -> Result<Algorithm, Failure> {
        let algorithm = wanted.unwrap_or(self.usual());
        if algorithm.kind() == self {
            return Ok(algorithm);
        }
        Err(Failure::usage(
            format!(
                "{} needs {}, and the key given is {self}",
                algorithm.name(),
                algorithm.kind()
            ),
            format!(
                "leave --algorithm out to use {}, or give another key",
                self.usual().name()
            ),
        ))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Secret => "a secret",
            Kind::Rsa => "an RSA key",
            Kind::P256 => "a P-256 key",
            Kind::P384 => "a P-384 key",
            Kind::Ed25519 => "an Ed25519 key",
        })
    }
}

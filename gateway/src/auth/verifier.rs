//! A token against the keys: which key, its signature, its claims.

use std::time::{Instant, SystemTime};

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use serde_json::Value;

use super::claims::Checks;
use super::envelope::Envelope;
use super::jwks::Jwks;
use super::keys::{Choice, Key, KeySet};
use super::unique::Unique;
use super::{AuthError, Grant, KeyError, sources};
use crate::config::JwtConfig;

pub(super) const UNEXPECTED: &str = "the claims are not as expected (sub: text, exp: number, sluice: {subscribe: [..], publish: [..]}, no member twice)";

pub(super) struct Verifier {
    checks: Checks,
    keys: Keys,
}

enum Keys {
    /// From the configuration and from files: all there is from the start.
    Local(KeySet),
    /// From a URL.
    Remote(Box<Jwks>),
}

impl Verifier {
    pub(super) fn new(config: &JwtConfig) -> Result<Verifier, KeyError> {
        let checks = Checks::new(config);
        let keys = match &config.jwks_url {
            Some(url) => Keys::Remote(Box::new(Jwks::new(url, config)?)),
            None => Keys::Local(sources::local(config, &checks)?),
        };
        Ok(Verifier { checks, keys })
    }

    /// The keys that come from a URL.
    pub(super) fn remote(&self) -> Option<&Jwks> {
        match &self.keys {
            Keys::Local(_) => None,
            Keys::Remote(jwks) => Some(jwks),
        }
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Grant, AuthError> {
        let envelope = Envelope::read(token)?;
        let jwks = match &self.keys {
            Keys::Local(keys) => {
                return self
                    .verify_with(keys, &envelope)
                    .unwrap_or(Err(AuthError::Invalid(
                        "no configured key fits the token's `kid` and `alg`",
                    )));
            }
            Keys::Remote(jwks) => jwks,
        };
        if let Some(verified) = self.verify_with(&jwks.keys(), &envelope) {
            return verified;
        }
        jwks.look_again().await;
        if let Some(verified) = self.verify_with(&jwks.keys(), &envelope) {
            return verified;
        }
        Err(if jwks.is_current() {
            AuthError::Invalid("no key of the issuer fits the token's `kid` and `alg`")
        } else {
            AuthError::KeysUnavailable
        })
    }

    /// Verifies with the key or keys that the header points to; nothing where there is none.
    fn verify_with(
        &self,
        keys: &KeySet,
        envelope: &Envelope<'_>,
    ) -> Option<Result<Grant, AuthError>> {
        let choice = keys.choose(
            envelope.key_id.as_deref(),
            envelope.algorithm,
            Instant::now(),
        );
        match choice {
            Choice::One(key) => Some(self.verify_by(key, envelope)),
            Choice::Several(keys) => Some(self.verify_by_any(&keys, envelope)),
            Choice::Ambiguous => Some(Err(AuthError::Invalid(
                "the token's header names no key (`kid`), and several fit its `alg`",
            ))),
            Choice::None => None,
        }
    }

    /// Without a `kid` the keys of that algorithm are tried, as few as there are.
    fn verify_by_any(&self, keys: &[&Key], envelope: &Envelope<'_>) -> Result<Grant, AuthError> {
        let mut refused = AuthError::Invalid(FOREIGN);
        for key in keys {
            match self.verify_by(key, envelope) {
                Err(AuthError::Invalid(FOREIGN)) => {}
                Err(error) => refused = error,
                granted @ Ok(_) => return granted,
            }
        }
        Err(refused)
    }

    fn verify_by(&self, key: &Key, envelope: &Envelope<'_>) -> Result<Grant, AuthError> {
        let Unique(claims): Unique =
            jsonwebtoken::decode(envelope.token, key.decoding(), key.validation())
                .map_err(|error| told(&error))?
                .claims;
        match claims {
            Value::Object(_) => self.checks.grant(claims, SystemTime::now()),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(AuthError::Invalid(UNEXPECTED)),
        }
    }
}

const FOREIGN: &str = "the signature does not fit the configured key";

/// What is told of a token that does not verify: enough to mend an honest one, nothing of its content.
fn told(error: &JwtError) -> AuthError {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum that is non-exhaustive"
    )]
    let text = match error.kind() {
        ErrorKind::ExpiredSignature => return AuthError::Expired,
        ErrorKind::InvalidSignature => FOREIGN,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "the token's `alg` is not the one of its key"
        }
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the claim `exp` is missing",
            "sub" => "the claim `sub` is missing",
            "iss" => "the claim `iss` is missing",
            "aud" => "the claim `aud` is missing",
            _ => "a required claim is missing",
        },
        ErrorKind::InvalidIssuer => "the claim `iss` is not the configured issuer",
        ErrorKind::InvalidAudience => "the claim `aud` does not name this service",
        ErrorKind::ImmatureSignature => "the token is not valid yet (`nbf`)",
        ErrorKind::InvalidClaimFormat(_) => "a registered claim has the wrong type",
        ErrorKind::Json(_) => UNEXPECTED,
        _ => "the token is malformed",
    };
    AuthError::Invalid(text)
}

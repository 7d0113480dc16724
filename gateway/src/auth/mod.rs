//! Who is calling and what they may read and publish. Owns token verification (RFC 7519, RFC 8725) and its keys. Refuses every token
//! it cannot fully verify; never takes one for anonymous, never prints one. Knows nothing of HTTP: how a caller carries
//! a token, and how a refusal is answered, is `http::credentials`.

mod claims;
mod envelope;
mod fetch;
pub mod grant;
mod jwk;
mod jwks;
mod keys;
mod material;
pub mod patterns;
mod pem;
pub mod revoked;
mod sources;
mod unique;
mod verifier;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use sluice_wire::channel::Channel;

use crate::config::{AuthConfig, AuthMode};
use crate::holder::Holder;
use crate::metrics::KeyMetrics;
use crate::reasons::AuthCode;
pub use grant::{Action, Grant};
use patterns::Patterns;
use verifier::Verifier;

/// Longest token, in bytes.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// Longest subject, in bytes.
pub const SUBJECT_MAX_BYTES: usize = 256;
/// Longest token id (`jti`), in bytes.
pub const TOKEN_ID_MAX_BYTES: usize = 256;
/// Longest key id (`kid`), in bytes.
pub const KEY_ID_MAX_BYTES: usize = 128;

/// Verifies callers. Built once; cheap to share.
pub struct Authenticator {
    mode: Mode,
}

enum Mode {
    Anonymous,
    Jwt {
        verifier: Box<Verifier>,
        /// What callers without credentials may read.
        open_to_all: Option<Patterns>,
    },
}

/// Why a caller is turned away. Holds no part of a token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    #[error("send a token: `Authorization: Bearer <token>`")]
    Missing,
    #[error("the Authorization header must be given once, as `Bearer <token>`")]
    BadAuthorization,
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the token has expired; get a new one")]
    Expired,
    #[error("the token was revoked; get a new one")]
    Revoked,
    #[error("this node does not know yet which tokens are revoked; try again")]
    NotYet,
    #[error("the issuer's keys cannot be had now, so no token can be verified; try again")]
    KeysUnavailable,
    #[error("not allowed to {} channel `{channel}`", match .action { Action::Subscribe => "subscribe to", Action::Publish => "publish on" })]
    Scope { action: Action, channel: Channel },
}

impl AuthError {
    /// The stable code: problem code and metric label.
    pub const fn code(&self) -> AuthCode {
        match self {
            AuthError::Missing => AuthCode::TokenMissing,
            AuthError::BadAuthorization => AuthCode::BadAuthorization,
            AuthError::Invalid(_) => AuthCode::InvalidToken,
            AuthError::Expired => AuthCode::TokenExpired,
            AuthError::KeysUnavailable => AuthCode::KeysUnavailable,
            AuthError::Scope { .. } => AuthCode::InsufficientScope,
            AuthError::Revoked => AuthCode::TokenRevoked,
            AuthError::NotYet => AuthCode::BrokerUnavailable,
        }
    }
}

/// A key that cannot be used, by the setting that names it. Holds no part of a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{setting}: {complaint}")]
pub struct KeyError {
    /// Dotted, such as `auth.jwt.jwks_file`.
    pub setting: &'static str,
    /// What is wrong and what to do.
    pub complaint: String,
}

impl KeyError {
    fn new(setting: &'static str, complaint: String) -> KeyError {
        KeyError { setting, complaint }
    }
}

impl Authenticator {
    /// Takes a validated `[auth]` section and reads the files that it names.
    ///
    /// # Errors
    /// The key that is missing or not fit for use.
    pub fn from_config(config: &AuthConfig) -> Result<Authenticator, KeyError> {
        let mode = match config.mode {
            AuthMode::Anonymous => Mode::Anonymous,
            AuthMode::Jwt => Mode::Jwt {
                verifier: Box::new(Verifier::new(&config.jwt)?),
                open_to_all: open_to_all(&config.anonymous_subscribe)?,
            },
        };
        Ok(Authenticator { mode })
    }

    /// Whether nobody needs a token: then no request is looked at for one.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.mode {
            Mode::Anonymous => true,
            Mode::Jwt { .. } => false,
        }
    }

    /// What a caller without any credentials may do.
    ///
    /// # Errors
    /// [`AuthError::Missing`] where a token is needed.
    pub fn without_token(&self) -> Result<Grant, AuthError> {
        match &self.mode {
            Mode::Anonymous => Ok(Grant::anonymous()),
            Mode::Jwt { open_to_all, .. } => {
                let subscribe = open_to_all.clone().ok_or(AuthError::Missing)?;
                Ok(Grant {
                    holder: Arc::new(Holder::default()),
                    expires_at: None,
                    subscribe,
                    publish: Patterns::default(),
                })
            }
        }
    }

    /// Verifies a token and gives what it grants. Waits only for keys from a URL, and only where the token names one
    /// that is not known yet.
    ///
    /// # Errors
    /// [`AuthError`], never an anonymous grant.
    pub async fn verify(&self, token: &str) -> Result<Grant, AuthError> {
        match &self.mode {
            Mode::Anonymous => Err(AuthError::Invalid("this gateway takes no tokens")),
            Mode::Jwt { verifier, .. } => verifier.verify(token).await,
        }
    }

    /// Keeps the keys of `auth.jwt.jwks_url` fresh for as long as it is polled; without such a URL it only waits.
    pub async fn follow_keys(&self, metrics: &KeyMetrics) -> Infallible {
        let remote = match &self.mode {
            Mode::Anonymous => None,
            Mode::Jwt { verifier, .. } => verifier.remote(),
        };
        match remote {
            Some(jwks) => jwks.follow(metrics).await,
            None => std::future::pending().await,
        }
    }
}

/// The patterns for callers without credentials; nothing where they may do nothing.
fn open_to_all(texts: &[String]) -> Result<Option<Patterns>, KeyError> {
    let patterns = Patterns::open_to_all(texts)
        .map_err(|complaint| KeyError::new("auth.anonymous_subscribe", complaint.to_owned()))?;
    Ok((!texts.is_empty()).then_some(patterns))
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::Anonymous => "Authenticator(anonymous)",
            Mode::Jwt { .. } => "Authenticator(jwt)",
        })
    }
}

#[cfg(test)]
mod tests;

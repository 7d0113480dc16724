//! Who is calling and what they may read and publish. Owns token verification (RFC 7519, RFC 8725). Refuses every token
//! it cannot fully verify; never takes one for anonymous, never prints one. Knows nothing of HTTP: how a caller carries
//! a token, and how a refusal is answered, is `http::credentials`.

pub mod grant;
pub mod patterns;
pub mod revoked;
mod verifier;

use std::fmt;

use sluice_wire::channel::Channel;

use crate::config::{AuthConfig, AuthMode};
use crate::reasons::AuthCode;
pub use grant::{Action, Grant};
use verifier::Verifier;

/// Longest token, in bytes.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// Longest subject, in bytes.
pub const SUBJECT_MAX_BYTES: usize = 256;
/// Longest token id (`jti`), in bytes.
pub const TOKEN_ID_MAX_BYTES: usize = 256;

/// Verifies callers. Built once; cheap to share.
pub struct Authenticator {
    mode: Mode,
}

enum Mode {
    Anonymous,
    Jwt(Box<Verifier>),
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
            AuthError::Scope { .. } => AuthCode::InsufficientScope,
            AuthError::Revoked => AuthCode::TokenRevoked,
            AuthError::NotYet => AuthCode::BrokerUnavailable,
        }
    }
}

impl Authenticator {
    /// Takes a validated `[auth]` section.
    ///
    /// # Errors
    /// The key that is missing, should the section not have been validated.
    pub fn from_config(config: &AuthConfig) -> Result<Authenticator, &'static str> {
        let mode = match config.mode {
            AuthMode::Anonymous => Mode::Anonymous,
            AuthMode::Jwt => Mode::Jwt(Box::new(Verifier::new(&config.jwt)?)),
        };
        Ok(Authenticator { mode })
    }

    /// Whether nobody needs a token: then no request is looked at for one.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.mode {
            Mode::Anonymous => true,
            Mode::Jwt(_) => false,
        }
    }

    /// What a caller without any credentials may do.
    ///
    /// # Errors
    /// [`AuthError::Missing`] where a token is needed.
    pub fn without_token(&self) -> Result<Grant, AuthError> {
        match &self.mode {
            Mode::Anonymous => Ok(Grant::anonymous()),
            Mode::Jwt(_) => Err(AuthError::Missing),
        }
    }

    /// Verifies a token and gives what it grants.
    ///
    /// # Errors
    /// [`AuthError`], never an anonymous grant.
    pub async fn verify(&self, token: &str) -> Result<Grant, AuthError> {
        match &self.mode {
            Mode::Anonymous => Err(AuthError::Invalid("this gateway takes no tokens")),
            Mode::Jwt(verifier) => verifier.verify(token),
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::Anonymous => "Authenticator(anonymous)",
            Mode::Jwt(_) => "Authenticator(jwt)",
        })
    }
}

#[cfg(test)]
mod tests;

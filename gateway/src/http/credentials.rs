//! How a request carries its token, and how a caller who is not recognised or not allowed is answered (RFC 6750).

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::problem::{Code, Problem};
use super::refusal::Refusal;
use super::routes::Public;
use crate::auth::{AuthError, Grant};
use crate::reasons::AuthCode;

/// Wait that a caller is told while revocations have not been read.
const NOT_YET_RETRY: Duration = Duration::from_secs(1);

/// Recognises the caller of a request, and counts one that is not. Anonymous mode asks for nothing and looks at
/// nothing; with tokens there is no anonymous caller.
///
/// # Errors
/// [`AuthError`], to be sent as a [`Problem`].
pub(super) async fn recognise(request: &HttpRequest, public: &Public) -> Result<Grant, AuthError> {
    let grant = grant(request.headers(), public).await;
    let grant = grant.and_then(|grant| {
        public.revocations.check(&grant.holder)?;
        Ok(grant)
    });
    grant.inspect_err(|error| public.http.auth_failures.of(error.code()).inc())
}

async fn grant(headers: &HeaderMap, public: &Public) -> Result<Grant, AuthError> {
    let authenticator = &public.authenticator;
    if authenticator.is_open() {
        return authenticator.without_token();
    }
    match bearer(headers)? {
        Some(token) => authenticator.verify(token).await,
        None => authenticator.without_token(),
    }
}

/// The bearer token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(AuthError::BadAuthorization);
    }
    let text = value
        .to_str()
        .map_err(|_| AuthError::BadAuthorization)?
        .trim();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    match token.trim() {
        "" => Err(AuthError::BadAuthorization),
        token if token.contains(' ') => Err(AuthError::BadAuthorization),
        token => Ok(Some(token)),
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Problem {
        let code = match error.code() {
            AuthCode::TokenMissing => Code::TokenMissing,
            AuthCode::BadAuthorization => Code::BadAuthorization,
            AuthCode::InvalidToken => Code::InvalidToken,
            AuthCode::TokenExpired => Code::TokenExpired,
            AuthCode::KeysUnavailable => Code::KeysUnavailable,
            AuthCode::InsufficientScope => Code::InsufficientScope,
            AuthCode::TokenRevoked => Code::TokenRevoked,
            AuthCode::BrokerUnavailable => {
                // Nothing is wrong with the token: no challenge, but when to come again.
                let problem = Problem::new(Code::BrokerUnavailable, error.to_string());
                return problem.retry_after(NOT_YET_RETRY);
            }
        };
        let problem = Problem::new(code, error.to_string());
        match challenge(&error) {
            Some(challenge) => problem.challenge(challenge),
            None => problem.retry_after(Refusal::keys_wait()),
        }
    }
}

/// The value of `WWW-Authenticate` (RFC 6750, section 3); nothing where better credentials would not help. Without
/// credentials no error code is given.
fn challenge(error: &AuthError) -> Option<String> {
    let code = match error {
        AuthError::Missing => return Some("Bearer realm=\"sluice\"".to_owned()),
        AuthError::KeysUnavailable => return None,
        AuthError::BadAuthorization => "invalid_request",
        AuthError::Invalid(_) | AuthError::Expired | AuthError::Revoked | AuthError::NotYet => {
            "invalid_token"
        }
        AuthError::Scope { .. } => "insufficient_scope",
    };
    // A quoted string must hold no quote of its own; backticks and letters are all that the texts have.
    let description = error.to_string().replace(['"', '\\'], "'");
    Some(format!(
        "Bearer realm=\"sluice\", error=\"{code}\", error_description=\"{description}\""
    ))
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;

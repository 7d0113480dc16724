//! Who is calling and what they may read and publish. Owns token verification (RFC 7519, RFC 8725) and the answers
//! of RFC 6750. Refuses every token it cannot fully verify; never takes one for anonymous, never prints one.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use sluice_wire::channel::Channel;

use super::patterns::Patterns;
use super::problem::{Code, Problem};
use crate::config::{AuthConfig, AuthMode, JwtAlgorithm, JwtConfig, Secret};
use crate::reasons::AuthCode;

/// Longest token, in bytes.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// Longest subject, in bytes.
pub const SUBJECT_MAX_BYTES: usize = 256;

/// Verifies callers. Built once; cheap to share.
pub struct Authenticator {
    mode: Mode,
}

enum Mode {
    Anonymous,
    Jwt(Box<Verifier>),
}

struct Verifier {
    key: DecodingKey,
    validation: Validation,
    leeway: Duration,
}

/// What a caller may do, for how long.
#[derive(Clone, Debug)]
pub struct Grant {
    /// `sub` of the token; absent for an anonymous caller.
    pub subject: Option<String>,
    /// When the token stops being accepted, leeway included. A stream ends then with `token_expired`.
    pub expires_at: Option<SystemTime>,
    pub subscribe: Patterns,
    pub publish: Patterns,
}

/// What a caller wants to do with a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Subscribe,
    Publish,
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
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3). Without credentials no error code is given.
    fn challenge(&self) -> String {
        let error = match self {
            AuthError::Missing => return "Bearer realm=\"sluice\"".to_owned(),
            AuthError::BadAuthorization => "invalid_request",
            AuthError::Invalid(_) | AuthError::Expired => "invalid_token",
            AuthError::Scope { .. } => "insufficient_scope",
        };
        // A quoted string must hold no quote of its own; backticks and letters are all that the texts have.
        let description = self.to_string().replace(['"', '\\'], "'");
        format!("Bearer realm=\"sluice\", error=\"{error}\", error_description=\"{description}\"")
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Problem {
        let code = match error.code() {
            AuthCode::TokenMissing => Code::TokenMissing,
            AuthCode::BadAuthorization => Code::BadAuthorization,
            AuthCode::InvalidToken => Code::InvalidToken,
            AuthCode::TokenExpired => Code::TokenExpired,
            AuthCode::InsufficientScope => Code::InsufficientScope,
        };
        Problem::new(code, error.to_string()).challenge(error.challenge())
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

    /// Recognises the caller of a request by its `Authorization` header. Anonymous mode asks for nothing and looks
    /// at nothing; with tokens there is no anonymous caller.
    ///
    /// # Errors
    /// [`AuthError`], to be sent as a [`Problem`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Grant, AuthError> {
        match &self.mode {
            Mode::Anonymous => Ok(Grant::anonymous()),
            Mode::Jwt(verifier) => verifier.verify(bearer(headers)?),
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

/// The bearer token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = values.next().ok_or(AuthError::Missing)?;
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
        token => Ok(token),
    }
}

/// The claims that are read (RFC 7519, section 4); the library has checked the registered ones by then.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    sluice: Scopes,
}

#[derive(Default, Deserialize)]
struct Scopes {
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
}

impl Verifier {
    fn new(config: &JwtConfig) -> Result<Verifier, &'static str> {
        let secret: &Secret = config.secret.as_ref().ok_or("auth.jwt.secret")?;
        let [algorithm] = config.algorithms.as_slice() else {
            return Err("auth.jwt.algorithms");
        };
        // One key, one algorithm, from the configuration: a token's header never chooses (RFC 8725, section 3.1).
        let mut validation = Validation::new(match algorithm {
            JwtAlgorithm::Hs256 => Algorithm::HS256,
            JwtAlgorithm::Hs384 => Algorithm::HS384,
            JwtAlgorithm::Hs512 => Algorithm::HS512,
        });
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !config.audience.is_empty() {
            validation.set_audience(&config.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation.leeway = config.leeway.as_secs();
        validation.validate_nbf = true;
        let key = DecodingKey::from_secret(secret.expose().as_bytes());
        Ok(Verifier {
            key,
            validation,
            leeway: config.leeway,
        })
    }

    fn verify(&self, token: &str) -> Result<Grant, AuthError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(AuthError::Invalid("the token is longer than 8192 bytes"));
        }
        let token = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| told(&error))?;
        check_header(&token.header)?;
        let claims = token.claims;
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_MAX_BYTES {
            return Err(AuthError::Invalid(
                "the claim `sub` must have 1 to 256 bytes",
            ));
        }
        let expires_at = Duration::try_from_secs_f64(claims.exp)
            .ok()
            .and_then(|exp| UNIX_EPOCH.checked_add(exp)?.checked_add(self.leeway))
            .ok_or(AuthError::Invalid("the claim `exp` is out of range"))?;
        let scopes = claims.sluice;
        Ok(Grant {
            subscribe: Patterns::parse(&scopes.subscribe, &claims.sub)
                .map_err(AuthError::Invalid)?,
            publish: Patterns::parse(&scopes.publish, &claims.sub).map_err(AuthError::Invalid)?,
            subject: Some(claims.sub),
            expires_at: Some(expires_at),
        })
    }
}

/// Refuses headers that ask for more than this verifier understands.
fn check_header(header: &Header) -> Result<(), AuthError> {
    // RFC 7515, section 4.1.11: an extension marked critical and not understood makes the token invalid.
    if header.crit.is_some() {
        return Err(AuthError::Invalid(
            "the token's header has `crit`, which is not supported",
        ));
    }
    let kind = header.typ.as_deref().unwrap_or("JWT");
    if !["JWT", "at+jwt", "application/at+jwt"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(kind))
    {
        return Err(AuthError::Invalid("the token's `typ` is not JWT"));
    }
    Ok(())
}

/// What is told of a token that does not verify: enough to mend an honest one, nothing of its content.
fn told(error: &JwtError) -> AuthError {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum that is non-exhaustive"
    )]
    let text = match error.kind() {
        ErrorKind::ExpiredSignature => return AuthError::Expired,
        ErrorKind::InvalidSignature => "the signature does not fit the configured key",
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "the token's `alg` is not the configured one"
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
        ErrorKind::Json(_) => {
            "header or claims are not as expected (sub: text, exp: number, sluice: {subscribe: [..], publish: [..]})"
        }
        _ => "the token is malformed",
    };
    AuthError::Invalid(text)
}

impl Grant {
    /// What everyone may do in anonymous mode: everything but the reserved channels, for ever.
    pub fn anonymous() -> Grant {
        Grant {
            subject: None,
            expires_at: None,
            subscribe: Patterns::all(),
            publish: Patterns::all(),
        }
    }

    /// Checks one channel. Reserved channels are never allowed, whatever the patterns say.
    ///
    /// # Errors
    /// [`AuthError::Scope`].
    pub fn check(&self, action: Action, channel: &Channel) -> Result<(), AuthError> {
        let patterns = match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
        };
        if !channel.is_reserved() && patterns.allow(channel) {
            return Ok(());
        }
        Err(AuthError::Scope {
            action,
            channel: channel.clone(),
        })
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;

//! One verification key and what is checked with it: signature, registered claims, the header's demands.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;

use super::patterns::Patterns;
use super::{AuthError, Grant, SUBJECT_MAX_BYTES, TOKEN_ID_MAX_BYTES, TOKEN_MAX_BYTES};
use crate::config::{JwtAlgorithm, JwtConfig, Secret};
use crate::holder::Holder;

pub(super) struct Verifier {
    key: DecodingKey,
    validation: Validation,
    leeway: Duration,
}

/// The claims that are read (RFC 7519, section 4); the library has checked the registered ones by then.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    iat: Option<f64>,
    jti: Option<String>,
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
    pub(super) fn new(config: &JwtConfig) -> Result<Verifier, &'static str> {
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

    pub(super) fn verify(&self, token: &str) -> Result<Grant, AuthError> {
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
        let issued_at = match claims.iat {
            None => None,
            Some(seconds) => Some(
                Duration::try_from_secs_f64(seconds)
                    .map_err(|_| AuthError::Invalid("the claim `iat` is out of range"))?
                    .as_secs(),
            ),
        };
        if claims
            .jti
            .as_ref()
            .is_some_and(|id| id.is_empty() || id.len() > TOKEN_ID_MAX_BYTES)
        {
            return Err(AuthError::Invalid(
                "the claim `jti` must have 1 to 256 bytes",
            ));
        }
        let scopes = claims.sluice;
        Ok(Grant {
            subscribe: Patterns::parse(&scopes.subscribe, &claims.sub)
                .map_err(AuthError::Invalid)?,
            publish: Patterns::parse(&scopes.publish, &claims.sub).map_err(AuthError::Invalid)?,
            holder: Arc::new(Holder {
                subject: Some(claims.sub),
                token_id: claims.jti,
                issued_at,
                session: None,
            }),
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

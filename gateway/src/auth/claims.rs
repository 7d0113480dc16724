//! What is checked of every token besides its signature, and what a good one grants (RFC 7519, section 4).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::patterns::Patterns;
use super::{AuthError, Grant, SUBJECT_MAX_BYTES, TOKEN_ID_MAX_BYTES};
use crate::config::JwtConfig;
use crate::holder::Holder;

/// The demands of the configuration.
pub(super) struct Checks {
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: Duration,
    max_lifetime: Duration,
    require_iat: bool,
}

/// Registered claims: where one is given it has a value.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// The claims that are read besides `nbf` and `aud`, whose form the library checks.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    iat: Option<f64>,
    jti: Option<String>,
    /// A list of issuers, which the library would take, is no `iss` (RFC 7519, section 4.1.1).
    #[serde(rename = "iss")]
    _issuer: Option<String>,
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

impl Checks {
    pub(super) fn new(config: &JwtConfig) -> Checks {
        Checks {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway,
            max_lifetime: config.max_lifetime,
            require_iat: config.require_iat,
        }
    }

    /// What the library checks with one key, which is good for one algorithm (RFC 8725, section 3.1).
    pub(super) fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        validation
    }

    /// Takes the claims of a token whose signature and registered claims the library has accepted.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] and [`AuthError::Expired`].
    pub(super) fn grant(&self, claims: Value, now: SystemTime) -> Result<Grant, AuthError> {
        if REGISTERED
            .iter()
            .any(|name| claims.get(name).is_some_and(Value::is_null))
        {
            return Err(AuthError::Invalid("a registered claim is null"));
        }
        if let Some(audience) = claims.get("aud") {
            self.prove_audience(audience).map_err(AuthError::Invalid)?;
        }
        let unexpected = || AuthError::Invalid(super::verifier::UNEXPECTED);
        // A list would be read as the struct's fields in their order.
        if !claims.get("sluice").is_none_or(Value::is_object) {
            return Err(unexpected());
        }
        let claims = serde_json::from_value(claims).map_err(|_| unexpected())?;
        let expires_at = self.expiry(&claims, now)?;
        let issued_at = self.issued_at(&claims, now).map_err(AuthError::Invalid)?;
        let holder = holder(&claims, issued_at).map_err(AuthError::Invalid)?;
        let patterns =
            |texts: &[String]| Patterns::parse(texts, &claims.sub).map_err(AuthError::Invalid);
        Ok(Grant {
            subscribe: patterns(&claims.sluice.subscribe)?,
            publish: patterns(&claims.sluice.publish)?,
            holder: Arc::new(holder),
            expires_at: Some(expires_at),
        })
    }

    /// The library passes over an `aud` that is neither a text nor a list of texts (RFC 7519, section 4.1.3).
    fn prove_audience(&self, audience: &Value) -> Result<(), &'static str> {
        let is_list = |list: &Vec<Value>| list.iter().all(Value::is_string);
        if !audience.is_string() && !audience.as_array().is_some_and(is_list) {
            return Err("the claim `aud` has the wrong type");
        }
        if self.audience.is_empty() {
            return Err("the claim `aud` does not name this service");
        }
        Ok(())
    }

    /// When the token stops being accepted. The library counts whole seconds; a stream is ended to the millisecond.
    fn expiry(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, AuthError> {
        let expires_at = Duration::try_from_secs_f64(claims.exp)
            .ok()
            .and_then(|exp| UNIX_EPOCH.checked_add(exp)?.checked_add(self.leeway))
            .ok_or(AuthError::Invalid("the claim `exp` is out of range"))?;
        let left = expires_at.duration_since(now).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return Err(AuthError::Expired);
        }
        // Once for the sender's clock in `exp`, once for ours: the leeway is in `expires_at` already.
        if left > self.max_lifetime + self.leeway + self.leeway {
            return Err(AuthError::Invalid(
                "the claim `exp` is further away than auth.jwt.max_lifetime allows",
            ));
        }
        // Good for longer in all, it would be refused now and accepted after a revocation of it has ended.
        let lasts = claims.iat.map(|iat| claims.exp - iat);
        if lasts.is_some_and(|lasts| lasts > (self.max_lifetime + self.leeway).as_secs_f64()) {
            return Err(AuthError::Invalid(
                "the claims `iat` and `exp` are further apart than auth.jwt.max_lifetime allows",
            ));
        }
        Ok(expires_at)
    }

    /// A token from the future would escape a revocation of all that was issued before now.
    fn issued_at(&self, claims: &Claims, now: SystemTime) -> Result<Option<u64>, &'static str> {
        let Some(seconds) = claims.iat else {
            return if self.require_iat {
                Err("the claim `iat` is missing")
            } else {
                Ok(None)
            };
        };
        let since =
            Duration::try_from_secs_f64(seconds).map_err(|_| "the claim `iat` is out of range")?;
        match UNIX_EPOCH.checked_add(since) {
            Some(at) if at <= now + self.leeway => Ok(Some(since.as_secs())),
            Some(_) | None => Err("the claim `iat` lies in the future"),
        }
    }
}

fn holder(claims: &Claims, issued_at: Option<u64>) -> Result<Holder, &'static str> {
    if !is_name(&claims.sub, SUBJECT_MAX_BYTES) {
        return Err("the claim `sub` must have 1 to 256 bytes without control characters");
    }
    if !claims
        .jti
        .as_ref()
        .is_none_or(|id| is_name(id, TOKEN_ID_MAX_BYTES))
    {
        return Err("the claim `jti` must have 1 to 256 bytes without control characters");
    }
    Ok(Holder {
        subject: Some(claims.sub.clone()),
        token_id: claims.jti.clone(),
        issued_at,
        session: None,
    })
}

/// What others may be shown, and compare.
fn is_name(text: &str, most_bytes: usize) -> bool {
    (1..=most_bytes).contains(&text.len()) && !text.chars().any(char::is_control)
}

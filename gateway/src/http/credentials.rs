//! How a request carries its token: `Authorization: Bearer`, the session's cookie, a one-use ticket, or `?token=` where that
//! is switched on. A header comes before a ticket, a ticket before a cookie. How a caller who is not recognised or not
//! allowed is answered (RFC 6750). Refuses what is malformed, and never takes it for anonymous.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use rand::Rng as _;

use super::problem::{Code, Problem};
use super::routes::Public;
use super::{csrf, session, tickets};
use crate::auth::{AuthError, Grant};
use crate::broker::tickets::Redeem;
use crate::config::SessionConfig;
use crate::reasons::AuthCode;

/// How tokens may be carried, besides the header.
#[derive(Clone, Debug)]
pub struct Carriers {
    pub session: SessionConfig,
    /// How long a ticket waits for its use.
    pub ticket_ttl: Duration,
    /// Whether `?token=` is read.
    pub query_token: bool,
}

/// About when a caller is to come again who cannot be recognised without the broker.
const BROKER_RETRY: Duration = Duration::from_secs(2);
/// About when a look for the issuer's keys that failed is repeated.
const KEYS_RETRY: Duration = Duration::from_secs(10);

const SEVERAL: AuthError = AuthError::Carrier(
    "more than one token is given: send one, in the Authorization header or in the URL",
);
const QUERY_TOKEN_OFF: AuthError = AuthError::Carrier(
    "`?token=` is not read here (auth.query_token is off): send the Authorization header, or use the cookie of POST /v1/session or a ticket of POST /v1/tickets",
);
const FOR_READING: AuthError = AuthError::Carrier(
    "a ticket or token in the URL is for reading events; send `Authorization: Bearer <token>` here",
);

/// Recognises the caller of a request by header or cookie, and counts one that is not. Anonymous mode asks for nothing and
/// looks at nothing.
///
/// # Errors
/// [`AuthError`], to be sent as a [`Problem`].
pub(super) async fn recognise(request: &HttpRequest, public: &Public) -> Result<Grant, AuthError> {
    count_denied(grant(request, public, false).await, public)
}

/// The same where events are read: by a ticket too, which is spent by it, or by `?token=` where that is switched on.
///
/// # Errors
/// As [`recognise`]; besides [`AuthError::BadTicket`] and [`AuthError::TicketsAway`].
pub(super) async fn recognise_reader(
    request: &HttpRequest,
    public: &Public,
) -> Result<Grant, AuthError> {
    count_denied(grant(request, public, true).await, public)
}

/// The bearer token in the header and what it grants, where nothing else will do; counts a caller without one.
///
/// # Errors
/// [`AuthError`].
pub(super) async fn by_bearer<'a>(
    request: &'a HttpRequest,
    public: &Public,
) -> Result<(&'a str, Grant), AuthError> {
    let grant = async {
        let token = bearer(request.headers())?.ok_or(AuthError::Missing)?;
        if in_query(request.query_string())?.is_some() {
            return Err(SEVERAL);
        }
        let grant = public.authenticator.verify(token).await?;
        public.revocations.check(&grant.holder)?;
        Ok((token, grant))
    };
    count_denied(grant.await, public)
}

/// Counts a caller who is not recognised or not allowed.
pub(super) fn count_denied<T>(
    outcome: Result<T, AuthError>,
    public: &Public,
) -> Result<T, AuthError> {
    outcome.inspect_err(|error| public.http.auth_failures.of(error.code()).inc())
}

/// Refuses what only makes sense where tokens are asked for.
///
/// # Errors
/// 400 in anonymous mode.
pub(super) fn only_with_tokens(public: &Public) -> Result<(), Problem> {
    if public.authenticator.is_open() {
        let detail = "auth.mode is anonymous: everyone may read without a token, so there is nothing to exchange for one";
        return Err(Problem::new(Code::NoTokensHere, detail));
    }
    Ok(())
}

/// Whether the request will spend a ticket once it is looked at: what could refuse it for now has to come before.
pub(super) fn spends_ticket(request: &HttpRequest, public: &Public) -> bool {
    !public.authenticator.is_open()
        && matches!(
            in_query(request.query_string()),
            Ok(Some(InQuery::Ticket(_)))
        )
}

/// Whether the URL is a secret, so that no cache may keep it or its answer (RFC 6750, section 2.3).
pub(super) fn is_url_secret(request: &HttpRequest) -> bool {
    matches!(in_query(request.query_string()), Ok(Some(_)))
}

/// What a request is recognised by.
#[derive(Debug, PartialEq)]
enum Carrier<'a> {
    Token(Cow<'a, str>),
    Ticket(Cow<'a, str>),
    Cookie(&'a str),
    /// There is nothing at all.
    None,
}

async fn grant(request: &HttpRequest, public: &Public, reads: bool) -> Result<Grant, AuthError> {
    let authenticator = &public.authenticator;
    if authenticator.is_open() {
        return authenticator.without_token();
    }
    let grant = match carrier(request, &public.carriers, reads)? {
        Carrier::Token(token) => authenticator.verify(&token).await?,
        Carrier::Ticket(ticket) => {
            let redeem = if *request.method() == Method::HEAD {
                Redeem::Look
            } else {
                Redeem::Use
            };
            tickets::redeem(&ticket, redeem, &public.broker).await?
        }
        Carrier::Cookie(value) => {
            csrf::check(request)?;
            session::recognise(authenticator, value).await?
        }
        Carrier::None => authenticator.without_token()?,
    };
    public.revocations.check(&grant.holder)?;
    Ok(grant)
}

fn carrier<'a>(
    request: &'a HttpRequest,
    carriers: &Carriers,
    reads: bool,
) -> Result<Carrier<'a>, AuthError> {
    let headers = request.headers();
    let (token, has_other_scheme) = match bearer(headers) {
        // Another scheme may be a proxy's own; it is no token, but it is no anonymous caller either.
        Err(AuthError::Missing) => (None, true),
        token => (token?, false),
    };
    match (token, in_query(request.query_string())?) {
        (Some(_), Some(_)) => Err(SEVERAL),
        (Some(token), None) => Ok(Carrier::Token(token.into())),
        (None, Some(_)) if !reads => Err(FOR_READING),
        (None, Some(InQuery::Ticket(ticket))) => Ok(Carrier::Ticket(ticket)),
        (None, Some(InQuery::Token(token))) if carriers.query_token => Ok(Carrier::Token(token)),
        (None, Some(InQuery::Token(_))) => Err(QUERY_TOKEN_OFF),
        (None, None) => match session::value(headers, &carriers.session.cookie)? {
            Some(value) => Ok(Carrier::Cookie(value)),
            None if has_other_scheme => Err(AuthError::Missing),
            None => Ok(Carrier::None),
        },
    }
}

/// A credential in the URL.
enum InQuery<'a> {
    Ticket(Cow<'a, str>),
    Token(Cow<'a, str>),
}

fn in_query(query: &str) -> Result<Option<InQuery<'_>>, AuthError> {
    let mut found = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let credential = match name.as_ref() {
            "ticket" => InQuery::Ticket(value),
            "token" => InQuery::Token(value),
            _ => continue,
        };
        if found.replace(credential).is_some() {
            return Err(SEVERAL);
        }
    }
    Ok(found)
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
            AuthCode::BadTicket => Code::BadTicket,
            AuthCode::BrokerUnavailable => Code::BrokerUnavailable,
            AuthCode::OriginRequired => Code::OriginRequired,
            AuthCode::OriginNotAllowed => Code::OriginNotAllowed,
        };
        let problem = Problem::new(code, error.to_string());
        match challenge(&error) {
            Some(challenge) => problem.challenge(&challenge),
            // Nothing is wrong with the credentials; it passes.
            None if code == Code::BrokerUnavailable => problem.retry_after(jittered(BROKER_RETRY)),
            None if code == Code::KeysUnavailable => problem.retry_after(jittered(KEYS_RETRY)),
            None => problem,
        }
    }
}

/// Between half of it and one and a half.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..1.5))
}

/// The value of `WWW-Authenticate` (RFC 6750, section 3), where other credentials would help. Without credentials no error
/// code is given.
fn challenge(error: &AuthError) -> Option<String> {
    let code = match error {
        AuthError::Missing => return Some("Bearer realm=\"sluice\"".to_owned()),
        AuthError::NotYet
        | AuthError::KeysUnavailable
        | AuthError::TicketsAway
        | AuthError::OriginRequired
        | AuthError::OriginNotAllowed => return None,
        AuthError::BadAuthorization | AuthError::Carrier(_) => "invalid_request",
        AuthError::Invalid(_) | AuthError::Expired | AuthError::Revoked | AuthError::BadTicket => {
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

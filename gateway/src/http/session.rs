//! `POST` and `DELETE /v1/session`: a bearer token becomes a cookie that no script can read, for native `EventSource`, and
//! goes away again. The cookie holds the token itself, so any node can read it, and the name of the browser session,
//! which outlives the renewal of the token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::cookie::{Cookie, SameSite as CookieSameSite, time};
use actix_web::http::header::{self, COOKIE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::credentials::{self, only_with_tokens};
use super::problem::{Code, Problem};
use super::routes::Public;
use super::{admission, csrf, renewal};
use crate::auth::{AuthError, Authenticator, Grant};
use crate::config::{SameSite, SessionConfig};
use crate::holder::Holder;

/// Name and value of the largest cookie that browsers keep (RFC 6265bis, section 5.6).
const COOKIE_MAX_BYTES: usize = 4_096;
/// What a cookie lasts at least; its token decides in any case.
const SHORTEST: Duration = Duration::from_secs(1);
/// Bytes of a session's name, before they are written as base64url.
const SESSION_BYTES: usize = 16;

/// `POST /v1/session` with a bearer token: sets the cookie and says until when it is good. With the cookie of an earlier
/// token of the same subject the session stays the same one.
///
/// # Errors
/// A [`Problem`]: 400 without tokens on this gateway, or for a token that no cookie can hold; 401.
pub async fn post(
    request: HttpRequest,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    admission::attempt(&request, &public)?;
    only_with_tokens(&public)?;
    let (token, grant) = credentials::by_bearer(&request, &public).await?;
    let Some(expires_at) = grant.expires_at else {
        return Err(Problem::new(Code::Internal, "the token has no end"));
    };
    let kept = earlier(request.headers(), &grant, &public).await;
    let is_renewed = kept.is_some();
    let session =
        kept.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; SESSION_BYTES]>()));
    let settings = &public.carriers.session;
    let value = format!("{session}.{token}");
    if settings.cookie.len() + value.len() > COOKIE_MAX_BYTES {
        let detail = "the token does not fit into a cookie, which browsers keep up to 4096 bytes: issue a shorter token, or use a ticket (POST /v1/tickets)";
        return Err(Problem::new(Code::SessionTooLarge, detail));
    }
    // A cookie of no time at all would be taken away instead.
    let left = expires_at.duration_since(SystemTime::now());
    let left = left.map_err(|_| AuthError::Expired)?.max(SHORTEST);
    let cookie = cookie(settings, value, left);
    if is_renewed {
        renewed(session, grant, &public).await;
    }
    Ok(HttpResponse::Ok()
        .cookie(cookie)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "expires_at": humantime::format_rfc3339_seconds(expires_at).to_string() })))
}

/// `DELETE /v1/session`: takes the cookie away from the browser. Streams that it opened are the page's to close.
///
/// # Errors
/// A [`Problem`]: 400 without tokens on this gateway; 403 when another site asks for it.
pub async fn delete(
    request: HttpRequest,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    only_with_tokens(&public)?;
    let settings = &public.carriers.session;
    if value(request.headers(), &settings.cookie) != Ok(None) {
        credentials::count_denied(csrf::check(&request), &public)?;
    }
    Ok(HttpResponse::NoContent()
        .cookie(cookie(settings, String::new(), Duration::ZERO))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}

/// The session's live streams, on any node, go on with the new token. Those that are not reached end with the old one, and
/// resume.
async fn renewed(session: String, grant: Grant, public: &Public) {
    let holder = Holder {
        session: Some(session),
        ..Holder::clone(&grant.holder)
    };
    let grant = Grant {
        holder: Arc::new(holder),
        ..grant
    };
    if let Err(error) = renewal::session(public, &grant).await {
        tracing::warn!(%error, "the other nodes do not hear of a session's new token");
    }
}

fn cookie(settings: &SessionConfig, value: String, lasting: Duration) -> Cookie<'_> {
    let seconds = i64::try_from(lasting.as_secs()).unwrap_or(i64::MAX);
    let mut cookie = Cookie::build(&settings.cookie, value)
        .path("/")
        .max_age(time::Duration::seconds(seconds))
        .http_only(true)
        .secure(true)
        .same_site(match settings.same_site {
            SameSite::Strict => CookieSameSite::Strict,
            SameSite::Lax => CookieSameSite::Lax,
            SameSite::None => CookieSameSite::None,
        });
    if let Some(domain) = &settings.domain {
        cookie = cookie.domain(domain);
    }
    cookie.finish()
}

/// The session of the cookie that the request brought along, if that is the same subject's and still good.
async fn earlier(headers: &HeaderMap, grant: &Grant, public: &Public) -> Option<String> {
    let name = &public.carriers.session.cookie;
    let old = recognise(&public.authenticator, value(headers, name).ok()??).await;
    let old = old.ok()?;
    public.revocations.check(&old.holder).ok()?;
    if old.holder.subject != grant.holder.subject {
        return None;
    }
    old.holder.session.clone()
}

/// The value of the session's cookie, if there is one. Other cookies are not looked at, however malformed.
///
/// # Errors
/// There are several: a browser that keeps one for the host and one for its domain. Which one counts is not guessed.
pub(super) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    let mut found = None;
    for pairs in headers.get_all(COOKIE) {
        for pair in pairs.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            let Some(value) = pair
                .strip_prefix(name.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
            else {
                continue;
            };
            let value = std::str::from_utf8(value).map_err(|_| MALFORMED)?;
            if found.replace(value).is_some() {
                return Err(AuthError::Invalid(
                    "the session cookie is there twice; remove one of them",
                ));
            }
        }
    }
    Ok(found)
}

const MALFORMED: AuthError =
    AuthError::Invalid("the session cookie is malformed; get a new one from POST /v1/session");

/// Verifies what is in the cookie.
///
/// # Errors
/// As for the token in it; a malformed cookie is an invalid token.
pub(super) async fn recognise(
    authenticator: &Authenticator,
    value: &str,
) -> Result<Grant, AuthError> {
    let (session, token) = value.split_once('.').ok_or(MALFORMED)?;
    let name = URL_SAFE_NO_PAD.decode(session).map_err(|_| MALFORMED)?;
    if name.len() != SESSION_BYTES {
        return Err(MALFORMED);
    }
    let grant = authenticator.verify(token).await?;
    let holder = Holder {
        session: Some(session.to_owned()),
        ..(*grant.holder).clone()
    };
    Ok(Grant {
        holder: Arc::new(holder),
        ..grant
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn headers<L: AsRef<[u8]>>(lines: &[L]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                COOKIE,
                HeaderValue::from_bytes(line.as_ref()).expect("a value"),
            );
        }
        headers
    }

    #[rstest]
    #[case::alone(&["s=a.b"], Some("a.b"))]
    #[case::among_others(&["x=1; s=a.b;y=2"], Some("a.b"))]
    #[case::in_lines_of_http2(&["x=1", "s=a=b"], Some("a=b"))]
    #[case::empty(&["s="], Some(""))]
    #[case::longer_name(&["ss=1; s2=1; xs=1"], None)]
    #[case::no_pair(&["s; ;;"], None)]
    fn the_cookie_is_found_by_its_name(#[case] lines: &[&str], #[case] found: Option<&str>) {
        assert_eq!(value(&headers(lines), "s"), Ok(found));
        let beside_others = [
            &[b"x=\xff".to_vec()][..],
            &lines
                .iter()
                .map(|line| line.as_bytes().to_vec())
                .collect::<Vec<_>>(),
        ]
        .concat();
        assert_eq!(
            value(&headers(&beside_others), "s"),
            Ok(found),
            "another is malformed"
        );
    }

    #[test]
    fn two_cookies_or_foreign_bytes_are_refused() {
        let lines: [&[&[u8]]; 3] = [&[b"s=a; s=b"], &[b"s=a", b"s=b"], &[b"s=\xff"]];
        for lines in lines {
            let headers = headers(lines);
            let error = value(&headers, "s").expect_err("refused");
            assert!(matches!(error, AuthError::Invalid(_)), "{error:?}");
        }
    }

    #[test]
    fn the_cookie_is_for_this_host_and_no_script() {
        let mut settings = SessionConfig {
            cookie: "__Host-sluice".to_owned(),
            same_site: SameSite::Strict,
            domain: None,
        };
        let text = cookie(&settings, "a.b".to_owned(), Duration::from_millis(60_900));
        assert_eq!(
            text.encoded().to_string(),
            "__Host-sluice=a.b; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=60"
        );
        settings.same_site = SameSite::None;
        settings.domain = Some("example.com".to_owned());
        let text = cookie(&settings, String::new(), Duration::ZERO).to_string();
        for part in ["SameSite=None; Secure", "Domain=example.com", "Max-Age=0"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

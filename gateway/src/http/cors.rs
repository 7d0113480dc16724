//! Which pages may use the gateway (the CORS protocol of the Fetch standard). Origins are compared exactly; none is
//! ever reflected unchecked. A request from a page that is not allowed is refused before it does anything. Cookies are for
//! configured origins only: a page on any port of localhost (`--dev`) reads without them.

use std::collections::HashSet;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::problem::{Code, Problem};
use super::routes::{EVENTS, POLL, Public};
use crate::config::origin;
use crate::reasons::RejectReason;

/// Request headers that a page may set.
pub const ALLOW_HEADERS: &str =
    "Authorization, Content-Type, Last-Event-ID, Sluice-Event, Idempotency-Key";
/// Methods that a page may use.
pub const ALLOW_METHODS: &str = "GET, POST, DELETE";
/// Answer headers that a page may read.
pub const EXPOSE_HEADERS: &str = "Retry-After, X-Request-Id";
/// How long a browser may remember a preflight's answer, in seconds.
const MAX_AGE_SECONDS: &str = "600";
const VARY_PREFLIGHT: &str =
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// The allowed origins. Shared as `web::Data<Cors>`; applied by [`layer`].
#[derive(Clone, Debug)]
pub struct Cors {
    origins: HashSet<String>,
    localhost: bool,
}

/// What the `Origin` of a request means.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// No page of another origin is involved.
    SameOrigin,
    /// An allowed page: the answer names its origin, and says whether its requests may carry cookies.
    Allowed {
        origin: HeaderValue,
        credentials: bool,
    },
    Refused,
}

/// Whose page sends a request, as far as cookies are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The gateway's own origin, or one that an operator named.
    Trusted,
    /// Any other.
    Stranger,
    /// The request has no `Origin`.
    Unsaid,
}

impl Cors {
    /// Whose page sends this.
    pub(super) fn page(&self, headers: &HeaderMap) -> Page {
        if !headers.contains_key(header::ORIGIN) {
            return Page::Unsaid;
        }
        match self.judge(headers) {
            Verdict::SameOrigin => Page::Trusted,
            Verdict::Allowed { credentials, .. } if credentials => Page::Trusted,
            Verdict::Allowed { .. } | Verdict::Refused => Page::Stranger,
        }
    }

    /// Takes `http.cors_origins`, and whether pages on localhost are allowed too (`--dev`).
    pub fn new(origins: &[String], localhost: bool) -> Cors {
        Cors {
            origins: origins.iter().cloned().collect(),
            localhost,
        }
    }

    fn judge(&self, headers: &HeaderMap) -> Verdict {
        let mut values = headers.get_all(header::ORIGIN);
        let Some(value) = values.next() else {
            return Verdict::SameOrigin;
        };
        let text = value.to_str().unwrap_or_default();
        let credentials = self.origins.contains(text);
        if values.next().is_some() {
            Verdict::Refused
        } else if credentials || (self.localhost && origin::is_localhost(text)) {
            let origin = value.clone();
            Verdict::Allowed {
                origin,
                credentials,
            }
        } else if is_same_origin(text, headers) {
            Verdict::SameOrigin
        } else {
            Verdict::Refused
        }
    }
}

/// Whether a page is served from where the request goes. Pages cannot set `Sec-Fetch-Site` or `Host`; the first is
/// right behind a TLS proxy too, the second serves browsers that do not send the first.
fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("Sec-Fetch-Site") {
        return site == "same-origin";
    }
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    match (authority, headers.get(header::HOST)) {
        (Some(authority), Some(host)) => host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()),
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// Middleware for the public listener: `App::new().app_data(web::Data::new(cors)).wrap(from_fn(cors::layer))`.
///
/// # Errors
/// Those of the routes behind it.
pub async fn layer(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let Some(cors) = request.app_data::<web::Data<Cors>>() else {
        return Err(Problem::new(Code::Internal, "the CORS policy is not set up").into());
    };
    let verdict = cors.judge(request.headers());
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if verdict == Verdict::Refused
        && [EVENTS, POLL].contains(&request.path())
        && let Some(public) = request.app_data::<web::Data<Public>>()
    {
        public.connections.rejected.of(RejectReason::Origin).inc();
    }
    let mut response = match (&verdict, preflight) {
        (Verdict::Refused, _) => request.error_response(refusal()),
        (Verdict::Allowed { .. } | Verdict::SameOrigin, true) => {
            request.into_response(preflight_answer())
        }
        (Verdict::Allowed { .. } | Verdict::SameOrigin, false) => next.call(request).await?,
    };
    let vary = if preflight { VARY_PREFLIGHT } else { "Origin" };
    annotate(response.headers_mut(), verdict, vary);
    Ok(response)
}

fn refusal() -> Problem {
    Problem::new(
        Code::OriginNotAllowed,
        "this page's origin is not in http.cors_origins (SLUICE__HTTP__CORS_ORIGINS)",
    )
}

fn preflight_answer() -> HttpResponse {
    HttpResponse::build(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS))
        .finish()
}

fn annotate(headers: &mut HeaderMap, verdict: Verdict, vary: &'static str) {
    // Always, so that a shared cache never hands one origin's answer to another (Fetch standard, section 3.3.5).
    headers.append(header::VARY, HeaderValue::from_static(vary));
    if let Verdict::Allowed {
        origin,
        credentials,
    } = verdict
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if credentials {
            let name = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
            headers.insert(name, HeaderValue::from_static("true"));
        }
        const EXPOSE: HeaderName = header::ACCESS_CONTROL_EXPOSE_HEADERS;
        headers.insert(EXPOSE, HeaderValue::from_static(EXPOSE_HEADERS));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, ResponseError as _};
    use rstest::rstest;

    use super::*;

    const APP: &str = "https://app.example";

    async fn call(dev: bool, method: Method, headers: &[(&'static str, &str)]) -> HttpResponse<()> {
        let cors = Cors::new(&[APP.to_owned()], dev);
        let route =
            || async { Err::<HttpResponse, Problem>(Problem::new(Code::Draining, "leaving")) };
        let app = App::new()
            .app_data(web::Data::new(cors))
            .wrap(from_fn(layer))
            .route("/v1/events", web::to(route));
        let service = init_service(app).await;
        let mut request = TestRequest::with_uri("/v1/events").method(method);
        for header in headers {
            request = request.append_header(*header);
        }
        let response = call_service(&service, request.to_request()).await;
        response.into_parts().1.drop_body()
    }

    fn text<'a>(response: &'a HttpResponse<()>, name: &str) -> Option<&'a str> {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    }

    #[rstest]
    #[case::listed(false, APP, &[], true)]
    #[case::http_instead(false, "http://app.example", &[], false)]
    #[case::subdomain(false, "https://x.app.example", &[], false)]
    #[case::suffix(false, "https://app.example.evil.example", &[], false)]
    #[case::port(false, "https://app.example:8443", &[], false)]
    #[case::case_differs(false, "https://APP.example", &[], false)]
    #[case::null(false, "null", &[], false)]
    #[case::null_in_dev(true, "null", &[], false)]
    #[case::star(false, "*", &[], false)]
    #[case::empty(false, "", &[], false)]
    #[case::localhost(false, "http://localhost:3000", &[], false)]
    #[case::localhost_in_dev(true, "http://localhost:3000", &[], true)]
    #[case::loopback_in_dev(true, "http://127.0.0.1:5173", &[], true)]
    #[case::loopback6_in_dev(true, "http://[::1]:5173", &[], true)]
    #[case::not_localhost_in_dev(true, "http://localhost.evil.example", &[], false)]
    #[case::cross_site(false, "https://evil.example", &[("Sec-Fetch-Site", "cross-site"), ("Host", "evil.example")], false)]
    #[actix_web::test]
    async fn origins_are_compared_exactly(
        #[case] dev: bool,
        #[case] origin: &str,
        #[case] more: &[(&'static str, &str)],
        #[case] allowed: bool,
    ) {
        let mut headers = vec![("Origin", origin)];
        headers.extend_from_slice(more);
        let response = call(dev, Method::GET, &headers).await;
        assert_eq!(
            response.status(),
            if allowed { 503 } else { 403 },
            "the route answers 503"
        );
        assert_eq!(
            text(&response, "access-control-allow-origin"),
            allowed.then_some(origin)
        );
        assert_eq!(text(&response, "vary"), Some("Origin"));
        assert_eq!(
            text(&response, "access-control-expose-headers"),
            allowed.then_some("Retry-After, X-Request-Id")
        );
    }

    /// A page on the gateway's own origin needs no entry, directly or behind a proxy.
    #[rstest]
    #[case(&[])]
    #[case(&[("Origin", "http://gateway.example:8080"), ("Host", "gateway.example:8080")])]
    #[case(&[("Origin", "https://gateway.example"), ("Host", "10.0.0.7:8080"), ("Sec-Fetch-Site", "same-origin")])]
    #[actix_web::test]
    async fn same_origin_passes_without_cors_headers(#[case] headers: &[(&'static str, &str)]) {
        let response = call(false, Method::POST, headers).await;
        assert_eq!(response.status(), Code::Draining.status());
        assert_eq!(text(&response, "access-control-allow-origin"), None);
    }

    #[actix_web::test]
    async fn a_preflight_is_answered_for_allowed_pages_only() {
        let ask = ("Access-Control-Request-Method", "POST");
        let response = call(false, Method::OPTIONS, &[("Origin", APP), ask]).await;
        assert_eq!(response.status(), 204);
        assert_eq!(text(&response, "access-control-allow-origin"), Some(APP));
        assert_eq!(
            text(&response, "access-control-allow-headers"),
            Some(ALLOW_HEADERS)
        );
        assert_eq!(text(&response, "vary"), Some(VARY_PREFLIGHT));
        let response = call(
            false,
            Method::OPTIONS,
            &[("Origin", "https://evil.example"), ask],
        )
        .await;
        assert_eq!(response.status(), refusal().status_code());
        assert_eq!(text(&response, "access-control-allow-headers"), None);
    }

    /// `withCredentials` works where an operator named the origin, and nowhere else.
    #[rstest]
    #[case::listed(false, Method::GET, APP, Some("true"))]
    #[case::listed_preflight(false, Method::OPTIONS, APP, Some("true"))]
    #[case::listed_in_dev(true, Method::GET, APP, Some("true"))]
    #[case::localhost_in_dev(true, Method::GET, "http://localhost:3000", None)]
    #[case::refused(false, Method::GET, "https://evil.example", None)]
    #[actix_web::test]
    async fn cookies_are_for_configured_origins_only(
        #[case] dev: bool,
        #[case] method: Method,
        #[case] origin: &str,
        #[case] allowed: Option<&str>,
    ) {
        let ask = ("Access-Control-Request-Method", "GET");
        let response = call(dev, method, &[("Origin", origin), ask]).await;
        let name = "access-control-allow-credentials";
        assert_eq!(text(&response, name), allowed);
    }

    #[actix_web::test]
    async fn two_origins_are_refused() {
        let response = call(
            false,
            Method::GET,
            &[("Origin", APP), ("Origin", "https://evil.example")],
        )
        .await;
        assert_eq!(response.status(), 403);
    }
}

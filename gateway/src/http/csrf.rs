//! Whether a request may be believed to come from a page that is allowed to use the visitor's cookie. A browser adds the
//! cookie to requests of any page that `SameSite` lets through; who sends it is told by `Origin` and `Sec-Fetch-Site`,
//! which pages cannot set (Fetch standard, section 3.2; Fetch Metadata). Refuses, and never makes a caller anonymous.

use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, web};

use super::cors::{Cors, Page};
use crate::auth::AuthError;

/// Checks a request whose credential is the cookie.
///
/// # Errors
/// [`AuthError::OriginNotAllowed`] for a page that is not allowed; [`AuthError::OriginRequired`] for a request that
/// does not say its page and changes something, or says that it comes from another site.
pub(super) fn check(request: &HttpRequest) -> Result<(), AuthError> {
    let cors = request.app_data::<web::Data<Cors>>();
    let cors = cors.ok_or(AuthError::OriginNotAllowed)?;
    judge(request.method(), request.headers(), cors)
}

fn judge(method: &Method, headers: &HeaderMap, cors: &Cors) -> Result<(), AuthError> {
    match cors.page(headers) {
        Page::Trusted => Ok(()),
        Page::Stranger => Err(AuthError::OriginNotAllowed),
        Page::Unsaid if *method != Method::GET && *method != Method::HEAD => {
            Err(AuthError::OriginRequired)
        }
        // A same-origin EventSource says no origin; nor do programs, nor a browser too old for the other header.
        Page::Unsaid => match headers.get("Sec-Fetch-Site") {
            None => Ok(()),
            Some(site) if site == "same-origin" || site == "none" => Ok(()),
            // An <img>, a <script>, a link: another site makes the browser ask.
            Some(_) => Err(AuthError::OriginRequired),
        },
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    const APP: &str = "https://app.example";
    const OWN: &str = "https://gateway.example";

    const REQUIRED: Result<(), AuthError> = Err(AuthError::OriginRequired);
    const NOT_ALLOWED: Result<(), AuthError> = Err(AuthError::OriginNotAllowed);

    #[rstest]
    // What a same-origin EventSource sends, and a same-origin fetch.
    #[case::own_stream("GET", None, Some("same-origin"), Ok(()))]
    #[case::own_post("POST", Some(OWN), Some("same-origin"), Ok(()))]
    #[case::own_post_behind_tls("POST", Some(OWN), None, Ok(()))]
    #[case::own_delete("DELETE", Some(OWN), Some("same-origin"), Ok(()))]
    // The address bar, and programs.
    #[case::typed("GET", None, Some("none"), Ok(()))]
    #[case::program("GET", None, None, Ok(()))]
    #[case::head("HEAD", None, None, Ok(()))]
    // A page that the operator named.
    #[case::app_stream("GET", Some(APP), Some("cross-site"), Ok(()))]
    #[case::app_post("POST", Some(APP), Some("cross-site"), Ok(()))]
    #[case::app_of_the_site("GET", Some(APP), Some("same-site"), Ok(()))]
    // Other pages: <img>, <script> and links say no origin; forms and fetch do.
    #[case::image("GET", None, Some("cross-site"), REQUIRED)]
    #[case::image_of_the_site("GET", None, Some("same-site"), REQUIRED)]
    #[case::head_of_another("HEAD", None, Some("cross-site"), REQUIRED)]
    #[case::odd_site("GET", None, Some("elsewhere"), REQUIRED)]
    #[case::stranger("GET", Some("https://evil.example"), Some("cross-site"), NOT_ALLOWED)]
    #[case::form("POST", Some("https://evil.example"), Some("cross-site"), NOT_ALLOWED)]
    #[case::sandbox("POST", Some("null"), Some("cross-site"), NOT_ALLOWED)]
    #[case::localhost("GET", Some("http://localhost:3000"), Some("cross-site"), NOT_ALLOWED)]
    // What changes something needs an origin, whatever else is said.
    #[case::silent_post("POST", None, Some("same-origin"), REQUIRED)]
    #[case::program_post("POST", None, None, REQUIRED)]
    #[case::program_delete("DELETE", None, None, REQUIRED)]
    fn a_cookie_is_taken_from_allowed_pages_only(
        #[case] method: &str,
        #[case] origin: Option<&str>,
        #[case] site: Option<&str>,
        #[case] verdict: Result<(), AuthError>,
    ) {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: Option<&str>| {
            if let Some(value) = value {
                let value = HeaderValue::from_str(value).expect("a value");
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("host", Some("gateway.example"));
        set("origin", origin);
        set("sec-fetch-site", site);
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        // With --dev, where pages on localhost may read: without cookies.
        let cors = Cors::new(&[APP.to_owned()], true);
        assert_eq!(judge(&method, &headers, &cors), verdict);
    }
}

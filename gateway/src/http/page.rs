//! The demo page of `--dev` at `/`: HTML, style and modules as they stand in `page/`, built into the binary.
//! Nothing is loaded from elsewhere and nothing runs inline.

use std::net::SocketAddr;

use actix_web::body::MessageBody;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use url::Url;

use super::problem::{Code, Problem};

const INDEX: &str = include_str!("page/index.html");

/// What `redis://` means without a port.
const REDIS_PORT: u16 = 6379;

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What the page may load: its own files and this origin's routes.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file of the page: name, media type, text.
type File = (&'static str, &'static str, &'static str);

const FILES: &[File] = &[
    ("style.css", CSS, include_str!("page/style.css")),
    ("panels.css", CSS, include_str!("page/panels.css")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("demo.js", JAVASCRIPT, include_str!("page/demo.js")),
    ("answer.js", JAVASCRIPT, include_str!("page/answer.js")),
    ("chart.js", JAVASCRIPT, include_str!("page/chart.js")),
    ("gate.js", JAVASCRIPT, include_str!("page/gate.js")),
    ("gateway.js", JAVASCRIPT, include_str!("page/gateway.js")),
    ("link.js", JAVASCRIPT, include_str!("page/link.js")),
    ("panels.js", JAVASCRIPT, include_str!("page/panels.js")),
    ("proof.js", JAVASCRIPT, include_str!("page/proof.js")),
    ("publish.js", JAVASCRIPT, include_str!("page/publish.js")),
    ("raw.js", JAVASCRIPT, include_str!("page/raw.js")),
    ("reasons.js", JAVASCRIPT, include_str!("page/reasons.js")),
    ("strip.js", JAVASCRIPT, include_str!("page/strip.js")),
];

/// Where the page is told what only the gateway knows.
const PLACE: &str = "<meta name=\"sluice-gateway\">";

/// The page with what this gateway tells of itself, so that the lines offered for copying work as they stand.
pub struct Index(String);

impl Index {
    /// For a gateway listening at `bind`, and the Redis behind it, if there is one. No name and no password is told.
    #[must_use]
    pub fn new(bind: SocketAddr, redis: Option<(&str, &str)>) -> Index {
        let ip = match (bind.ip().is_unspecified(), bind.is_ipv4()) {
            (false, _) => bind.ip(),
            (true, true) => std::net::Ipv4Addr::LOCALHOST.into(),
            (true, false) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        let origin = SocketAddr::new(ip, bind.port());
        let mut told = format!(" data-origin=\"http://{origin}\"");
        let redis = redis.and_then(|(url, prefix)| Some((Url::parse(url).ok()?, prefix)));
        if let Some((url, prefix)) = redis {
            let database = match url.path().trim_matches('/') {
                "" => "0",
                database => database,
            };
            let mut tell = |name: &str, value: &str| {
                told += &format!(" data-redis-{name}=\"{}\"", escaped(value));
            };
            tell("host", url.host_str().unwrap_or_default());
            tell("port", &url.port().unwrap_or(REDIS_PORT).to_string());
            tell("database", database);
            tell("prefix", prefix);
            if url.password().is_some() {
                tell("password", "needed");
            }
        }
        let meta = PLACE.replace('>', &format!("{told}>"));
        Index(INDEX.replace(PLACE, &meta))
    }
}

/// A text as an attribute's value.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;")
}

/// `GET /`.
pub async fn index(index: web::Data<Index>) -> HttpResponse {
    answer("text/html; charset=utf-8", index.0.clone())
}

/// `GET /dev/page/{file}`.
///
/// # Errors
/// 404 for a name that is none of the page's.
pub async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let name = name.into_inner();
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, text)) => Ok(answer(media_type, *text)),
        None => Err(Problem::new(Code::NotFound, "the page has no such file").at("file", &name)),
    }
}

/// Never stored: another gateway may stand at the same address a minute later.
fn answer(media_type: &'static str, text: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::reasons::{CloseReason, ResetReason};

    /// The name of SVG's namespace is no address that anybody fetches.
    const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

    fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        let files = FILES.iter().map(|(name, _, text)| (*name, *text));
        files.chain([("index.html", INDEX)])
    }

    /// Names behind `before` in `text`, up to the quote.
    fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for (name, text) in all() {
            let text = text.replace(SVG_NAMESPACE, "");
            for forbidden in [
                "://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "@import",
                "url(",
                "<style",
                " style=",
                " onclick=",
                " onload=",
                "import(",
            ] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
        let scripts = INDEX.matches("<script").count();
        assert_eq!(INDEX.matches("></script>").count(), scripts);
        assert!(scripts > 0);
    }

    /// A file that is missing, or left over, would only be found by a browser.
    #[test]
    fn every_file_is_served_and_every_served_file_is_used() {
        let mut used: BTreeSet<&str> = named(INDEX, "\"dev/page/").into_iter().collect();
        for (_, text) in all() {
            used.extend(named(text, "from \"./"));
        }
        let served: BTreeSet<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        assert_eq!(used, served);
    }

    /// A reason without words would be told as one "that this page knows" nothing of.
    #[test]
    fn every_reason_has_words() {
        let reasons = include_str!("page/reasons.js");
        let words = |list: &str| {
            let (_, rest) = reasons.split_once(list).expect("the list");
            rest.split_once("\n};").expect("its end").0.to_owned()
        };
        // `unavailable` is also what nginx tells while no node is left (deploy/lb/nginx).
        let close = CloseReason::ALL.iter().map(|reason| reason.as_label());
        let close = close.map(|label| (label, "CLOSE_REASONS"));
        let reset = ResetReason::ALL.iter().map(|reason| reason.as_label());
        for (label, list) in close.chain(reset.map(|label| (label, "RESET_REASONS"))) {
            assert!(
                words(list).contains(&format!("\n  {label}: \"")),
                "{list}: {label}"
            );
        }
    }

    #[test]
    fn the_page_is_told_where_redis_is_and_nothing_secret() {
        let bind = "0.0.0.0:8081".parse().expect("an address");
        let Index(page) = Index::new(bind, Some(("redis://ada:canary@cache:6390/2", "a\"b:")));
        let meta = named(&page, "<meta name=\"sluice-gateway\"").len();
        assert_eq!(meta, 1);
        for told in [
            " data-origin=\"http://127.0.0.1:8081\"",
            " data-redis-host=\"cache\"",
            " data-redis-port=\"6390\"",
            " data-redis-database=\"2\"",
            " data-redis-prefix=\"a&quot;b:\"",
            " data-redis-password=\"needed\"",
        ] {
            assert!(page.contains(told), "{told}");
        }
        assert!(!page.contains("canary") && !page.contains("ada"));
        let Index(embedded) = Index::new(bind, None);
        assert!(embedded.contains("data-origin") && !embedded.contains("data-redis"));
    }

    /// Every id that the modules look up stands in the page, once.
    #[test]
    fn what_the_modules_look_up_is_in_the_page() {
        let ids = named(INDEX, " id=\"");
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "ids are unique");
        for (name, text) in all() {
            for id in named(text, " at(\"")
                .into_iter()
                .chain(named(text, "(at(\""))
            {
                assert!(unique.contains(id), "{name}: #{id}");
            }
        }
    }
}

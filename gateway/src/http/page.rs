//! The first page of `--dev` at `/`: a live stream and a form to publish. One file, nothing loaded from elsewhere.

use actix_web::HttpResponse;
use actix_web::http::header;

const PAGE: &str = include_str!("page.html");
const NONCE_MARK: &str = "NONCE";

/// Serves the page. Its one script and one style run by a nonce, new for each answer; nothing else may run or load.
pub async fn page() -> HttpResponse {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(PAGE.replace(NONCE_MARK, &nonce))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix_web::test]
    async fn the_page_runs_by_its_nonce_and_loads_nothing() {
        let response = page().await;
        let policy = response
            .headers()
            .get("content-security-policy")
            .expect("set")
            .to_str()
            .expect("ASCII")
            .to_owned();
        let body = to_bytes(response.into_body())
            .await
            .expect("a body in memory");
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let (_, rest) = policy.split_once("'nonce-").expect("a nonce");
        let (nonce, _) = rest.split_once('\'').expect("closed");
        assert_eq!(
            text.matches(&format!("nonce=\"{nonce}\"")).count(),
            2,
            "script and style"
        );
        assert!(!text.contains(NONCE_MARK));
        for forbidden in ["://", "innerHTML", "src=", "@import", "url("] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }
}

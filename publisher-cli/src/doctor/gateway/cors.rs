//! Whether a page of another origin may read streams and publish: a preflight and a simple request.

use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, Response};
use sluice_wire::Channel;

use super::Patient;
use crate::doctor::finding::{Code, Finding};

const CODE: Code = Code::GatewayCors;
/// What a client on `fetch` sets.
const ASKED: &str = "authorization,last-event-id";

pub async fn check(patient: &Patient, channel: &Channel, origin: Option<&str>) -> Finding {
    let Some(origin) = origin else {
        return Finding::skipped(
            CODE,
            "pass --origin, such as https://app.example.com, to check a page's access",
        );
    };
    if patient.address.base.origin().ascii_serialization() == origin {
        return Finding::ok(
            CODE,
            format!("{origin} is the gateway's own origin: nothing is needed"),
        );
    }
    let preflight = patient
        .request(Method::OPTIONS, channel)
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, ASKED);
    let simple = patient
        .request(Method::HEAD, channel)
        .header(header::ORIGIN, origin);
    let (preflight, simple) = (patient.send(preflight).await, patient.send(simple).await);
    match (preflight, simple) {
        (Ok(preflight), Ok(simple)) => judge(origin, &preflight, &simple),
        (Err(why), _) | (_, Err(why)) => Finding::problem(
            CODE,
            format!("a request with an Origin is not answered: {why}"),
            "see the rules of the proxy in front for OPTIONS and Origin",
        ),
    }
}

fn judge(origin: &str, preflight: &Response, simple: &Response) -> Finding {
    if simple.status().as_u16() == 403 {
        return Finding::problem(
            CODE,
            format!("pages of {origin} are refused"),
            format!(
                "add it to http.cors_origins: SLUICE__HTTP__CORS_ORIGINS={origin} (comma-separated), and restart the gateway"
            ),
        );
    }
    for (what, answer) in [("the preflight", preflight), ("the request itself", simple)] {
        if let Err(why) = allows(origin, answer.headers()) {
            return Finding::problem(
                CODE,
                format!("{what} of {origin} gets {}: {why}", answer.status()),
                "let only the gateway answer CORS (http.cors_origins): the proxy must pass OPTIONS on and add no Access-Control-* of its own",
            );
        }
    }
    let lacking = lacking_headers(preflight.headers());
    if !preflight.status().is_success() || !lacking.is_empty() {
        return Finding::problem(
            CODE,
            format!(
                "the preflight of {origin} gets {} and does not allow {}",
                preflight.status(),
                lacking.join(", ")
            ),
            "pass OPTIONS on to the gateway, which allows them",
        );
    }
    let with_cookies = [preflight, simple].iter().all(|answer| {
        let value = answer
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        value.is_some_and(|value| value == "true")
    });
    let told =
        format!("pages of {origin} may read streams and set Authorization and Last-Event-ID");
    if with_cookies {
        return Finding::ok(CODE, format!("{told}, with cookies"));
    }
    Finding::ok(
        CODE,
        format!(
            "{told}; cookies are not allowed across origins (withCredentials fails), tokens are"
        ),
    )
}

/// Whether a browser would hand the answer to a page of `origin`.
fn allows(origin: &str, headers: &HeaderMap) -> Result<(), String> {
    const NAME: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    let values: Vec<_> = headers.get_all(NAME).iter().collect();
    match values[..] {
        [] => Err("no access-control-allow-origin".into()),
        [value] if value == origin || value == "*" => Ok(()),
        [value] => Err(format!(
            "access-control-allow-origin is {}",
            String::from_utf8_lossy(value.as_bytes())
        )),
        [..] => Err("access-control-allow-origin is there twice, which browsers refuse".into()),
    }
}

fn lacking_headers(headers: &HeaderMap) -> Vec<&'static str> {
    let allowed = headers.get(header::ACCESS_CONTROL_ALLOW_HEADERS);
    let allowed = allowed
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_lowercase();
    let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
    ASKED
        .split(',')
        .filter(|name| !allowed.contains(name))
        .collect()
}

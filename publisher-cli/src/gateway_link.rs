//! The gateway's HTTP: its client, its addresses, and its problem details (RFC 9457) as failures.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use std::time::Duration;

use crate::args::GatewayAddress;
use crate::failure::{Failure, no_answer_within};

/// The most of a reply other than a stream that is read.
const REPLY_BYTES: usize = 64 * 1024;

/// A client that carries the token and follows no redirect, which would turn a publish into a GET.
///
/// # Errors
/// A token that cannot be a header.
pub fn client(address: &GatewayAddress) -> Result<Client, Failure> {
    build(builder(address)?)
}

/// The same, to be built with more settings.
///
/// # Errors
/// A token that cannot be a header.
pub fn builder(address: &GatewayAddress) -> Result<ClientBuilder, Failure> {
    // Only the first of a process counts, and it is the same each time.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut headers = HeaderMap::new();
    if let Some(token) = &address.token {
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| {
                Failure::usage("the token cannot be sent as a header", "pass it as issued")
            })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .connect_timeout(address.timeout)
        // Reading the system's certificates takes longer than a publish.
        .tls_built_in_root_certs(address.base.scheme() == "https"))
}

/// # Errors
/// The client cannot be made, as without any trusted certificate.
pub fn build(builder: ClientBuilder) -> Result<Client, Failure> {
    builder
        .build()
        .map_err(|error| Failure::failed(format!("cannot make an HTTP client: {error}")))
}

/// `segments` under the gateway's base address.
pub fn url(address: &GatewayAddress, segments: &[&str]) -> Url {
    let mut url = address.base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

pub fn unreachable(address: &GatewayAddress, cause: impl Into<String>) -> Failure {
    Failure::Unreachable {
        target: address.to_string(),
        cause: cause.into(),
        hint: "is the gateway running there, and is --gateway (SLUICE_GATEWAY_URL) right?".into(),
    }
}

pub fn no_answer(address: &GatewayAddress) -> Failure {
    unreachable(address, no_answer_within(address.timeout))
}

/// What lies at the bottom of a client error, without the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Problem details as far as they are shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

/// The failure that a reply other than success amounts to, in the gateway's own code and words.
pub async fn refusal(address: &GatewayAddress, response: Response) -> Failure {
    let status = response.status();
    let body = body(response).await.unwrap_or_default();
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    let reason = status
        .canonical_reason()
        .unwrap_or("no reason")
        .to_lowercase();
    // A code is the gateway's own word; other answers come from something in front of it.
    let is_own = problem.code.is_some();
    let code = problem.code.unwrap_or_else(|| reason.replace(' ', "_"));
    let detail = problem.detail.or(problem.title).unwrap_or(reason);
    if may_pass(status) && is_own {
        let status = status.as_u16();
        return Failure::Unavailable {
            status,
            code,
            detail,
        };
    }
    if may_pass(status) {
        return unreachable(address, format!("{} {code}: {detail}", status.as_u16()));
    }
    Failure::Refused {
        status: Some(status.as_u16()),
        code,
        detail,
        hint: hint(status),
        for_all: status == StatusCode::UNAUTHORIZED,
    }
}

/// Whether the same request may succeed a moment later.
pub fn may_pass(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long the gateway asks to be left alone, where it says so in seconds.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// A reply's body, if it is no larger than [`REPLY_BYTES`] and arrives whole.
pub async fn body(response: Response) -> Result<Vec<u8>, String> {
    body_within(response, REPLY_BYTES).await
}

/// The same with another bound.
pub async fn body_within(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if body.len() + chunk.len() > most {
            return Err(format!("a reply of more than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn hint(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("pass a valid token with --token or SLUICE_TOKEN"),
        403 => Some("the token's claim `sluice` must allow this channel"),
        404 | 405 => Some("is --gateway the gateway's public address, without a path of its own?"),
        300..=399 => Some("sluice follows no redirects: give the address it leads to"),
        _ => None,
    }
}

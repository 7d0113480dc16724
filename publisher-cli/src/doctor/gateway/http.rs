//! Reaching the gateway, whether it is one, whether it lets us in; HTTP versions, headers and compression.

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, Response, Version};
use sluice_wire::Channel;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Fault, Patient};
use crate::args::GatewayAddress;
use crate::doctor::finding::{Code, Finding};
use crate::failure::no_answer_within;
use crate::gateway_link;

/// Resolves the name and connects; what went wrong and what to do.
pub async fn reach(address: &GatewayAddress) -> Result<(), (String, String)> {
    let host = address
        .base
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = address.base.port_or_known_default().unwrap_or_default();
    let advice = |text: &str| text.to_owned();
    let found = timeout(address.timeout, lookup_host((host.as_str(), port))).await;
    let places: Vec<_> = match found {
        Ok(Ok(places)) => places.collect(),
        Ok(Err(error)) => {
            return Err((
                format!("the name {host} does not resolve: {error}"),
                advice("see the spelling of --gateway, and the name's A and AAAA records"),
            ));
        }
        Err(_) => {
            return Err((
                format!(
                    "the name {host} was not resolved: {}",
                    no_answer_within(address.timeout)
                ),
                advice("see this machine's resolver (/etc/resolv.conf)"),
            ));
        }
    };
    match timeout(address.timeout, TcpStream::connect(&places[..])).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err((
            format!("nothing takes connections on port {port} of {host}: {error}"),
            advice(
                "is the gateway running, with http.bind on an address that can be reached from here (default 127.0.0.1:8080)?",
            ),
        )),
        Err(_) => Err((
            format!(
                "connecting to port {port} of {host}: {}",
                no_answer_within(address.timeout)
            ),
            advice("a firewall or security group drops the packets: open the port"),
        )),
    }
}

/// A client error in clear words where they are known.
pub fn words(cause: &str) -> String {
    let known = [
        (
            "UnknownIssuer",
            "its certificate is not from an authority this machine trusts; add the CA to the system's store or to SSL_CERT_FILE, and let the server send its intermediate certificates",
        ),
        (
            "CaUsedAsEndEntity",
            "its certificate is a CA's own; have it issue one for this name",
        ),
        ("Expired", "its certificate has expired; renew it"),
        (
            "NotValidYet",
            "its certificate is not valid yet; see both clocks",
        ),
        (
            "NotValidForName",
            "its certificate is for another name; use that name, or a certificate for this one",
        ),
        (
            "not valid for name",
            "its certificate is for another name; use that name, or a certificate for this one",
        ),
        (
            "InvalidContentType",
            "it does not speak TLS there; use http://",
        ),
        (
            "corrupt message",
            "it does not speak TLS there; use http://",
        ),
    ];
    match known.iter().find(|(mark, _)| cause.contains(mark)) {
        Some((_, words)) => format!("TLS: {words} ({cause})"),
        None => cause.to_owned(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Whether this is a Sluice gateway that gives us a stream.
pub async fn identify(
    patient: &Patient,
    answer: &Response,
    channel: &Channel,
    findings: &mut Vec<Finding>,
) -> bool {
    let status = answer.status().as_u16();
    let kind = text(answer.headers(), "content-type");
    let refuses = kind.starts_with("application/problem+json");
    if status == 200 && kind.starts_with("text/event-stream") {
        findings.push(Finding::ok(
            Code::GatewayIdentity,
            "it answers as a Sluice gateway does",
        ));
        findings.push(Finding::ok(
            Code::GatewayAccess,
            "we may subscribe to sluice-doctor.*",
        ));
        return true;
    }
    if !refuses {
        let (seen, advice) = stranger(status, kind);
        findings.push(Finding::problem(Code::GatewayIdentity, seen, advice));
        return false;
    }
    findings.push(Finding::ok(
        Code::GatewayIdentity,
        "it refuses as a Sluice gateway does",
    ));
    // A HEAD has no body: the refusal in full.
    let why = match patient.send(patient.request(Method::GET, channel)).await {
        Ok(response) => gateway_link::refusal(&patient.address, response)
            .await
            .to_string(),
        Err(why) => why,
    };
    let advice = match status {
        401 => {
            "pass a valid token: --token or SLUICE_TOKEN; it must not have expired, and iss and aud must be as configured"
        }
        403 => {
            "the token's claim must have sluice: {\"subscribe\": [\"sluice-doctor.*\"], \"publish\": [\"sluice-doctor.*\"]}"
        }
        429 | 503 => {
            "wait and look again; if it stays, see the node's /readyz and limits.connections"
        }
        _ => "see the gateway's log",
    };
    findings.push(Finding::problem(Code::GatewayAccess, why, advice));
    false
}

fn stranger(status: u16, kind: &str) -> (String, &'static str) {
    let kind = if kind.is_empty() {
        "no content type"
    } else {
        kind
    };
    match status {
        502..=504 => (
            format!("a proxy answers {status}: it does not reach the gateway"),
            "see that the gateway runs, and the proxy's upstream address and health check",
        ),
        300..=399 => (
            format!("it redirects ({status})"),
            "give the address it leads to",
        ),
        401 | 403 | 407 => (
            format!("{status} from something in front, not from Sluice ({kind})"),
            "let /v1/ through the login of the proxy; the gateway has its own tokens",
        ),
        _ => (
            format!("{status} with {kind}: no Sluice gateway answers at /v1/events"),
            "give the gateway's public address (not the admin listener's), with the path under which a proxy has it",
        ),
    }
}

/// The headers of a stream against those that the gateway sends.
pub fn headers(patient: &Patient, headers: &HeaderMap) -> Finding {
    const CODE: Code = Code::GatewayHeaders;
    let mut changed = Vec::new();
    for word in ["no-cache", "no-transform"] {
        if !text(headers, "cache-control").contains(word) {
            changed.push(format!("cache-control has lost {word}"));
        }
    }
    if text(headers, "content-type") != "text/event-stream; charset=utf-8" {
        changed.push(format!(
            "content-type became {}",
            text(headers, "content-type")
        ));
    }
    if !text(headers, "content-length").is_empty() {
        changed.push("a content-length was added".into());
    }
    if !changed.is_empty() {
        let seen = format!("changed on the way: {}", changed.join(", "));
        return Finding::warning(CODE, seen, patient.front.advice(Fault::Headers));
    }
    if text(headers, "x-accel-buffering") != "no" {
        return Finding::note(CODE, "x-accel-buffering was taken off on the way, as nginx does; a second nginx in front of it would buffer")
            .advise("if there is one: proxy_pass_header X-Accel-Buffering on the inner, or proxy_buffering off on the outer");
    }
    Finding::ok(CODE, "as the gateway sends them")
}

/// Whether a stream is compressed for those who accept it, as browsers do.
pub async fn compression(patient: &Patient, channel: &Channel) -> Finding {
    const CODE: Code = Code::GatewayCompression;
    let request = patient
        .request(Method::GET, channel)
        .header(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd");
    let response = match patient.send(request).await {
        Ok(response) => response,
        Err(why) => {
            return Finding::problem(
                CODE,
                format!("a stream that may be compressed does not begin: {why}"),
                patient.front.advice(Fault::Compression),
            );
        }
    };
    match text(response.headers(), "content-encoding") {
        "" | "identity" => Finding::ok(CODE, "streams are not compressed"),
        encoding => Finding::warning(
            CODE,
            format!("streams are compressed ({encoding}) on the way, which may hold events back"),
            patient.front.advice(Fault::Compression),
        ),
    }
}

async fn ask_as(
    patient: &Patient,
    client: Result<Client, crate::failure::Failure>,
    channel: &Channel,
) -> Result<Version, String> {
    let client = client.map_err(|failure| failure.to_string())?;
    let mut url = gateway_link::url(&patient.address, &["v1", "events"]);
    url.query_pairs_mut()
        .append_pair("channel", channel.as_str());
    let answer = patient.send(client.head(url)).await?;
    Ok(answer.version())
}

pub async fn version_1(patient: &Patient, channel: &Channel) -> Finding {
    const CODE: Code = Code::GatewayHttp1;
    let client = gateway_link::builder(&patient.address)
        .and_then(|builder| gateway_link::build(builder.http1_only()));
    match ask_as(patient, client, channel).await {
        Ok(_) => Finding::ok(CODE, "HTTP/1.1 is answered"),
        Err(why) => Finding::warning(
            CODE,
            format!(
                "HTTP/1.1 is not answered ({why}); older clients and many proxies speak nothing else"
            ),
            "offer http/1.1 beside h2 in ALPN",
        ),
    }
}

pub async fn version_2(patient: &Patient, channel: &Channel) -> Finding {
    const CODE: Code = Code::GatewayHttp2;
    const SIX: &str = "browsers open at most six connections per host over HTTP/1.1, so the seventh stream of a user's tabs waits";
    let is_tls = patient.address.base.scheme() == "https";
    let client = gateway_link::builder(&patient.address).and_then(|builder| {
        gateway_link::build(if is_tls {
            builder
        } else {
            builder.http2_prior_knowledge()
        })
    });
    let answered = ask_as(patient, client, channel).await;
    let has_h2 = answered
        .as_ref()
        .is_ok_and(|version| *version == Version::HTTP_2);
    match (has_h2, is_tls) {
        (true, true) => Finding::ok(CODE, "HTTP/2 is negotiated (ALPN h2): a browser's streams share one connection"),
        (false, true) => Finding::warning(
            CODE,
            format!("HTTP/2 is not negotiated: {SIX}"),
            "turn on HTTP/2 where TLS ends: nginx `http2 on` (before 1.25.1 `listen 443 ssl http2`), HAProxy `alpn h2,http/1.1` on the bind line, Envoy alpn_protocols [h2, http/1.1]",
        ),
        (true, false) => Finding::note(CODE, format!("HTTP/2 without TLS (h2c) is answered, for proxies; browsers use it only over https: {SIX}"))
            .advise("for browsers put TLS with HTTP/2 in front"),
        (false, false) => Finding::note(CODE, format!("no HTTP/2 without TLS; over http:// browsers would not use it anyway: {SIX}"))
            .advise("for browsers put TLS with HTTP/2 in front"),
    }
}

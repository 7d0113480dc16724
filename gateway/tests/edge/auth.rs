//! Tokens, end to end: who may read and publish, and what they are told when they may not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::http::{Answer, Events};
use crate::harness::node::Node;
use crate::harness::tokens::{SECRET, now};

pub fn node() -> Node {
    Node::embedded(&[
        ("AUTH__MODE", "jwt"),
        ("AUTH__JWT__SECRET", SECRET),
        ("AUTH__JWT__ISSUER", "https://issuer.example"),
        ("AUTH__JWT__LEEWAY", "0s"),
    ])
    .ready()
}

/// Claims of ann, who reads her orders and publishes on one channel, for so many more seconds.
fn claims(left: u64) -> Value {
    json!({
        "sub": "ann",
        "iss": "https://issuer.example",
        "exp": now() + left,
        "sluice": { "subscribe": ["orders.{sub}.*"], "publish": ["inbox"] },
    })
}

fn sign(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(algorithm), claims, &key);
    format!("Bearer {}", token.expect("signed"))
}

pub fn bearer(left: u64) -> String {
    sign(&claims(left), Algorithm::HS256, SECRET)
}

fn told(answer: &Answer) -> (u16, String, &str) {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    (answer.status, answer.problem(), challenge)
}

/// A good token reads and publishes what its claims allow.
#[test]
fn a_token_opens_what_its_claims_allow() {
    let node = node();
    let ann = bearer(60);
    let headers = [("Authorization", ann.as_str())];
    let stream = node.stream("channel=orders.ann.new&channel=orders.ann.old", &headers);
    assert_eq!(stream.status, 200);
    let answer = node.post("inbox", &headers, b"hello");
    assert_eq!(answer.status, 201, "{answer:?}");
    for query in [
        "channel=orders.bob.new",
        "channel=orders.ann.new&channel=inbox",
        "channel=orders.ann",
    ] {
        let answer = node.get(&format!("/v1/events?{query}"), &headers);
        let (status, code, challenge) = told(&answer);
        assert_eq!(
            (status, code.as_str()),
            (403, "insufficient_scope"),
            "{query}"
        );
        assert!(
            challenge.contains("error=\"insufficient_scope\""),
            "{challenge}"
        );
    }
    let answer = node.post("orders.ann.new", &headers, b"hello");
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (403, "insufficient_scope")
    );
}

/// Without credentials the challenge carries no error code (RFC 6750, 3.1); with bad ones it says which kind.
#[rstest]
#[case::none(None, "token_missing", "Bearer realm=\"sluice\"")]
#[case::other_scheme(Some("Basic YTpi".to_owned()), "token_missing", "Bearer realm=\"sluice\"")]
#[case::garbage(Some("Bearer a.b.c".to_owned()), "invalid_token", "error=\"invalid_token\"")]
#[case::forged(Some(sign(&claims(60), Algorithm::HS256, "another secret of thirty-two bytes")), "invalid_token", "error=\"invalid_token\"")]
#[case::other_algorithm(Some(sign(&claims(60), Algorithm::HS512, SECRET)), "invalid_token", "error=\"invalid_token\"")]
#[case::expired(Some(sign(&json!({"sub": "ann", "iss": "https://issuer.example", "exp": now() - 1}), Algorithm::HS256, SECRET)), "token_expired", "error=\"invalid_token\"")]
#[case::no_expiry(Some(sign(&json!({"sub": "ann", "iss": "https://issuer.example"}), Algorithm::HS256, SECRET)), "invalid_token", "error=\"invalid_token\"")]
#[case::other_issuer(Some(sign(&json!({"sub": "ann", "iss": "x", "exp": now() + 60}), Algorithm::HS256, SECRET)), "invalid_token", "error=\"invalid_token\"")]
fn a_caller_without_a_good_token_is_challenged(
    #[case] authorization: Option<String>,
    #[case] code: &str,
    #[case] challenge: &str,
) {
    let node = node();
    let headers: Vec<(&str, &str)> = authorization
        .iter()
        .map(|value| ("Authorization", value.as_str()))
        .collect();
    for answer in [
        node.get("/v1/events?channel=orders.ann.new", &headers),
        node.post("inbox", &headers, b"hello"),
    ] {
        let (status, told_code, told_challenge) = told(&answer);
        assert_eq!((status, told_code.as_str()), (401, code), "{answer:?}");
        assert!(told_challenge.contains(challenge), "{told_challenge}");
        let token = authorization
            .as_deref()
            .unwrap_or("Bearer none")
            .trim_start_matches("Bearer ");
        assert!(!answer.body.contains(token), "a token is never repeated");
    }
    let sample = format!("sluice_auth_failures_total{{code=\"{code}\"}}");
    assert_eq!(node.metric(&sample), 2.0);
}

/// `alg: none` is no signature, however it is spelt; nor is none at all.
#[rstest]
#[case::none("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0")]
#[case::other_case("eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0")]
#[case::hs256("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9")]
fn an_unsigned_token_is_refused(#[case] header: &str) {
    let signed = bearer(60);
    let claims = signed.split('.').nth(1).expect("three parts");
    let token = format!("Bearer {header}.{claims}.");
    let node = node();
    let headers = [("Authorization", token.as_str())];
    let answer = node.get("/v1/events?channel=orders.ann.new", &headers);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (401, "invalid_token")
    );
}

/// A stream does not outlive its token: it is told within about a second, and its place is kept.
#[test]
fn a_stream_ends_with_its_token_and_keeps_its_place() {
    let node = node();
    let mut claims = claims(2);
    claims["sluice"]["subscribe"] = json!(["inbox"]);
    let token = sign(&claims, Algorithm::HS256, SECRET);
    let headers = [("Authorization", token.as_str())];
    let mut stream = Events::open(node.public, "/v1/events?channel=inbox", &headers);
    assert_eq!(stream.next().event, "sluice.open");
    assert_eq!(stream.next().event, "sluice.expiring");
    let position = crate::harness::node::id(&node.post("inbox", &headers, b"one"));
    assert_eq!(stream.next().id(), position);
    let close = stream.next();
    let late = SystemTime::now()
        .duration_since(UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64().expect("set")));
    assert_eq!(close.event, "sluice.close");
    assert_eq!(close.json()["reason"], "token_expired");
    assert_eq!(close.id(), position);
    let late = late.expect("not before its time");
    assert!(late < Duration::from_millis(1_800), "{late:?} late");
    assert!(stream.rest().is_empty());
    let ended = "sluice_connections_closed_total{reason=\"token_expired\"}";
    assert_eq!(node.metric(ended), 1.0);
}

//! Forged, stale and honest tokens; patterns that must not widen.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::config::{Args, Config};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

fn config(extra: &[(&str, &str)]) -> AuthConfig {
    let mut environment = vec![
        ("SLUICE__AUTH__MODE", "jwt"),
        ("SLUICE__AUTH__JWT__SECRET", SECRET),
    ];
    environment.extend_from_slice(extra);
    let args = Args {
        dev: true,
        ..Args::default()
    };
    Config::load(&args, environment).expect("valid").auth
}

fn authenticator(extra: &[(&str, &str)]) -> Authenticator {
    Authenticator::from_config(&config(extra)).expect("has its key")
}

fn in_seconds(offset: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    i64::try_from(now).expect("fits") + offset
}

fn claims() -> Value {
    json!({"sub": "42", "exp": in_seconds(600), "sluice": {"subscribe": ["orders.*", "user.{sub}"], "publish": ["user.{sub}"]}})
}

/// The good claims with some replaced; `null` removes one.
fn claims_with(changes: &Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().expect("an object") {
        let members = all.as_object_mut().expect("an object");
        members.insert(name.clone(), value.clone());
        members.retain(|_, value| !value.is_null());
    }
    all
}

fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .expect("signs")
}

fn token(claims: &Value) -> String {
    sign(Algorithm::HS256, SECRET, claims)
}

fn try_token(authenticator: &Authenticator, token: &str) -> Result<Grant, AuthError> {
    let verified = authenticator.verify(token).now_or_never();
    verified.expect("a key at hand is not waited for")
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).expect("valid")
}

#[test]
fn a_good_token_grants_what_it_says() {
    let exp = in_seconds(600);
    let grant = try_token(
        &authenticator(&[]),
        &token(&claims_with(&json!({"exp": exp}))),
    )
    .expect("granted");
    assert_eq!(grant.holder.subject.as_deref(), Some("42"));
    let expires = grant
        .expires_at
        .expect("set")
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    assert_eq!(
        i64::try_from(expires.as_secs()).expect("fits"),
        exp + 60,
        "leeway included, as at the door"
    );
    grant
        .check(Action::Subscribe, &channel("orders.eu"))
        .expect("allowed");
    grant
        .check(Action::Subscribe, &channel("user.42"))
        .expect("allowed");
    grant
        .check(Action::Publish, &channel("user.42"))
        .expect("allowed");
    let refused = grant
        .check(Action::Publish, &channel("orders.eu"))
        .expect_err("read only");
    assert_eq!(refused.code(), AuthCode::InsufficientScope);
}

#[rstest]
#[case::expired(json!({"exp": in_seconds(-120)}), AuthCode::TokenExpired)]
#[case::no_exp(json!({"exp": null}), AuthCode::InvalidToken)]
#[case::exp_text(json!({"exp": "soon"}), AuthCode::InvalidToken)]
#[case::exp_huge(json!({"exp": 1e300}), AuthCode::InvalidToken)]
#[case::exp_negative(json!({"exp": -5}), AuthCode::InvalidToken)]
#[case::no_sub(json!({"sub": null}), AuthCode::InvalidToken)]
#[case::empty_sub(json!({"sub": ""}), AuthCode::InvalidToken)]
#[case::long_sub(json!({"sub": "x".repeat(257)}), AuthCode::InvalidToken)]
#[case::sub_number(json!({"sub": 42}), AuthCode::InvalidToken)]
#[case::not_yet(json!({"nbf": in_seconds(120)}), AuthCode::InvalidToken)]
#[case::audience_object(json!({"aud": {"a": 1}}), AuthCode::InvalidToken)]
#[case::audience_empty_object(json!({"aud": {}}), AuthCode::InvalidToken)]
#[case::audience_number(json!({"aud": 5}), AuthCode::InvalidToken)]
#[case::audience_flag(json!({"aud": true}), AuthCode::InvalidToken)]
#[case::audience_numbers(json!({"aud": [5]}), AuthCode::InvalidToken)]
#[case::audience_null(json!({"aud": [null]}), AuthCode::InvalidToken)]
#[case::audience_lists(json!({"aud": [["svc"]]}), AuthCode::InvalidToken)]
#[case::audience_nobody(json!({"aud": []}), AuthCode::InvalidToken)]
#[case::foreign_audience(json!({"aud": "someone-else"}), AuthCode::InvalidToken)]
#[case::bad_pattern(json!({"sluice": {"subscribe": ["orders*"]}}), AuthCode::InvalidToken)]
#[case::inner_rest(json!({"sluice": {"subscribe": ["a.**.b"]}}), AuthCode::InvalidToken)]
#[case::half_sub(json!({"sluice": {"subscribe": ["user-{sub}"]}}), AuthCode::InvalidToken)]
#[case::pattern_text(json!({"sluice": {"subscribe": "**"}}), AuthCode::InvalidToken)]
#[case::many_patterns(json!({"sluice": {"subscribe": vec!["a"; 129]}}), AuthCode::InvalidToken)]
fn bad_claims_are_refused(#[case] changes: Value, #[case] code: AuthCode) {
    let error =
        try_token(&authenticator(&[]), &token(&claims_with(&changes))).expect_err("refused");
    assert_eq!(error.code(), code);
}

#[test]
fn within_the_leeway_a_token_is_still_good() {
    let grant = try_token(
        &authenticator(&[]),
        &token(&claims_with(&json!({"exp": in_seconds(-30)}))),
    )
    .expect("granted");
    assert!(
        grant.expires_at.expect("set") > SystemTime::now(),
        "its stream does not end the moment it opens"
    );
    let strict = authenticator(&[("SLUICE__AUTH__JWT__LEEWAY", "0s")]);
    try_token(
        &strict,
        &token(&claims_with(&json!({"exp": in_seconds(-30)}))),
    )
    .expect_err("refused");
}

/// The algorithm comes from the configuration, never from the token.
#[test]
fn forged_algorithms_and_keys_are_refused() {
    let authenticator = authenticator(&[]);
    let good = token(&claims());
    let (header, rest) = good.split_once('.').expect("three parts");
    let (payload, signature) = rest.split_once('.').expect("three parts");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"; // {"alg":"none","typ":"JWT"}
    for forged in [
        sign(Algorithm::HS384, SECRET, &claims()),
        sign(Algorithm::HS512, SECRET, &claims()),
        sign(
            Algorithm::HS256,
            "another-secret-another-secret-another",
            &claims(),
        ),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.eyJzdWIiOiJyb290In0.{signature}"),
        "a.b.c".to_owned(),
        "x".repeat(TOKEN_MAX_BYTES + 1),
    ] {
        let error = try_token(&authenticator, &forged).expect_err("refused");
        assert_eq!(error.code(), AuthCode::InvalidToken, "{forged}");
    }
    try_token(&authenticator, &good).expect("the honest one passes");
}

#[test]
fn critical_and_foreign_headers_are_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let critical = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::default()
    };
    let foreign = Header {
        typ: Some("dpop+jwt".to_owned()),
        ..Header::default()
    };
    for header in [critical, foreign] {
        let forged = encode(&header, &claims(), &key).expect("signs");
        try_token(&authenticator(&[]), &forged).expect_err("refused");
    }
}

#[test]
fn issuer_and_audience_are_required_when_configured() {
    let settings = [
        ("SLUICE__AUTH__JWT__ISSUER", "https://id.example"),
        ("SLUICE__AUTH__JWT__AUDIENCE", "sluice,edge"),
    ];
    let authenticator = authenticator(&settings);
    let with = |iss: Value, aud: Value| token(&claims_with(&json!({"iss": iss, "aud": aud})));
    try_token(
        &authenticator,
        &with(json!("https://id.example"), json!(["x", "edge"])),
    )
    .expect("granted");
    for bad in [
        with(Value::Null, json!("sluice")),
        with(json!("https://evil.example"), json!("sluice")),
        with(json!("https://id.example"), Value::Null),
        with(json!("https://id.example"), json!("x")),
    ] {
        try_token(&authenticator, &bad).expect_err("refused");
    }
}

/// Whatever a token says, what begins with `_` stays Sluice's own.
#[rstest]
#[case("**")]
#[case("_probe.x")]
#[case("*.x")]
fn no_token_reaches_reserved_channels(#[case] pattern: &str) {
    let scopes = json!({"subscribe": [pattern], "publish": [pattern]});
    let grant = try_token(
        &authenticator(&[]),
        &token(&claims_with(&json!({"sluice": scopes}))),
    );
    let grant = grant.expect("granted");
    for action in [Action::Subscribe, Action::Publish] {
        grant
            .check(action, &channel("_probe.x"))
            .expect_err("reserved");
    }
}

#[test]
fn anonymous_may_do_all_but_the_reserved() {
    let args = Args {
        dev: true,
        ..Args::default()
    };
    let none: [(&str, &str); 0] = [];
    let config = Config::load(&args, none).expect("valid").auth;
    let grant = Authenticator::from_config(&config)
        .expect("needs nothing")
        .without_token()
        .expect("anyone");
    assert!(grant.holder.subject.is_none() && grant.expires_at.is_none());
    for action in [Action::Subscribe, Action::Publish] {
        grant.check(action, &channel("any.thing")).expect("allowed");
        grant
            .check(action, &channel("_ctl.x"))
            .expect_err("reserved");
    }
}

/// Issued and good for longer than allowed in all, a token would be refused now, and come to be accepted in its last day.
#[test]
fn a_token_is_not_good_for_longer_in_all_than_allowed() {
    let lasting = |issued: i64, ends: i64| {
        let claims = json!({"iat": in_seconds(issued), "exp": in_seconds(ends)});
        token(&claims_with(&claims))
    };
    let usual = authenticator(&[]);
    try_token(&usual, &lasting(-80_000, 6_000)).expect("a day in all");
    let error = try_token(&usual, &lasting(-86_000, 600)).expect_err("more than that");
    assert_eq!(error.code(), AuthCode::InvalidToken);
    let without = token(&claims_with(&json!({"iat": null})));
    try_token(&usual, &without).expect("it does not say");
    let strict = authenticator(&[("SLUICE__AUTH__JWT__REQUIRE_IAT", "true")]);
    try_token(&strict, &lasting(-60, 600)).expect("it says");
    let error = try_token(&strict, &without).expect_err("it must say");
    assert!(error.to_string().contains("`iat` is missing"), "{error}");
}

/// Neither the token nor the key is in what is printed.
#[test]
fn nothing_prints_tokens_or_keys() {
    let authenticator = authenticator(&[]);
    let good = token(&claims());
    let grant = try_token(&authenticator, &good).expect("granted");
    let forged = format!("{}x", &good[..good.len() - 4]);
    let error = try_token(&authenticator, &forged).expect_err("refused");
    let signature = good.rsplit('.').next().expect("three parts");
    for text in [
        format!("{grant:?}"),
        format!("{error:?} {error}"),
        format!("{authenticator:?}"),
    ] {
        assert!(
            !text.contains(&signature[..8]) && !text.contains(SECRET),
            "{text}"
        );
    }
}

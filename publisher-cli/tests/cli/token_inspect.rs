//! `sluice token inspect` and `check`: what is told of a token, and why it allows a channel or does not.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{run, run_with_input};
use crate::token::{json_of, mint, now, ran, token};

/// The same without the secret in its environment.
fn unkeyed(words: &[&str]) -> Command {
    let mut command = token(words);
    command.env_remove("SLUICE_TOKEN_SECRET");
    command
}

/// A token of these parts, signed by nobody.
fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), "c2ln")
}

/// Timestamps as one word, so that what is told can be compared.
fn settled(text: &str) -> String {
    let is_time = |word: &str| word.ends_with('Z') && word.len() == 20 && word.starts_with("20");
    let words = text.split_inclusive([' ', ',', '\n', '"']).map(|word| {
        let bare = word.trim_end_matches([' ', ',', '\n', '"']);
        if is_time(bare) {
            word.replace(bare, "TIME")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

#[test]
fn a_token_is_told_in_words() {
    let minted = mint(&[
        "--subscribe",
        "orders.*",
        "--subscribe",
        "user.{sub}.**",
        "--id",
        "j-1",
        "--expires",
        "12m",
        "--not-before",
        "5m",
    ]);
    let known = ran(token(&["inspect", &minted, "--channel", "user.42.inbox"]));
    assert_eq!((known.code, known.stderr.as_str()), (0, ""));
    let not_known = ran(unkeyed(&["inspect", &minted]));
    assert_eq!((not_known.code, not_known.stderr.as_str()), (0, ""));
    let broken = unsigned(
        &json!({"alg": "none", "kid": "k", "crit": ["x"]}),
        &json!({"sub": 42, "exp": 1_577_836_800, "sluice": {"subscribe": ["orders*"], "publish": "all"}}),
    );
    let broken = ran(token(&["inspect", &broken, "--channel", "orders.eu"]));
    assert_eq!((broken.code, broken.stderr.as_str()), (0, ""));
    let years = broken.stdout.replace(
        &format!("{} days", (now() - 1_577_836_800 + 43_200) / 86_400),
        "N days",
    );
    insta::assert_snapshot!(
        "token_inspected",
        settled(&[known.stdout, not_known.stdout, years].join("\n"))
    );
}

/// A token comes as an argument, from the environment or on standard input.
#[test]
fn a_token_is_taken_from_three_places() {
    let minted = mint(&["--subscribe", "a"]);
    let (_, first) = json_of(token(&["inspect", &minted, "--json"]));
    assert_eq!(first["claims"]["sub"], "42");
    let mut of_environment = token(&["inspect", "--json"]);
    of_environment.env("SLUICE_TOKEN", &minted);
    assert_eq!(json_of(of_environment).1["claims"], first["claims"]);
    let input = format!("  {minted}\n");
    let ran = run_with_input(token(&["inspect", "-", "--json"]), Some(input.as_bytes()));
    let piped: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(piped["claims"], first["claims"]);
}

/// What is no token is told as such, and nothing of it is repeated.
#[test]
fn what_is_no_token_is_refused() {
    let good = mint(&["--subscribe", "a"]);
    for (text, why) in [
        ("canary", "it has no dots; a token has three parts"),
        ("a.canary", "it has 2 parts"),
        ("a.b.canary.d.e", "it has five parts: an encrypted token"),
        ("canary!.b.c", "its header is not base64url"),
        ("Y2FuYXJ5.b.c", "its header is not a JSON object"),
        (
            &good.replacen('.', ".!canary", 1),
            "its part with the claims is not base64url",
        ),
    ] {
        let ran = ran(token(&["inspect", text]));
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(why), "{text}: {}", ran.stderr);
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    }
}

/// Each thing that a gateway refuses a token for is found, and nothing else with it.
#[test]
fn what_a_gateway_refuses_is_found() {
    let at = now();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({"sub": "42", "exp": at + 600, "sluice": {"subscribe": ["a"]}});
    let without = |name: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    let in_header = |name: &str, value: Value| unsigned(&with(&header, name, value), &claims);
    let in_claims = |name: &str, value: Value| unsigned(&header, &with(&claims, name, value));
    let scope = |value: Value| in_claims("sluice", value);
    let cases = [
        (unsigned(&header, &claims), &[][..]),
        (in_header("typ", json!("at+jwt")), &[]),
        (scope(json!({})), &[]),
        (in_header("alg", json!("none")), &["unsigned"]),
        (in_header("alg", json!("nOnE")), &["unsigned"]),
        (in_header("alg", json!("ES512")), &["bad_algorithm"]),
        (in_header("alg", json!(null)), &["bad_algorithm"]),
        (in_header("typ", json!("JWE")), &["bad_type"]),
        (in_header("crit", json!(["exp"])), &["critical"]),
        (in_header("jku", json!("https://x")), &["brings_key"]),
        (in_header("x5u", json!("https://x")), &["brings_key"]),
        (in_header("jwk", json!({})), &["brings_key"]),
        (in_header("x5c", json!([])), &["brings_key"]),
        (in_header("b64", json!(false)), &["unsupported"]),
        (in_header("zip", json!("DEF")), &["unsupported"]),
        (in_header("kid", json!("")), &["bad_kid"]),
        (in_claims("iat", json!(at + 30)), &[]),
        (in_claims("iat", json!(at + 120)), &["issued_ahead"]),
        (
            unsigned(&header, &claims).replace(".c2ln", "."),
            &["unsigned"],
        ),
        (in_header("kid", json!("k".repeat(128))), &[]),
        (in_header("kid", json!("k".repeat(129))), &["bad_kid"]),
        (in_header("kid", json!(7)), &["bad_kid"]),
        (unsigned(&header, &without("sub")), &["bad_sub"]),
        (in_claims("sub", json!("")), &["bad_sub"]),
        (in_claims("sub", json!("s".repeat(257))), &["bad_sub"]),
        (in_claims("sub", json!(42)), &["bad_sub"]),
        (unsigned(&header, &without("exp")), &["no_exp"]),
        (in_claims("exp", json!("soon")), &["bad_time"]),
        (in_claims("exp", json!(-1)), &["bad_time"]),
        (in_claims("exp", json!(1e30)), &["bad_time"]),
        (in_claims("exp", json!(at - 10)), &["expired"]),
        (
            in_claims("exp", json!(at + 86_400 + 60)),
            &["too_long_lived"],
        ),
        (in_claims("nbf", json!(at + 60)), &["not_yet"]),
        (in_claims("nbf", json!("now")), &["bad_time"]),
        (scope(json!("all")), &["bad_scope", "bad_scope"]),
        (scope(json!({"publish": "all"})), &["bad_scope"]),
        (scope(json!({"publish": [1]})), &["bad_scope"]),
        (scope(json!({"publish": ["a*"]})), &["bad_pattern"]),
        (
            scope(json!({"subscribe": vec!["a"; 129]})),
            &["too_many_patterns"],
        ),
        (in_claims("note", json!("n".repeat(8_192))), &["too_long"]),
    ];
    for (text, expected) in &cases {
        assert_eq!(complaints(text), *expected, "{text}");
    }
}

/// The codes of what is found wrong with a token, in order.
fn complaints(token: &str) -> Vec<String> {
    let (code, told) = json_of(unkeyed(&["inspect", token, "--json"]));
    assert_eq!(code, 0);
    let told = told["complaints"].as_array().unwrap().clone();
    let codes = told.iter().map(|complaint| complaint["code"].as_str());
    codes.map(|code| code.unwrap().to_owned()).collect()
}

/// The same object with one member set.
fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut changed = base.clone();
    changed[name] = value;
    changed
}

/// What a channel is allowed by, or why by nothing; the exit code says it too.
#[test]
fn a_channel_is_checked() {
    let minted = mint(&[
        "--subscribe",
        "orders.*",
        "--subscribe",
        "user.{sub}",
        "--publish",
        "inbox",
    ]);
    let check = |words: &[&str]| ran(token(&[&["check", &minted], words].concat()));
    for (channel, pattern) in [("orders.eu", "orders.*"), ("user.42", "user.{sub}")] {
        let ran = check(&["--channel", channel]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert_eq!(
            ran.stdout,
            format!("allowed to subscribe to {channel}: `{pattern}` stands for it\n")
        );
    }
    let ran = check(&["--channel", "inbox", "--action", "publish"]);
    assert_eq!(
        ran.stdout,
        "allowed to publish on inbox: `inbox` stands for it\n"
    );
    for channel in ["orders", "orders.eu.north", "user.43", "inbox", "_ctl"] {
        let ran = check(&["--channel", channel]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{channel}");
        assert!(
            ran.stderr
                .starts_with(&format!("error: not allowed to subscribe to {channel}: ")),
            "{}",
            ran.stderr
        );
    }
    let ran = check(&["--channel", "user.43"]);
    let why =
        "none of the token's patterns stands for it: `orders.*`, `user.{sub}` (that is `user.42`)";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    let (code, told) = json_of(token(&["check", &minted, "--channel", "user.43", "--json"]));
    assert_eq!(
        (
            code,
            &told["channel"]["allowed"],
            &told["channel"]["pattern"]
        ),
        (1, &json!(false), &json!(null))
    );

    // A pattern that fits is of no use in a token that is refused, or that somebody else has signed.
    let stale = unsigned(
        &json!({"alg": "HS256"}),
        &json!({"sub": "42", "exp": 1, "sluice": {"subscribe": ["**"]}}),
    );
    let ran = run(unkeyed(&["check", &stale, "--channel", "a"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.contains("gateways refuse the token: it expired"),
        "{}",
        ran.stderr
    );
}

/// A check without a key says that the signature was not looked at.
#[test]
fn an_unchecked_signature_is_said_to_be() {
    let minted = mint(&["--subscribe", "a"]);
    let ran = run(unkeyed(&["check", &minted, "--channel", "a"]));
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains("the signature was NOT CHECKED"),
        "{}",
        ran.stderr
    );
}

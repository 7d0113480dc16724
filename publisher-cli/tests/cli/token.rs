//! `sluice token mint`: what is made, and what is refused because no gateway would take it.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Ran, run, sluice};

/// Of the tests; it must turn up in no output.
pub const SECRET: &str = "canary-secret-of-the-tests-with-enough-bytes-in-it";

pub fn token(words: &[&str]) -> Command {
    let mut command = sluice(&[&["token"], words].concat());
    command.env("SLUICE_TOKEN_SECRET", SECRET);
    command
}

pub fn ran(command: Command) -> Ran {
    let ran = run(command);
    for output in [&ran.stdout, &ran.stderr] {
        assert!(!output.contains(SECRET), "the secret is shown: {ran:?}");
    }
    ran
}

pub fn mint(words: &[&str]) -> String {
    let ran = ran(token(&[&["mint", "--sub", "42"], words].concat()));
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines = ran.lines();
    assert_eq!(lines.len(), 1, "the token alone: {ran:?}");
    lines[0].to_owned()
}

pub fn json_of(command: Command) -> (i32, Value) {
    let ran = ran(command);
    let json = serde_json::from_str(&ran.stdout);
    (ran.code, json.unwrap_or_else(|_| panic!("{ran:?}")))
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A part of a token, read apart from the program.
fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_carries_what_was_asked_for() {
    let begun = now();
    let minted = mint(&[
        "--subscribe",
        "orders.*",
        "--subscribe",
        "user.{sub}",
        "--publish",
        "inbox",
        "--expires",
        "2h",
        "--not-before",
        "1m",
        "--issuer",
        "https://issuer.example",
        "--audience",
        "sluice",
        "--audience",
        "other",
        "--id",
        "order-1",
        "--kid",
        "2025-11",
        "--algorithm",
        "HS384",
    ]);
    assert_eq!(
        part(&minted, 0),
        json!({"alg": "HS384", "typ": "JWT", "kid": "2025-11"})
    );
    let mut claims = part(&minted, 1);
    let issued = claims["iat"].as_u64().unwrap();
    assert!((begun..=now()).contains(&issued), "{claims}");
    let members = claims.as_object_mut().unwrap();
    members.remove("iat");
    assert_eq!(
        claims,
        json!({
            "sub": "42", "exp": issued + 7200, "nbf": issued + 60, "jti": "order-1",
            "iss": "https://issuer.example", "aud": ["sluice", "other"],
            "sluice": {"subscribe": ["orders.*", "user.{sub}"], "publish": ["inbox"]},
        })
    );
}

/// Without a word it lasts a quarter of an hour and has an id of its own; one audience is a text.
#[test]
fn what_is_left_out_has_a_good_default() {
    let words = ["--subscribe", "a", "--audience", "sluice"];
    let (one, two) = (part(&mint(&words), 1), part(&mint(&words), 1));
    assert_eq!(
        one["exp"].as_u64().unwrap() - one["iat"].as_u64().unwrap(),
        900
    );
    assert_eq!(one["jti"].as_str().unwrap().len(), 22);
    assert_ne!(one["jti"], two["jti"]);
    assert_eq!(one["aud"], "sluice");
    assert!(one.get("nbf").is_none() && one.get("iss").is_none());
    assert_eq!(part(&mint(&words), 0)["alg"], "HS256");
    let until = part(
        &mint(&["--publish", "a", "--expires", "2199-01-01T00:00:00Z"]),
        1,
    );
    assert_eq!(until["exp"], 7_226_582_400_u64);
}

#[test]
fn with_json_token_and_claims_are_one_object() {
    let (code, minted) = json_of(token(&["mint", "--sub", "42", "--publish", "a", "--json"]));
    assert_eq!(code, 0);
    let text = minted["token"].as_str().unwrap();
    assert_eq!(minted["claims"], part(text, 1));
    assert_eq!(minted["header"], part(text, 0));
}

/// What is no mistake is noted beside the token, which stays alone on standard output.
#[test]
fn what_may_surprise_is_noted() {
    for (words, note) in [
        (&[][..], "note: the token allows nothing"),
        (
            &["--subscribe", "a", "--expires", "25h"],
            "note: it lasts longer than 24 h",
        ),
        (
            &["--subscribe", "_ctl.*"],
            "note: `_ctl.*` stands for no channel",
        ),
        (
            &["--sub", "a.b", "--subscribe", "u.{sub}"],
            "note: `u.{sub}` stands for no channel: the subject is no segment",
        ),
    ] {
        let sub: &[&str] = if words.contains(&"--sub") {
            &[]
        } else {
            &["--sub", "42"]
        };
        let ran = ran(token(&[&["mint"], sub, words].concat()));
        assert_eq!((ran.code, ran.lines().len()), (0, 1), "{ran:?}");
        assert!(ran.stderr.starts_with(note), "{words:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{words:?}: {}", ran.stderr);
    }
    let ran = ran(token(&[
        "mint",
        "--sub",
        "42",
        "--subscribe",
        "a",
        "--expires",
        "24h",
    ]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

/// Command lines that make no token that a gateway takes, each with what to do about it.
const MISUSE: &[&str] = &[
    "mint",
    "mint --sub 42 --secret canary-of-the-command-line",
    "mint --sub= --subscribe a",
    "mint --sub 42 --subscribe orders.x*",
    "mint --sub 42 --publish user-{sub}",
    "mint --sub 42 --subscribe a.**.b",
    "mint --sub 42 --expires yesterday",
    "mint --sub 42 --expires 0s",
    "mint --sub 42 --expires 2020-01-01T00:00:00Z",
    "mint --sub 42 --not-before 15m",
    "mint --sub 42 --algorithm none",
    "mint --sub 42 --algorithm ES256",
    "mint --sub 42 --secret-file a --key-file b",
    "mint --sub 42 --kid=",
    "inspect",
    "inspect a.b.c --action publish",
    "inspect a.b.c --secret canary-of-the-command-line",
    "check a.b.c",
    "check a.b.c --channel a..b",
    "jwks a.pem b.pem --kid one",
    "jwks",
    "keygen --algorithm HS256",
    "forge",
];

#[test]
fn misuse_is_exit_2_with_a_hint() {
    let mut told = String::new();
    for line in MISUSE {
        let ran = ran(token(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line}: {ran:?}");
        assert!(!ran.stderr.contains("canary"), "{line}: {}", ran.stderr);
        told += &format!(
            "$ sluice token {}\n{}\n",
            line.replace("canary-of-the-command-line", "…"),
            ran.stderr
        );
    }
    insta::assert_snapshot!("token_misuse", told);
}

#[test]
fn help_is_as_agreed() {
    let mut told = String::new();
    for command in ["", "mint", "inspect", "check", "keygen", "jwks"] {
        let words = [command, "--help"];
        let ran = ran(token(&words[usize::from(command.is_empty())..]));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        told += &format!(
            "$ sluice token {}\n{}\n",
            words.join(" ").trim(),
            ran.stdout
        );
    }
    insta::assert_snapshot!("help_token", told);
}

/// The limits of a gateway hold here too: at the limit a token is made, one past it is not.
#[test]
fn a_token_that_no_gateway_takes_is_not_made() {
    let sub = |bytes| {
        ran(token(&[
            "mint",
            "--subscribe",
            "a",
            "--sub",
            &"s".repeat(bytes),
        ]))
    };
    assert_eq!((sub(256).code, sub(257).code), (0, 2));
    let patterns = |count| {
        let mut command = token(&["mint", "--sub", "42"]);
        command.args(["--publish", "a"].repeat(count));
        ran(command)
    };
    assert_eq!((patterns(128).code, patterns(129).code), (0, 2));
    let long = |bytes: usize| {
        let mut command = token(&["mint", "--sub", "42", "--id", &"j".repeat(bytes)]);
        command.args(["--subscribe", "a"]);
        ran(command)
    };
    let (fits, too_long) = (long(5_800), long(6_100));
    assert!(fits.lines()[0].len() <= 8_192, "{}", fits.lines()[0].len());
    assert_eq!(too_long.code, 2);
    assert!(
        too_long
            .stderr
            .contains("and no gateway takes more than 8192"),
        "{}",
        too_long.stderr
    );
}

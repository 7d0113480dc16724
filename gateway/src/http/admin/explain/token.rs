//! The checks that a token goes through, in their order and in words. What is verified is what `auth` says; the token is
//! taken apart here only to say at which check it fails. Of its content only `sub`, `exp`, `iss`, `aud` and the patterns
//! are told, and of the last four only once the signature is known to be good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sluice_wire::channel::Channel;

use crate::auth::patterns::Patterns;
use crate::auth::{Action, AuthError, Authenticator, Grant, TOKEN_MAX_BYTES};
use crate::connection::blocks;
use crate::http::routes::Public;

/// Algorithms whose names may be repeated: whatever else stands there is somebody's own text.
const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA", "none",
];

/// Checks that a token comes to only with a good signature.
const AFTER_SIGNATURE: [&str; 5] = ["exp", "nbf", "iss", "aud", "claims"];

/// One check and how it went.
struct Step {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// Explains what a token, or no token at all, may do with a channel.
pub(super) async fn explain(
    public: &Public,
    token: Option<&str>,
    action: Action,
    channel: &Channel,
) -> Value {
    let authenticator = &public.authenticator;
    let mut steps = Vec::new();
    let grant = match token {
        Some(token) if !authenticator.is_open() => {
            let grant = authenticator.verify(token).await;
            verification(token, &grant, &mut steps);
            grant.and_then(|grant| {
                let checked = public.revocations.check(&grant.holder);
                steps.push(revocation(&checked));
                checked.map(|()| grant)
            })
        }
        Some(_) | None => {
            let grant = authenticator.without_token();
            steps.push(without(authenticator, &grant));
            grant
        }
    };
    let outcome = grant.and_then(|grant| {
        let checked = grant.check(action, channel);
        allowed(&grant, action, channel, &mut steps);
        checked
    });
    let steps: Vec<Value> = steps
        .into_iter()
        .map(|step| json!({"check": step.check, "ok": step.ok, "detail": step.detail}))
        .collect();
    json!({
        "allowed": outcome.is_ok(),
        "code": outcome.as_ref().err().map(|error| error.code().as_label()),
        "detail": outcome.err().map(|error| error.to_string()),
        "steps": steps,
    })
}

fn without(authenticator: &Authenticator, grant: &Result<Grant, AuthError>) -> Step {
    let detail = match grant {
        Ok(_) if authenticator.is_open() => {
            "auth.mode is `anonymous`: no token is asked for or looked at".to_owned()
        }
        Ok(_) => "none was given: what callers without one may do".to_owned(),
        Err(error) => error.to_string(),
    };
    Step {
        check: "token",
        ok: grant.is_ok(),
        detail,
    }
}

fn revocation(checked: &Result<(), AuthError>) -> Step {
    let detail = match checked {
        Ok(()) => "neither it nor its subject is revoked".to_owned(),
        Err(error) => error.to_string(),
    };
    Step {
        check: "revocation",
        ok: checked.is_ok(),
        detail,
    }
}

/// From the token's form to its claims, up to the first check that fails.
fn verification(token: &str, grant: &Result<Grant, AuthError>, steps: &mut Vec<Step>) {
    let step = |check, ok, detail: &str| Step {
        check,
        ok,
        detail: detail.to_owned(),
    };
    let failed = grant.as_ref().err();
    let parts = parts(token);
    let odd = parts.as_ref().is_some_and(|(header, _)| !is_signed(header));
    let at = failed.map(|error| match failing(error) {
        // Such a token gets no further, whatever its claims are.
        "form" => "form",
        _ if odd => "header",
        check => check,
    });
    let words = failed.map(ToString::to_string).unwrap_or_default();
    let Some((header, claims)) = parts.filter(|_| at != Some("form")) else {
        let detail = if words.is_empty() {
            "three parts of base64url, joined by dots"
        } else {
            &words
        };
        steps.push(step("form", failed.is_none(), detail));
        return;
    };
    steps.push(step(
        "form",
        true,
        "three parts, with JSON in the first two",
    ));
    if at == Some("header") {
        steps.push(step(
            "header",
            false,
            &format!("{words} ({})", named(&header)),
        ));
        return;
    }
    steps.push(step("header", true, &named(&header)));
    if let Some(check) = at.filter(|check| !AFTER_SIGNATURE.contains(check)) {
        return steps.push(step(check, false, &words));
    }
    steps.push(step(
        "signature",
        true,
        "made with a key that is configured",
    ));
    // The claims are checked after the signature; the first that fails is told.
    if let Some(check) = at {
        let value = claim(&claims, check);
        let told = value.map_or_else(|| words.clone(), |value| format!("{words} ({value})"));
        return steps.push(step(check, false, &told));
    }
    for check in ["exp", "nbf", "iss", "aud"] {
        let told = claim(&claims, check);
        steps.push(step(
            check,
            true,
            told.as_deref()
                .unwrap_or("not in the token, and not asked for"),
        ));
    }
    if let Ok(grant) = grant {
        let subject = grant.holder.subject.as_deref().unwrap_or_default();
        let (reads, publishes) = (list(&grant.subscribe), list(&grant.publish));
        let told = format!("sub `{subject}`; subscribe: {reads}; publish: {publishes}");
        steps.push(step("claims", true, &told));
    }
}

/// The channel against what is granted.
fn allowed(grant: &Grant, action: Action, channel: &Channel, steps: &mut Vec<Step>) {
    let reserved = channel.is_reserved();
    let detail = if reserved {
        format!("`{channel}` begins with `_`: such channels are never allowed")
    } else {
        format!("`{channel}` is not a reserved channel")
    };
    steps.push(Step {
        check: "channel",
        ok: !reserved,
        detail,
    });
    let patterns = grant.patterns(action);
    let found = patterns.why(channel);
    let detail = match found {
        Some(pattern) => format!("`{pattern}` stands for `{channel}`"),
        None => format!("none stands for `{channel}`: {}", list(patterns)),
    };
    steps.push(Step {
        check: "patterns",
        ok: found.is_some(),
        detail,
    });
}

fn list(patterns: &Patterns) -> String {
    let texts: Vec<String> = patterns.iter().map(|p| format!("`{p}`")).collect();
    if texts.is_empty() {
        return "none".to_owned();
    }
    texts.join(", ")
}

/// At which check a token fails, by what is told of it.
fn failing(error: &AuthError) -> &'static str {
    let text = match error {
        AuthError::Expired => return "exp",
        AuthError::Missing
        | AuthError::BadAuthorization
        | AuthError::Carrier(_)
        | AuthError::BadTicket
        | AuthError::TicketsAway
        | AuthError::OriginRequired
        | AuthError::OriginNotAllowed => return "form",
        AuthError::Scope { .. } => return "claims",
        AuthError::Revoked | AuthError::NotYet => return "revocation",
        AuthError::KeysUnavailable => return "key",
        AuthError::Invalid(text) => *text,
    };
    let marks: [(&str, &[&str]); 9] = [
        ("claims", &["pattern", "`sub`", "`jti`", "`iat`"]),
        ("form", &["malformed", "longer than"]),
        ("signature", &["signature", "not signed"]),
        ("nbf", &["`nbf`"]),
        ("iss", &["`iss`"]),
        ("aud", &["`aud`"]),
        ("exp", &["`exp`"]),
        (
            "header",
            &["`alg`", "`typ`", "`kid`", "header", "key", "supported"],
        ),
        ("claims", &["claim"]),
    ];
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    let found = marks.iter().find(|(_, marks)| has(marks));
    found.map_or("verification", |(check, _)| *check)
}

/// Header and claims, not verified.
fn parts(token: &str) -> Option<(Value, Value)> {
    if token.len() > TOKEN_MAX_BYTES {
        return None;
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts.as_slice() else {
        return None;
    };
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        value.is_object().then_some(value)
    };
    Some((object(header)?, object(claims)?))
}

/// Whether the header names an algorithm that signs.
fn is_signed(header: &Value) -> bool {
    let named = header["alg"].as_str().unwrap_or_default();
    named != "none" && ALGORITHMS.contains(&named)
}

/// What the header says of the key.
fn named(header: &Value) -> String {
    let named = header["alg"].as_str().unwrap_or_default();
    let known = ALGORITHMS.iter().find(|known| **known == named);
    let algorithm = known.map_or_else(|| "an unknown alg".to_owned(), |alg| format!("alg {alg}"));
    let key = if header.get("kid").is_some() {
        "names a key"
    } else {
        "names no key"
    };
    format!("{algorithm}, {key}")
}

/// A claim in words, where it may be told.
fn claim(claims: &Value, check: &str) -> Option<String> {
    let value = claims.get(check)?;
    match check {
        "exp" => Some(expires(value.as_f64()?)),
        "nbf" => Some("the token says from when it is valid".to_owned()),
        "iss" => Some(format!("`{}`", value.as_str()?)),
        "aud" => Some(value.to_string()),
        _ => None,
    }
}

fn expires(exp: f64) -> String {
    let Ok(since) = Duration::try_from_secs_f64(exp) else {
        return "out of range".to_owned();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let at = blocks::rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    match since.checked_sub(now) {
        Some(left) => format!("expires at {at}, in {} s", left.as_secs()),
        None => format!(
            "expired at {at}, {} s ago; leeway may allow it still",
            now.saturating_sub(since).as_secs()
        ),
    }
}

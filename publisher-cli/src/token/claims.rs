//! What a gateway finds wrong with a token, but for its signature: the rules of docs/auth.md. Limits are a gateway's own;
//! what a deployment can set otherwise is said so.

use serde::Serialize;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::grants::{self, PATTERNS_MOST};
use super::parts::Parts;
use super::times::{distance, timestamp};
use crate::args::Action;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MOST: usize = 8 * 1024;
/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MOST: usize = 256;
/// Longest name of a key, in bytes.
pub const KID_BYTES_MOST: usize = 128;
/// How far away a token's end may be, in seconds, unless the deployment says otherwise.
pub const LIFETIME_MOST: f64 = 24.0 * 60.0 * 60.0;
/// How wrong clocks may be, in seconds, unless the deployment says otherwise.
const LEEWAY: f64 = 60.0;

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub struct Complaint {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

fn complaint(code: &'static str, detail: impl Into<String>) -> Complaint {
    let detail = detail.into();
    Complaint { code, detail }
}

/// All that is wrong at `now`, in seconds since 1970.
pub fn complaints(parts: &Parts, now: f64) -> Vec<Complaint> {
    let mut found = Vec::new();
    if parts.bytes > TOKEN_BYTES_MOST {
        found.push(complaint(
            "too_long",
            format!(
                "it has {} bytes, and {TOKEN_BYTES_MOST} is the most",
                parts.bytes
            ),
        ));
    }
    header(parts, &mut found);
    subject(parts, &mut found);
    times(parts, now, &mut found);
    for action in [Action::Subscribe, Action::Publish] {
        patterns(parts, action, &mut found);
    }
    found
}

fn header(parts: &Parts, found: &mut Vec<Complaint>) {
    match parts.header.get("alg") {
        None => found.push(complaint("bad_algorithm", "the header has no `alg`")),
        Some(Value::String(name)) if name.eq_ignore_ascii_case("none") => found.push(complaint(
            "unsigned",
            "`alg` is none: it is not signed, and anybody can make such a token",
        )),
        Some(Value::String(name)) if Algorithm::of_name(name).is_some() => {}
        Some(other) => found.push(complaint(
            "bad_algorithm",
            format!("`alg` is {other}, which no gateway takes"),
        )),
    }
    if let Some(kind) = parts.header.get("typ") {
        let known = ["JWT", "at+jwt", "application/at+jwt"];
        let is_known = |kind: &str| known.iter().any(|known| known.eq_ignore_ascii_case(kind));
        if !kind.as_str().is_some_and(is_known) {
            found.push(complaint(
                "bad_type",
                format!("`typ` is {kind}; it must be JWT or at+jwt, or left out"),
            ));
        }
    }
    if parts.header.contains_key("crit") {
        found.push(complaint(
            "critical",
            "the header has `crit`: it asks for an extension that gateways do not know",
        ));
    }
    for name in ["jku", "x5u", "jwk"] {
        if parts.header.contains_key(name) {
            found.push(complaint(
                "brings_key",
                format!(
                    "the header has `{name}`: a token cannot say which key it is to be checked with"
                ),
            ));
        }
    }
    match parts.header.get("kid") {
        None => {}
        Some(Value::String(kid)) if kid.len() <= KID_BYTES_MOST => {}
        Some(_) => found.push(complaint(
            "bad_kid",
            format!("`kid` must be a text of at most {KID_BYTES_MOST} bytes"),
        )),
    }
}

fn subject(parts: &Parts, found: &mut Vec<Complaint>) {
    let detail = match parts.claims.get("sub") {
        None => "the claim `sub` is missing".to_owned(),
        Some(Value::String(sub)) if sub.is_empty() => "the claim `sub` is empty".to_owned(),
        Some(Value::String(sub)) if sub.len() > SUBJECT_BYTES_MOST => format!(
            "the claim `sub` has {} bytes, and {SUBJECT_BYTES_MOST} is the most",
            sub.len()
        ),
        Some(Value::String(_)) => return,
        Some(_) => "the claim `sub` is not a text".to_owned(),
    };
    found.push(complaint("bad_sub", detail));
}

fn times(parts: &Parts, now: f64, found: &mut Vec<Complaint>) {
    let moment = |name: &str, found: &mut Vec<Complaint>| match parts.claims.get(name) {
        None => None,
        Some(value) => {
            let seconds = value
                .as_f64()
                .filter(|seconds| timestamp(*seconds).is_some());
            if seconds.is_none() {
                found.push(complaint(
                    "bad_time",
                    format!("the claim `{name}` is not a time in seconds since 1970"),
                ));
            }
            seconds
        }
    };
    let expires = moment("exp", found);
    let not_before = moment("nbf", found);
    moment("iat", found);
    if !parts.claims.contains_key("exp") {
        found.push(complaint(
            "no_exp",
            "the claim `exp` is missing: every token must end",
        ));
    }
    if let Some(at) = expires {
        if at <= now {
            let still = if at + LEEWAY > now {
                "; clocks may differ by 60 s, so some gateways still take it"
            } else {
                ""
            };
            let when = distance(at, now);
            found.push(complaint("expired", format!("it expired, {when}{still}")));
        } else if at - now > LIFETIME_MOST {
            found.push(complaint(
                "too_long_lived",
                format!(
                    "it expires {}; unless `max_lifetime` is raised, a gateway takes tokens that end within 24 h",
                    distance(at, now)
                ),
            ));
        }
    }
    if let Some(at) = not_before.filter(|at| *at > now) {
        found.push(complaint(
            "not_yet",
            format!("it does not hold yet: `nbf` is {}", distance(at, now)),
        ));
    }
}

fn patterns(parts: &Parts, action: Action, found: &mut Vec<Complaint>) {
    let name = action.name();
    let Some(texts) = grants::texts(&parts.claims, action) else {
        found.push(complaint(
            "bad_scope",
            format!("the claim `sluice` must be an object, and its `{name}` a list of texts"),
        ));
        return;
    };
    if texts.len() > PATTERNS_MOST {
        found.push(complaint(
            "too_many_patterns",
            format!(
                "`{name}` has {} patterns, and {PATTERNS_MOST} is the most",
                texts.len()
            ),
        ));
    }
    for text in texts {
        if let Err(error) = grants::check(&text) {
            found.push(complaint(
                "bad_pattern",
                format!("`{name}` has the pattern `{text}`: {error}"),
            ));
        }
    }
}

//! `sluice token mint`: a token that gateways take, or a word on why they would not.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::algorithm::Algorithm;
use super::claims::{KID_BYTES_MOST, LIFETIME_MOST, SUBJECT_BYTES_MOST, TOKEN_BYTES_MOST};
use super::grants::{self, PATTERNS_MOST};
use super::key::Private;
use super::parts::{self, Object};
use super::times::{timestamp, unix};
use crate::args::{Action, Mint, Moment};
use crate::failure::Failure;
use crate::notice::Notice;
use crate::output::Output;

/// What `--json` prints.
#[derive(Serialize)]
struct Minted<'a> {
    token: &'a str,
    header: &'a Object,
    claims: &'a Object,
}

/// Prints the token.
///
/// # Errors
/// What is asked for is no token that a gateway takes, or the key cannot be read.
pub fn run(job: &Mint) -> Result<(), Failure> {
    check(job)?;
    let key = Private::read(&job.key)?;
    let algorithm = key.kind().algorithm(job.algorithm)?;
    // Whole seconds, as most issuers have them.
    let now = unix(SystemTime::now()).floor();
    let header = header(algorithm, job.kid.as_deref());
    let claims = claims(job, now)?;
    let message = format!("{}.{}", parts::encode(&header), parts::encode(&claims));
    let signature = key.sign(algorithm, message.as_bytes())?;
    let token = format!("{message}.{signature}");
    if token.len() > TOKEN_BYTES_MOST {
        return Err(Failure::usage(
            format!(
                "the token has {} bytes, and no gateway takes more than {TOKEN_BYTES_MOST}",
                token.len()
            ),
            "give fewer or shorter patterns; `orders.**` stands for all below orders",
        ));
    }
    for note in notes(job, &claims, now) {
        Notice::Note(note).tell(job.json);
    }
    let mut output = Output::new();
    if job.json {
        let minted = Minted {
            token: &token,
            header: &header,
            claims: &claims,
        };
        output.line(
            serde_json::to_string(&minted)
                .unwrap_or_default()
                .as_bytes(),
        )?;
    } else {
        output.line(token.as_bytes())?;
    }
    output.flush()
}

/// What is wrong with the command line, before any key is read.
fn check(job: &Mint) -> Result<(), Failure> {
    let sub = job.sub.len();
    if sub == 0 || sub > SUBJECT_BYTES_MOST {
        return Err(Failure::usage(
            format!("--sub has {sub} bytes; a subject has 1 to {SUBJECT_BYTES_MOST}"),
            "give the user's id, or the name of the service",
        ));
    }
    let kid = job.kid.as_deref().unwrap_or("-").len();
    if kid == 0 || kid > KID_BYTES_MOST {
        return Err(Failure::usage(
            format!("--kid has {kid} bytes; a key's name has 1 to {KID_BYTES_MOST}"),
            "give the key's `kid` as the gateway's JWKS has it",
        ));
    }
    for (flag, texts) in [("--subscribe", &job.subscribe), ("--publish", &job.publish)] {
        if texts.len() > PATTERNS_MOST {
            return Err(Failure::usage(
                format!(
                    "{} times {flag}, and {PATTERNS_MOST} is the most",
                    texts.len()
                ),
                "`orders.*` stands for one segment, `orders.**` for all below orders",
            ));
        }
        for text in texts {
            grants::check(text).map_err(|error| {
                Failure::usage(
                    format!("{flag} {text}: {error}"),
                    "`{sub}` as a whole segment stands for the subject, such as 'user.{sub}.**'",
                )
            })?;
        }
    }
    Ok(())
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Object {
    let mut header = Object::new();
    header.insert("alg".into(), algorithm.name().into());
    header.insert("typ".into(), "JWT".into());
    if let Some(kid) = kid {
        header.insert("kid".into(), kid.into());
    }
    header
}

fn claims(job: &Mint, now: f64) -> Result<Object, Failure> {
    let expires = seconds(job.expires, now);
    let not_before = job.not_before.map(|at| seconds(at, now));
    if expires <= now || timestamp(expires).is_none() {
        return Err(Failure::usage(
            "--expires is no moment to come",
            "give a time from now such as 15m, or a moment such as 2035-11-20T22:00:00Z",
        ));
    }
    if not_before.is_some_and(|at| at >= expires) {
        return Err(Failure::usage(
            "--not-before is not before --expires",
            "such a token never holds; let it expire later",
        ));
    }
    let id = job
        .id
        .clone()
        .unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()));
    let mut claims = Object::new();
    let mut insert = |name: &str, value: Value| claims.insert(name.into(), value);
    insert("sub", job.sub.clone().into());
    insert("iat", whole(now));
    insert("exp", whole(expires));
    insert("jti", id.into());
    if let Some(at) = not_before {
        insert("nbf", whole(at));
    }
    if let Some(issuer) = &job.issuer {
        insert("iss", issuer.clone().into());
    }
    match job.audience.as_slice() {
        [] => {}
        [one] => drop(insert("aud", one.clone().into())),
        several => drop(insert("aud", several.into())),
    }
    insert(
        "sluice",
        json!({"subscribe": job.subscribe, "publish": job.publish}),
    );
    Ok(claims)
}

/// Seconds since 1970, rounded down.
fn seconds(moment: Moment, now: f64) -> f64 {
    match moment {
        Moment::In(time) => (now + time.as_secs_f64()).floor(),
        Moment::At(time) => unix(time).floor(),
    }
}

/// A whole number in JSON, without a fraction.
fn whole(seconds: f64) -> Value {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    since.as_secs().into()
}

/// What is no mistake, and may surprise.
fn notes(job: &Mint, claims: &Object, now: f64) -> Vec<String> {
    let mut notes = Vec::new();
    if job.subscribe.is_empty() && job.publish.is_empty() {
        notes.push("the token allows nothing: give --subscribe or --publish".to_owned());
    }
    let expires = claims.get("exp").and_then(Value::as_f64);
    if expires.is_some_and(|at| at - now > LIFETIME_MOST) {
        notes.push(
            "it lasts longer than 24 h: gateways refuse it unless `max_lifetime` of [auth.jwt] is raised"
                .to_owned(),
        );
    }
    for action in [Action::Subscribe, Action::Publish] {
        let texts = grants::texts(claims, action).unwrap_or_default();
        for grant in grants::Grants::of(texts, &job.sub).iter() {
            if let Some(why) = grant.stands_for_none {
                notes.push(format!("`{}` stands for no channel: {why}", grant.pattern));
            }
        }
    }
    notes
}

//! Tokens signed as an issuer would, and the settings of nodes that take them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// The issuer's key.
pub const SECRET: &str = "s3cret-Canary-0123456789-of-the-tests";

/// Settings of a node that takes such tokens, to the second.
pub const SETTINGS: [(&str, &str); 3] = [
    ("AUTH__MODE", "jwt"),
    ("AUTH__JWT__SECRET", SECRET),
    ("AUTH__JWT__LEEWAY", "0s"),
];

/// [`SETTINGS`], besides others.
pub fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&SETTINGS[..], more].concat()
}

/// A signed token.
pub fn sign(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).expect("signed")
}

/// The claims of someone who reads and publishes on these channels for so many more seconds.
pub fn claims(subject: &str, subscribe: &[&str], publish: &[&str], left: u64) -> Value {
    json!({
        "sub": subject,
        "exp": now() + left,
        "sluice": { "subscribe": subscribe, "publish": publish },
    })
}

/// The token of someone who reads these channels, and publishes on `inbox`, for five minutes.
pub fn token(subject: &str, subscribe: &[&str]) -> String {
    sign(&claims(subject, subscribe, &["inbox"], 300), SECRET)
}

/// A token as the value of `Authorization`.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The value of `Authorization` for any claims.
pub fn bearer_of(claims: &Value) -> String {
    bearer(&sign(claims, SECRET))
}

/// The value of `Authorization` for a subject that may read and publish on these channels until the Unix second `exp`.
pub fn bearer_until(subject: &str, channels: &[&str], exp: u64) -> String {
    bearer_of(&json!({
        "sub": subject,
        "exp": exp,
        "sluice": { "subscribe": channels, "publish": channels },
    }))
}

/// The value of `Authorization` for a subject that may read and publish everything for five minutes.
pub fn bearer_for_all(subject: &str) -> String {
    bearer_of(&claims(subject, &["**"], &["**"], 300))
}

/// The Unix second that has begun.
pub fn now() -> u64 {
    since_1970().as_secs()
}

/// The Unix second that begins so many seconds from now, or a little later.
pub fn second_in(seconds: u64) -> u64 {
    now() + 1 + seconds
}

/// How long ago a Unix second was; nothing before it.
pub fn since(second: u64) -> Option<Duration> {
    since_1970().checked_sub(Duration::from_secs(second))
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
}

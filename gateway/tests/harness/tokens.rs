//! Tokens signed as an issuer would, and a node that takes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// The issuer's key.
const SECRET: &str = "a secret of thirty-two bytes or more";

/// Settings of a node that takes such tokens, to the second.
pub const SETTINGS: [(&str, &str); 3] = [
    ("AUTH__MODE", "jwt"),
    ("AUTH__JWT__SECRET", SECRET),
    ("AUTH__JWT__LEEWAY", "0s"),
];

/// The value of `Authorization` for any claims.
pub fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), claims, &key);
    format!("Bearer {}", token.expect("signed"))
}

/// The value of `Authorization` for a subject that may read and publish on these channels until the Unix second `exp`.
pub fn bearer(subject: &str, channels: &[&str], exp: u64) -> String {
    sign(&json!({
        "sub": subject,
        "exp": exp,
        "sluice": { "subscribe": channels, "publish": channels },
    }))
}

/// The Unix second that begins so many seconds from now, or a little later.
pub fn second_in(seconds: u64) -> u64 {
    since_1970().as_secs() + 1 + seconds
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

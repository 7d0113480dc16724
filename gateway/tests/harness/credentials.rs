//! Tokens for nodes with `auth.mode = "jwt"`.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// The secret that nodes with these [`settings`] verify with.
pub const SECRET: &str = "s3cret-Canary-0123456789-of-the-tests";

/// Settings of a node that asks for tokens, besides others.
pub fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("AUTH__MODE", "jwt"),
        ("AUTH__JWT__SECRET", SECRET),
        ("AUTH__JWT__LEEWAY", "0s"),
    ];
    [&own[..], more].concat()
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
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

/// As a header's value.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

//! Tokens as an issuer makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

const SECRET: &str = "a secret of thirty-two bytes or more";

/// Settings of a node that takes the tokens of [`bearer`].
pub const TAKES_TOKENS: [(&str, &str); 2] = [("AUTH__MODE", "jwt"), ("AUTH__JWT__SECRET", SECRET)];

/// The value of `Authorization` for a subject that may read and publish everything for a minute.
pub fn bearer(subject: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let claims = json!({
        "sub": subject,
        "exp": now.as_secs() + 60,
        "sluice": { "subscribe": ["**"], "publish": ["**"] },
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key);
    format!("Bearer {}", token.expect("signed"))
}

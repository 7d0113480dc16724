//! A token minted with the crate `jsonwebtoken`.
#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, not the gateway"
)]

// docs: begin
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;

fn token_for(user: &str) -> Result<String, Box<dyn std::error::Error>> {
    let now = get_current_timestamp();
    let claims = json!({
        "sub": user,
        "iat": now,
        "exp": now + 15 * 60,
        "jti": format!("{:032x}", rand::random::<u128>()),
        "sluice": { "subscribe": ["orders.*", "user.{sub}"] },
    });
    let secret = std::env::var("SLUICE_TOKEN_SECRET")?;
    // The default header says HS256.
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(encode(&Header::default(), &claims, &key)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let user = std::env::args().nth(1).ok_or("name a user")?;
    println!("{}", token_for(&user)?);
    Ok(())
}
// docs: end

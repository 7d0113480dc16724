//! Tokens. Input: the JSON of a header, the JSON of claims, and the signature in base64url; `EXP` in the claims stands for the
//! Unix time in an hour.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures_util::FutureExt as _;
use serde_json::Value;
use sluice_gateway::auth::{Authenticator, Grant};
use sluice_gateway::config::{Args, Config};

use crate::{parts, text};

const SECRET: &str = "a secret of thirty-two bytes, and a few more";
const OTHER: &str = "another secret of thirty-two bytes, or more";
/// `auth.jwt.leeway` as shipped.
const LEEWAY: Duration = Duration::from_secs(60);

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let settings = [
        ("SLUICE__AUTH__MODE", "jwt"),
        ("SLUICE__AUTH__JWT__SECRET", SECRET),
        ("SLUICE__REDIS__URL", "redis://127.0.0.1"),
    ];
    let config = Config::load(&Args::default(), settings).expect("sound settings");
    Authenticator::from_config(&config.auth).expect("a secret")
});

/// Nothing is accepted but what the secret has signed, with the one algorithm, a subject and a time that is not over; and not
/// after any change to it.
pub fn check(bytes: &[u8]) {
    let [header, claims, signature] = parts::<3>(bytes);
    let soon = now() + Duration::from_secs(3_600);
    let claims = text(claims).replace("EXP", &soon.as_secs().to_string());
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(&claims));
    // As it is: the fuzzer does not know the secret.
    let forged = format!("{message}.{}", text(signature));
    assert!(grant(&forged).is_none(), "a forged token was accepted");
    assert!(
        grant(&text(bytes)).is_none(),
        "no token at all was accepted"
    );
    assert!(
        grant(&signed(&message, OTHER)).is_none(),
        "another secret's token was accepted"
    );
    let token = signed(&message, SECRET);
    let Some(grant) = grant(&token) else {
        return;
    };
    let header: Value = serde_json::from_slice(header).expect("the header is JSON");
    assert_eq!(header["alg"], "HS256");
    let claims: Value = serde_json::from_str(&claims).expect("the claims are JSON");
    let subject = claims["sub"].as_str().expect("a subject");
    assert!((1..=256).contains(&subject.len()));
    assert_eq!(grant.holder.subject.as_deref(), Some(subject));
    let ends = grant.expires_at.expect("an end");
    assert!(
        ends > SystemTime::now() - Duration::from_secs(5),
        "it was over"
    );
    let exp = Duration::try_from_secs_f64(claims["exp"].as_f64().expect("a number"));
    // A time that no clock reaches is cut to one that it does.
    assert!(
        exp.is_err()
            || ends <= UNIX_EPOCH + exp.unwrap_or_default() + LEEWAY + Duration::from_secs(1)
    );
    changed(&token);
}

/// One character of each part changed to another.
fn changed(token: &str) {
    for at in [0, token.find('.').unwrap_or_default() + 1, token.len() - 10] {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(
            grant(&text(&bytes)).is_none(),
            "a changed token was accepted"
        );
    }
}

fn signed(message: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!(
        "{message}.{}",
        BASE64.encode(hmac::sign(&key, message.as_bytes()))
    )
}

/// What the token allows, if it is accepted.
fn grant(token: &str) -> Option<Grant> {
    let verified = AUTHENTICATOR.verify(token).now_or_never();
    verified.expect("a secret is at hand").ok()
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

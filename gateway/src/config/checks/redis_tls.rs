//! What must hold of TLS to Redis.

use super::Findings;
use crate::config::sections::RedisConfig;

pub(super) fn check(redis: &RedisConfig, found: &mut Findings) {
    let files = [
        ("redis.ca_file", &redis.ca_file),
        (
            "redis.client_certificate_file",
            &redis.client_certificate_file,
        ),
        ("redis.client_key_file", &redis.client_key_file),
    ];
    let has_tls = redis.url.as_ref().is_some_and(|url| url.has_tls());
    for (key, file) in files {
        if file.is_some() && !has_tls {
            found.refuse(key, "is only for a redis.url that begins with rediss://");
        }
    }
    let missing = match (&redis.client_certificate_file, &redis.client_key_file) {
        (Some(_), None) => "redis.client_key_file",
        (None, Some(_)) => "redis.client_certificate_file",
        (Some(_), Some(_)) | (None, None) => return,
    };
    found.refuse(
        missing,
        "must be set too: a client shows a certificate and proves it with its key",
    );
}

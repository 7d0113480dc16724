//! What must hold of `[auth]`: one source of keys, algorithms that fit it, an address that can be trusted.

use std::time::Duration;

use url::{Host, Url};

use super::{Findings, days, minutes, ms, secs};
use crate::config::kinds::Size;
use crate::config::sections::{AuthConfig, AuthMode, JwtAlgorithm, JwtConfig};

/// Most PEM files.
const FILES_MAX: usize = 16;

pub(super) fn check(auth: &AuthConfig, found: &mut Findings) {
    let jwt = &auth.jwt;
    ranges(jwt, found);
    let sources = sources(jwt);
    match auth.mode {
        AuthMode::Anonymous => unused(auth, &sources, found),
        AuthMode::Jwt => one_source(&sources, found),
    }
    if let Some(secret) = &jwt.secret {
        of_secret(secret.expose().len(), &jwt.algorithms, found);
    } else if !sources.is_empty() {
        of_public_keys(&jwt.algorithms, found);
    }
    if jwt.public_key_file.len() > FILES_MAX {
        found.refuse(
            "auth.jwt.public_key_file",
            format!("names more than {FILES_MAX} files; put more keys into an auth.jwt.jwks_file"),
        );
    }
    if let Some(Err(complaint)) = jwt.jwks_url.as_deref().map(address) {
        found.refuse("auth.jwt.jwks_url", complaint);
    }
}

fn ranges(jwt: &JwtConfig, found: &mut Findings) {
    found.within("auth.jwt.leeway", &jwt.leeway, Duration::ZERO, minutes(10));
    found.within(
        "auth.jwt.max_lifetime",
        &jwt.max_lifetime,
        minutes(1),
        days(365),
    );
    found.within("auth.jwt.jwks_refresh", &jwt.jwks_refresh, secs(1), days(1));
    found.within(
        "auth.jwt.jwks_timeout",
        &jwt.jwks_timeout,
        ms(100),
        minutes(1),
    );
    found.within(
        "auth.jwt.jwks_bytes",
        &jwt.jwks_bytes,
        Size::kib(1),
        Size::mib(4),
    );
}

/// The settings that name keys, files counted as one source.
fn sources(jwt: &JwtConfig) -> Vec<&'static str> {
    let files = if jwt.public_key_file.is_empty() {
        jwt.jwks_file.as_ref().map(|_| "auth.jwt.jwks_file")
    } else {
        Some("auth.jwt.public_key_file")
    };
    let secret = jwt.secret.as_ref().map(|_| "auth.jwt.secret");
    let url = jwt.jwks_url.as_ref().map(|_| "auth.jwt.jwks_url");
    [secret, files, url].into_iter().flatten().collect()
}

fn unused(auth: &AuthConfig, sources: &[&'static str], found: &mut Findings) {
    for key in sources {
        found.refuse(
            key,
            "is set, but auth.mode is anonymous, which lets everyone in; set auth.mode to jwt",
        );
    }
    if !auth.anonymous_subscribe.is_empty() {
        found.refuse(
            "auth.anonymous_subscribe",
            "is set, but auth.mode is anonymous, which lets everyone read everything; set auth.mode to jwt",
        );
    }
}

fn one_source(sources: &[&'static str], found: &mut Findings) {
    let Some((first, others)) = sources.split_first() else {
        found.refuse(
            "auth.jwt.secret",
            "must be set when auth.mode is jwt, or in its place auth.jwt.public_key_file, auth.jwt.jwks_file or auth.jwt.jwks_url",
        );
        return;
    };
    for key in others {
        found.refuse(
            key,
            format!("is set beside {first}; keys come from one source (auth.jwt.public_key_file and auth.jwt.jwks_file go together)"),
        );
    }
}

/// Bytes of the hash of an HMAC algorithm, which its key must not be shorter than (RFC 7518, section 3.2).
fn hash_bytes(algorithm: JwtAlgorithm) -> Option<usize> {
    match algorithm {
        JwtAlgorithm::Hs256 => Some(32),
        JwtAlgorithm::Hs384 => Some(48),
        JwtAlgorithm::Hs512 => Some(64),
        JwtAlgorithm::Rs256
        | JwtAlgorithm::Rs384
        | JwtAlgorithm::Rs512
        | JwtAlgorithm::Ps256
        | JwtAlgorithm::Ps384
        | JwtAlgorithm::Ps512
        | JwtAlgorithm::Es256
        | JwtAlgorithm::Es384
        | JwtAlgorithm::EdDsa => None,
    }
}

fn of_secret(bytes: usize, algorithms: &[JwtAlgorithm], found: &mut Findings) {
    let algorithm = match algorithms {
        [] => JwtAlgorithm::Hs256,
        [only] => *only,
        [_, _, ..] => {
            found.refuse(
                "auth.jwt.algorithms",
                "must name exactly one algorithm with auth.jwt.secret, because one key is used with one only",
            );
            return;
        }
    };
    let Some(least) = hash_bytes(algorithm) else {
        found.refuse(
            "auth.jwt.algorithms",
            format!("{algorithm} needs a public key; auth.jwt.secret is for HS256, HS384 or HS512"),
        );
        return;
    };
    if bytes < least {
        found.refuse(
            "auth.jwt.secret",
            format!(
                "is {bytes} bytes long; at least {least} are needed for {algorithm} (`openssl rand -hex {least}` makes one)"
            ),
        );
    }
}

fn of_public_keys(algorithms: &[JwtAlgorithm], found: &mut Findings) {
    let symmetric = algorithms.iter().find(|name| hash_bytes(**name).is_some());
    if let Some(name) = symmetric {
        found.refuse(
            "auth.jwt.algorithms",
            format!("{name} needs auth.jwt.secret; with it, whoever knows a public key could sign"),
        );
    }
}

/// Whether keys may come from there: over TLS, or from this machine.
fn address(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let local = match url.host() {
        None => false,
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    };
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => {
            return Err(
                "must begin with https://; http:// is for loopback addresses only, because whoever changes the answer on its way can sign tokens"
                    .to_owned(),
            );
        }
        _ => return Err("must begin with https://".to_owned()),
    }
    // Neither is sent to the issuer as one might think, and a password would be printed.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a part after `#`".to_owned());
    }
    Ok(())
}

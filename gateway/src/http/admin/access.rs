//! Who may give admin commands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use super::{Code, Problem};
use crate::config::Secret;

/// What is asked of whoever gives a command.
pub enum Access {
    /// The token, kept as its hash: so any two compare in the same time, whatever their length.
    Token(Digest),
    /// To be on this machine, and no browser.
    Loopback,
    /// Nobody may.
    Closed,
}

impl Access {
    /// As the settings and the listener's address have it.
    #[must_use]
    pub fn new(token: Option<&Secret>, bound: SocketAddr) -> Access {
        match token {
            Some(token) => Access::Token(hash(token.expose().as_bytes())),
            None if bound.ip().to_canonical().is_loopback() => Access::Loopback,
            None => Access::Closed,
        }
    }

    /// Whether the commands are offered at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Access::Token(_) | Access::Loopback => true,
            Access::Closed => false,
        }
    }

    /// Looks at a request before anything else is done about it.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Access::Token(wanted) => token(wanted, headers),
            Access::Loopback => no_browser(headers),
            Access::Closed => Err(Problem::new(Code::NotFound, "no admin commands here")),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Token(_) => "Access::Token",
            Access::Loopback => "Access::Loopback",
            Access::Closed => "Access::Closed",
        })
    }
}

fn hash(token: &[u8]) -> Digest {
    digest(&SHA256, token)
}

fn token(wanted: &Digest, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |code: Code, error: &str, detail: &str| {
        let challenge = format!("Bearer realm=\"sluice-admin\"{error}");
        Err(Problem::new(code, detail).challenge(challenge))
    };
    let mut values = headers.get_all(AUTHORIZATION);
    let Some(value) = values.next() else {
        let detail = "send the admin token: `Authorization: Bearer <admin.token>`";
        return refuse(Code::TokenMissing, "", detail);
    };
    let (scheme, given) = split(value.as_bytes());
    if values.next().is_some() || !scheme.eq_ignore_ascii_case(b"bearer") {
        let detail = "the Authorization header must be given once, as `Bearer <admin.token>`";
        return refuse(
            Code::BadAuthorization,
            ", error=\"invalid_request\"",
            detail,
        );
    }
    match verify_slices_are_equal(hash(given).as_ref(), wanted.as_ref()) {
        Ok(()) => Ok(()),
        Err(_) => refuse(
            Code::InvalidToken,
            ", error=\"invalid_token\"",
            "this is not the admin token",
        ),
    }
}

/// Scheme and credentials of an Authorization header.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
    (scheme, rest.trim_ascii())
}

/// Without a token, whatever runs on this machine may give commands, but for the pages in its browsers: those name
/// their origin, or, where their host's name was made to point here, that host.
fn no_browser(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(ORIGIN) {
        let detail = "without `admin.token`, no web page may give admin commands";
        return Err(Problem::new(Code::OriginNotAllowed, detail));
    }
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    if names_loopback(host) {
        return Ok(());
    }
    let detail = "without `admin.token`, ask by a loopback address, such as 127.0.0.1";
    Err(Problem::new(Code::Misdirected, detail).at("Host", host))
}

fn names_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "sixteen bytes or more";

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            let value = HeaderValue::from_str(value).expect("a value");
            headers.append(name.clone(), value);
        }
        headers
    }

    fn code(access: &Access, all: &[(HeaderName, &str)]) -> Option<Code> {
        let checked = access.check(&headers(all));
        checked.err().map(|problem| problem.code())
    }

    #[test]
    fn without_a_token_commands_are_offered_on_loopback_only() {
        let token: Secret = TOKEN.parse().expect("a secret");
        for (bound, open) in [
            ("127.0.0.1:9090", true),
            ("127.9.9.9:1", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("0.0.0.0:9090", false),
            ("[::]:9090", false),
            ("10.0.0.7:9090", false),
            ("192.168.1.1:9090", false),
        ] {
            let bound = bound.parse().expect("an address");
            assert_eq!(Access::new(None, bound).is_open(), open, "{bound}");
            let access = Access::new(Some(&token), bound);
            assert!(access.is_open());
            assert_eq!(code(&access, &[]), Some(Code::TokenMissing), "{bound}");
        }
    }

    #[rstest]
    #[case("Bearer sixteen bytes or more", None)]
    #[case("bearer   sixteen bytes or more ", None)]
    #[case("Bearer sixteen bytes or mor", Some(Code::InvalidToken))]
    #[case("Bearer sixteen bytes or more!", Some(Code::InvalidToken))]
    #[case("Bearer SIXTEEN BYTES OR MORE", Some(Code::InvalidToken))]
    #[case("Bearer ", Some(Code::InvalidToken))]
    #[case("Bearer", Some(Code::InvalidToken))]
    #[case("sixteen bytes or more", Some(Code::BadAuthorization))]
    #[case("Basic c2l4dGVlbg==", Some(Code::BadAuthorization))]
    fn only_the_token_opens(#[case] value: &str, #[case] wanted: Option<Code>) {
        let token: Secret = TOKEN.parse().expect("a secret");
        let access = Access::new(Some(&token), "0.0.0.0:1".parse().expect("an address"));
        assert_eq!(code(&access, &[(AUTHORIZATION, value)]), wanted);
        let twice = [(AUTHORIZATION, value), (AUTHORIZATION, value)];
        assert!(code(&access, &twice).is_some(), "given twice");
        assert!(!format!("{access:?}").contains("sixteen"));
    }

    #[rstest]
    #[case("127.0.0.1:9090", true)]
    #[case("127.0.0.1", true)]
    #[case("localhost", true)]
    #[case("LocalHost:9090", true)]
    #[case("[::1]:9090", true)]
    #[case("[::1]", true)]
    #[case("evil.example", false)]
    #[case("evil.example:9090", false)]
    #[case("localhost.evil.example", false)]
    #[case("127.0.0.1.evil.example", false)]
    #[case("10.0.0.1:9090", false)]
    #[case("", false)]
    fn a_page_of_another_host_is_no_operator(#[case] host: &str, #[case] allowed: bool) {
        let access = Access::new(None, "127.0.0.1:1".parse().expect("an address"));
        assert_eq!(code(&access, &[(HOST, host)]).is_none(), allowed);
        let page = [(HOST, host), (ORIGIN, "http://localhost:9090")];
        assert_eq!(code(&access, &page), Some(Code::OriginNotAllowed));
    }
}

//! What must hold of the session cookie and of tickets.

use std::time::Duration;

use super::Findings;
use crate::config::kinds::quote;
use crate::config::sections::{SessionConfig, TicketsConfig};

const NAME_MAX_BYTES: usize = 64;
const DOMAIN_MAX_BYTES: usize = 253;
/// What a browser keeps to one host (RFC 6265bis, section 4.1.3.2).
const HOST_PREFIX: &str = "__host-";

pub(super) fn session(session: &SessionConfig, found: &mut Findings) {
    let name = session.cookie.as_bytes();
    // A token as RFC 9110, section 5.6.2, has it: nothing that could end the name early.
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.iter().all(is_token) {
        found.refuse(
            "session.cookie",
            format!("must be a cookie's name: 1 to {NAME_MAX_BYTES} letters, digits or any of !#$%&'*+-.^_`|~"),
        );
    }
    let Some(domain) = &session.domain else {
        return;
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if domain.len() > DOMAIN_MAX_BYTES || !domain.split('.').all(is_label) {
        found.refuse(
            "session.domain",
            format!("{} is not a host name, such as example.com", quote(domain)),
        );
    }
    if session.cookie.to_ascii_lowercase().starts_with(HOST_PREFIX) {
        found.refuse(
            "session.domain",
            "is set, but browsers take no cookie with a domain whose name begins with __Host-; set session.cookie to another name, such as __Secure-sluice",
        );
    }
}

pub(super) fn tickets(tickets: &TicketsConfig, found: &mut Findings) {
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(60));
    found.within("tickets.ttl", &tickets.ttl, shortest, longest);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::config::{Args, Config, ConfigError};

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(path.path(), file).expect("written");
        let args = Args {
            dev: true,
            config: Some(path.path().to_owned()),
            ..Args::default()
        };
        Config::load(&args, environment.iter().copied())
    }

    #[rstest]
    #[case::cookie_name("SESSION__COOKIE", "a;b", "session.cookie", "a cookie's name")]
    #[case::no_cookie_name("SESSION__COOKIE", "", "session.cookie", "1 to 64")]
    #[case::same_site("SESSION__SAME_SITE", "Lax", "session.same_site", "strict, lax, none")]
    #[case::host("SESSION__DOMAIN", "a.example", "session.domain", "__Secure-sluice")]
    #[case::domain("SESSION__DOMAIN", "a.example;", "session.domain", "not a host name")]
    #[case::ticket_ttl("TICKETS__TTL", "61s", "tickets.ttl", "accepted: 1s to 1m")]
    #[case::switch("AUTH__QUERY_TOKEN", "yes", "auth.query_token", "true or false")]
    fn what_browsers_would_not_take_is_refused(
        #[case] name: &str,
        #[case] value: &str,
        #[case] key: &str,
        #[case] says: &str,
    ) {
        let name = format!("SLUICE__{name}");
        let told = load("", &[(&name, value)])
            .expect_err("refused")
            .to_string();
        assert!(told.contains(key) && told.contains(says), "{told}");
    }

    #[test]
    fn a_shared_cookie_has_another_name() {
        let environment = [
            ("SLUICE__SESSION__COOKIE", "__Secure-sluice"),
            ("SLUICE__SESSION__DOMAIN", "example.com"),
        ];
        let config = load("", &environment).expect("valid");
        assert_eq!(config.session.domain.as_deref(), Some("example.com"));
    }

    /// A switch is a truth value in a file and a word in the environment.
    #[test]
    fn a_switch_is_true_or_false() {
        assert!(!load("", &[]).expect("valid").auth.query_token);
        let environment = [("SLUICE__AUTH__QUERY_TOKEN", "true")];
        assert!(load("", &environment).expect("valid").auth.query_token);
        for text in ["true", "\"true\""] {
            let config = load(&format!("[auth]\nquery_token = {text}\n"), &[]);
            assert!(config.expect("valid").auth.query_token, "{text}");
        }
    }
}

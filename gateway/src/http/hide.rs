//! Keeps tokens out of what is told: a refusal quotes what a caller sent, and callers put tokens in wrong places.

use std::borrow::Cow;

/// What stands in for it.
const HIDDEN: &str = "[redacted]";
/// Characters of base64url in one piece from which on it may be a ticket or a signature; names and positions are shorter.
const RANDOM_LEAST: usize = 32;
/// Capitals in such a piece from which on it needs no digit.
const CAPITALS_LEAST: usize = 8;

/// The text without what looks like a token, a ticket or a cookie's value: a run of base64url and dots that has the
/// beginning of a JSON object in it (`eyJ`, as every JWT has), or a long piece of mixed letters and digits or capitals.
pub(super) fn tokens(text: &str) -> Cow<'_, str> {
    if !has_token(text) {
        return Cow::Borrowed(text);
    }
    // Each run with what ends it.
    let pieces = text.split_inclusive(ends_run).map(|piece| {
        let run = piece.trim_end_matches(ends_run);
        match (is_secret(run), piece.strip_prefix(run)) {
            (true, end) => format!("{HIDDEN}{}", end.unwrap_or_default()),
            (false, _) => piece.to_owned(),
        }
    });
    Cow::Owned(pieces.collect())
}

/// Whether there is something to hide.
pub(super) fn has_token(text: &str) -> bool {
    text.split(ends_run).any(is_secret)
}

fn ends_run(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// One in a thousand tickets has no digit; but as many capitals no name has that people write.
fn shouts(piece: &str) -> bool {
    piece.bytes().filter(u8::is_ascii_uppercase).count() >= CAPITALS_LEAST
}

fn is_secret(run: &str) -> bool {
    run.split('.').any(|piece| {
        let has = |kind: fn(&u8) -> bool| piece.as_bytes().iter().any(kind);
        let is_random = piece.len() >= RANDOM_LEAST
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && (has(u8::is_ascii_digit) || shouts(piece));
        is_random || piece.find("eyJ").is_some_and(|at| piece.len() >= at + 8)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TICKET: &str = "Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo";
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln";

    #[rstest]
    #[case::jwt(JWT)]
    #[case::half_a_jwt("eyJhbGciOi")]
    #[case::cookie(&format!("AAAAAAAAAAAAAAAAAAAAAA.{JWT}"))]
    #[case::ticket(TICKET)]
    #[case::ticket_without_a_digit("mWSPIPlIGsuFlw-oxxeqkYPrvztOZocUvf-aYBvRSNE")]
    #[case::in_a_name(&format!("user.{TICKET}.x"))]
    fn what_looks_like_a_token_is_hidden_wherever_it_stands(#[case] token: &str) {
        for (before, after) in [
            ("", ""),
            ("/v1/events/", "?x=1"),
            ("no field `", "`, no"),
            ("ä:", ";ö"),
        ] {
            let text = format!("{before}{token}{after}");
            assert_eq!(tokens(&text), format!("{before}[redacted]{after}"));
            assert!(has_token(&text));
        }
        assert_eq!(tokens(&format!("{token} {token}")), "[redacted] [redacted]");
    }

    #[rstest]
    #[case("")]
    #[case("orders.EU-1:x")]
    #[case("1763676000123-0.9f2c41aa")]
    #[case("6ba7b810-9dad-11d1-80b4-00c04fd430c8")]
    #[case("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8")]
    #[case("a name of Many1 words and SHOUTING 123456789012345678901234567890")]
    #[case("monkeyJ")]
    #[case("OrderShipmentNotificationCreatedEvent")]
    fn what_people_write_is_told(#[case] text: &str) {
        assert_eq!(tokens(text), text);
    }
}

//! `docs/wire-format.md` says what the code does.

use sluice_wire::{Cursor, Defaults, Keys, Refusal, event, publish};

const PAGE: &str = include_str!("../../docs/wire-format.md");

fn check(text: &str) {
    assert!(
        PAGE.contains(text),
        "docs/wire-format.md does not say {text:?}"
    );
}

#[test]
fn every_refusal_is_documented_and_no_other() {
    let codes = [
        Refusal::BadKeys(String::new()),
        Refusal::BadEventType,
        Refusal::BadEventId,
        Refusal::DataNotUtf8,
        Refusal::EventTooLarge(String::new()),
        Refusal::BadArgument(String::new()),
        Refusal::EventIdReused,
        Refusal::BadHead(String::new()),
        Refusal::BadStream,
    ]
    .map(|refusal| refusal.code());
    let (_, table) = PAGE
        .split_once("| code | reason |")
        .expect("the table of refusals");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let rows = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<&str> = rows.map(|(code, _)| code).collect();
    let mut known = codes.to_vec();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
    for code in codes {
        let refusal = Refusal::from_redis_error(&format!("SLUICE {code} text"));
        assert_eq!(
            refusal.map(|refusal| refusal.code()),
            Some(code),
            "the script's reply reads back"
        );
    }
}

#[test]
fn defaults_and_limits_are_the_documented_ones() {
    let defaults = Defaults::default();
    check(&format!(
        "| {} | 1 to {} |",
        defaults.maxlen,
        publish::MAX_MAXLEN
    ));
    check(&format!(
        "| {} | 1 to {} |",
        defaults.ttl.as_millis(),
        publish::MAX_TTL.as_millis()
    ));
    check(&format!(
        "| {} | 1 to {} |",
        defaults.idem_ttl.as_millis(),
        publish::MAX_TTL.as_millis()
    ));
    check(&format!(
        "lives {} days",
        defaults.head_ttl.as_secs() / 86_400
    ));
    check(&format!("{} bytes by default", defaults.event_bytes));
    check(&format!(
        "header has at most {} bytes",
        event::MAX_HEADER_BYTES
    ));
    check(&format!(
        "At most {} channels and {} characters",
        Cursor::MAX_CHANNELS,
        Cursor::MAX_TEXT_BYTES
    ));
    check(&format!("default prefix `{}`", Keys::DEFAULT_PREFIX));
    check(&format!("at most {} visible", Keys::MAX_PREFIX_BYTES));
}

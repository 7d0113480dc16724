//! The layers look one way: ARCHITECTURE.md, invariants 1, 2, 6 and 7.

use anyhow::Result;

use crate::{files, none};

/// Complains of each line of code under `folder` in which one of `words` stands, comments left out.
/// Files that end with one of `exceptions` may use them.
fn forbid(folder: &str, words: &[&str], exceptions: &[&str]) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for (name, text) in files()? {
        if !name.starts_with(folder)
            || !name.ends_with(".rs")
            || exceptions.iter().any(|path| name.starts_with(path))
        {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| stands_alone(code, word)) {
                complaints.push(format!(
                    "{name}:{}: {word} does not belong here",
                    number + 1
                ));
            }
        }
    }
    Ok(complaints)
}

/// Whether `word` occurs in `code`, and not as the end of a longer path or name.
fn stands_alone(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric())
    })
}

#[test]
fn wire_does_no_io() -> Result<()> {
    let io = [
        "std::net",
        "std::fs",
        "std::process",
        "std::env",
        "tokio",
        "async fn",
        "redis::",
    ];
    none(&forbid("wire/src/", &io, &[])?);
    Ok(())
}

/// `server` composes actix's servers and `main.rs` starts its runtime; the simulator has a Redis of its own.
#[test]
fn only_the_broker_speaks_to_redis_and_only_http_knows_actix() -> Result<()> {
    let actix = [
        "gateway/src/http/",
        "gateway/src/server/",
        "gateway/src/main.rs",
    ];
    let mut complaints = forbid(
        "gateway/src/",
        &[
            "actix_web",
            "actix_rt",
            "actix_http",
            "actix_server::",
            "actix_service::",
        ],
        &actix,
    )?;
    let redis = ["gateway/src/broker/", "gateway/src/simulator/"];
    complaints.extend(forbid(
        "gateway/src/",
        &["redis::", "deadpool_redis"],
        &redis,
    )?);
    none(&complaints);
    Ok(())
}

/// The core knows nothing of what carries it, waits for nothing, and is told the time.
#[test]
fn hub_and_connection_do_not_look_up() -> Result<()> {
    let outside = [
        "crate::http",
        "crate::server",
        "crate::config",
        "crate::broker",
        "crate::lifecycle",
    ];
    let io = [
        "tokio",
        "async",
        ".await",
        "Instant",
        "SystemTime",
        "Mutex",
        "std::thread",
        "rand::rng()",
    ];
    let mut complaints = Vec::new();
    for folder in ["gateway/src/hub/", "gateway/src/connection/"] {
        complaints.extend(forbid(folder, &outside, &[])?);
        complaints.extend(forbid(folder, &io, &[])?);
    }
    complaints.extend(forbid("gateway/src/hub/", &["crate::connection"], &[])?);
    complaints.extend(forbid(
        "gateway/src/broker/",
        &[
            "crate::http",
            "crate::connection",
            "crate::server",
            "crate::config",
        ],
        &[],
    )?);
    complaints.extend(forbid("gateway/src/http/", &["crate::server"], &[])?);
    none(&complaints);
    Ok(())
}

/// The check above can fail.
#[test]
fn a_forbidden_word_is_found_and_a_longer_name_is_not() {
    assert!(stands_alone("use redis::cmd;", "redis::"));
    assert!(stands_alone("fn f(c: &redis::Client)", "redis::"));
    assert!(!stands_alone(
        "use crate::broker::redis::Settings;",
        "redis::"
    ));
    assert!(!stands_alone("deadpool_redis::Pool", "redis::"));
}

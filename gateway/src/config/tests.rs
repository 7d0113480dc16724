//! The promises of the configuration: every problem names its key, layers win in order, nothing secret is shown.

use std::collections::BTreeSet;

use rstest::rstest;

use super::*;

const GOOD_SECRET: &str = "canary-0123456789-0123456789-0123456789";

fn load(dev: bool, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = Args {
        dev,
        ..Args::default()
    };
    Config::load(&args, environment.iter().copied())
}

fn problems(dev: bool, environment: &[(&str, &str)]) -> Vec<Problem> {
    match load(dev, environment).expect_err("must be refused") {
        ConfigError::Invalid(problems) => problems,
        other @ (ConfigError::File { .. } | ConfigError::Defect(_)) => {
            panic!("unexpected: {other}")
        }
    }
}

fn with_file(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("written");
    let args = Args {
        dev: true,
        config: Some(file.path().to_owned()),
        ..Args::default()
    };
    Config::load(&args, environment.iter().copied())
}

/// `--dev` alone starts; without it, what must be chosen is named, all at once.
#[test]
fn dev_starts_bare_and_production_names_what_is_missing() {
    let config = load(true, &[]).expect("--dev needs nothing");
    assert_eq!(config.auth.mode, AuthMode::Anonymous);
    assert_eq!(config.broker.mode, BrokerMode::Embedded);

    let keys: Vec<String> = problems(false, &[])
        .into_iter()
        .map(|problem| problem.key)
        .collect();
    assert_eq!(keys, ["auth.mode", "redis.url"]);
}

#[test]
fn dev_with_redis_uses_redis() {
    let config = load(true, &[("SLUICE__REDIS__URL", "redis://127.0.0.1:6379")]).expect("valid");
    assert_eq!(config.broker.mode, BrokerMode::Redis);
}

#[rstest]
#[case::misspelt(
    "SLUICE__HTTP__BNID",
    "x",
    "http.bnid",
    "did you mean `http.bind`? Accepted keys of [http]: "
)]
#[case::one_underscore(
    "SLUICE__REDIS_URL",
    "x",
    "redis_url",
    "did you mean `redis.url`? Accepted sections: "
)]
#[case::deep(
    "SLUICE__AUTH__JWT__SECRETT",
    "x",
    "auth.jwt.secrett",
    "did you mean `auth.jwt.secret`?"
)]
#[case::section("SLUICE__HTTP", "x", "http", "is a section")]
#[case::address(
    "SLUICE__HTTP__BIND",
    "localhost",
    "http.bind",
    "invalid socket address"
)]
#[case::number(
    "SLUICE__LIMITS__RING_EVENTS",
    "many",
    "limits.ring_events",
    "whole number"
)]
#[case::negative("SLUICE__LIMITS__RING_EVENTS", "-1", "limits.ring_events", "")]
#[case::range(
    "SLUICE__LIMITS__CHANNELS_PER_CONNECTION",
    "33",
    "limits.channels_per_connection",
    "accepted: 1 to 32"
)]
#[case::unit("SLUICE__STREAM__HEARTBEAT", "15", "stream.heartbeat", "time unit")]
#[case::short_heartbeat(
    "SLUICE__STREAM__HEARTBEAT",
    "1ms",
    "stream.heartbeat",
    "accepted: 100ms to 5m"
)]
#[case::size("SLUICE__LIMITS__EVENT_BYTES", "big", "limits.event_bytes", "64KiB")]
#[case::choice("SLUICE__LOG__FORMAT", "xml", "log.format", "human, json")]
#[case::filter("SLUICE__LOG__FILTER", "=====", "log.filter", "filter directives")]
#[case::mode("SLUICE__AUTH__MODE", "open", "auth.mode", "anonymous, jwt")]
#[case::sentinel(
    "SLUICE__REDIS__MODE",
    "sentinel",
    "redis.mode",
    "not available yet in this version"
)]
#[case::cluster(
    "SLUICE__REDIS__MODE",
    "cluster",
    "redis.mode",
    "not available yet in this version"
)]
#[case::master(
    "SLUICE__REDIS__SENTINEL_MASTER",
    "m",
    "redis.sentinel_master",
    "only for redis.mode sentinel"
)]
#[case::insecure(
    "SLUICE__REDIS__URL",
    "rediss://h/#insecure",
    "redis.url",
    "always verified"
)]
#[case::ca_without_tls("SLUICE__REDIS__CA_FILE", "ca.pem", "redis.ca_file", "rediss://")]
#[case::scheme("SLUICE__REDIS__URL", "http://h", "redis.url", "redis://")]
#[case::db("SLUICE__REDIS__URL", "redis://h/zero", "redis.url", "database number")]
#[case::nodes(
    "SLUICE__REDIS__URL",
    "redis://a:1,redis://b:2",
    "redis.url",
    "several nodes"
)]
#[case::blank_in_name("SLUICE__NODE__NAME", "a b", "node.name", "1 to 128 visible")]
#[case::long_name("SLUICE__NODE__NAME", &"n".repeat(129), "node.name", "1 to 128 visible")]
#[case::braces("SLUICE__REDIS__PREFIX", "{x}:", "redis.prefix", "without braces")]
#[case::empty_prefix("SLUICE__REDIS__PREFIX", "", "redis.prefix", "1 to 64")]
#[case::no_secret("SLUICE__AUTH__MODE", "jwt", "auth.jwt.secret", "must be set")]
#[case::algorithm(
    "SLUICE__AUTH__JWT__ALGORITHMS",
    "none",
    "auth.jwt.algorithms",
    "HS256, HS384, HS512"
)]
#[case::unused_secret(
    "SLUICE__AUTH__JWT__SECRET",
    GOOD_SECRET,
    "auth.jwt.secret",
    "auth.mode is anonymous"
)]
#[case::star_origin(
    "SLUICE__HTTP__CORS_ORIGINS",
    "*",
    "http.cors_origins",
    "not an origin"
)]
#[case::slash_origin(
    "SLUICE__HTTP__CORS_ORIGINS",
    "https://a.example/",
    "http.cors_origins",
    "trailing slash"
)]
#[case::default_port(
    "SLUICE__HTTP__CORS_ORIGINS",
    "https://a.example:443",
    "http.cors_origins",
    "default port"
)]
#[case::ring(
    "SLUICE__LIMITS__EVENT_BYTES",
    "8MiB",
    "limits.ring_bytes",
    "below limits.event_bytes (8MiB)"
)]
#[case::max_age(
    "SLUICE__STREAM__MAX_AGE",
    "2s",
    "stream.max_age",
    "below stream.heartbeat (15s)"
)]
#[case::head_ttl(
    "SLUICE__HISTORY__TTL",
    "31d",
    "history.head_ttl",
    "below history.ttl (31d)"
)]
#[case::page(
    "SLUICE__LIMITS__BACKFILL_EVENTS",
    "10",
    "limits.backfill_events",
    "below limits.backfill_page"
)]
#[case::backoff(
    "SLUICE__REDIS__BACKOFF_MIN",
    "3s",
    "redis.backoff_max",
    "below redis.backoff_min"
)]
#[case::probe(
    "SLUICE__REDIS__PROBE_INTERVAL",
    "3s",
    "redis.probe_interval",
    "not below redis.probe_timeout (3s)"
)]
#[case::lead(
    "SLUICE__DRAIN__READINESS_LEAD",
    "30s",
    "drain.readiness_lead",
    "not below drain.deadline (30s)"
)]
#[case::admin_token(
    "SLUICE__ADMIN__TOKEN",
    "short",
    "admin.token",
    "shorter than 16 bytes"
)]
#[case::grace(
    "SLUICE__HEALTH__REDIS_GRACE",
    "sometimes",
    "health.redis_grace",
    "or off"
)]
fn every_problem_names_its_key(
    #[case] name: &str,
    #[case] value: &str,
    #[case] key: &str,
    #[case] says: &str,
) {
    let found = problems(true, &[(name, value)]);
    let problem = found.iter().find(|problem| problem.key == key);
    let problem = problem.unwrap_or_else(|| panic!("{key} is not named in {found:?}"));
    assert!(problem.complaint.contains(says), "{problem}");
    let printed = problem.to_string();
    assert!(
        printed.contains(key) && printed.contains(&problem.variable()),
        "{printed}"
    );
}

/// One start tells every problem: of the environment and the file, of keys, kinds, ranges and cross-checks.
#[test]
fn all_problems_are_told_at_once() {
    let text = "[stream]\nhaertbeat = \"1s\"\nretry = true\n[drain]\ndeadline = \"never\"\n";
    let error = with_file(
        text,
        &[
            ("SLUICE__HTTP__BIND", "nowhere"),
            ("SLUICE__HTTP__WORKERS", "9999"),
        ],
    );
    let printed = error.expect_err("refused").to_string();
    for key in [
        "stream.haertbeat",
        "stream.retry",
        "drain.deadline",
        "http.bind",
        "http.workers",
    ] {
        assert!(
            printed.contains(&format!("  {key} (")),
            "{key} is missing in: {printed}"
        );
    }
    assert!(printed.starts_with("5 problems"), "{printed}");
}

#[test]
fn environment_wins_over_file_and_file_over_defaults() {
    let text =
        "[http]\nworkers = 3\nbody_bytes = 2097152\ncors_origins = [\"https://file.example\"]\n";
    let environment = [
        ("SLUICE__HTTP__WORKERS", "5"),
        (
            "SLUICE__HTTP__CORS_ORIGINS",
            "https://a.example, https://b.example",
        ),
        ("SLUICE_UNRELATED", "x"),
    ];
    let from_file = with_file(text, &[]).expect("valid");
    assert_eq!(from_file.http.workers, 3);
    assert_eq!(from_file.http.body_bytes, Size::mib(2));
    assert_eq!(from_file.stream.heartbeat.as_secs(), 15);
    let both = with_file(text, &environment).expect("valid");
    assert_eq!(both.http.workers, 5);
    assert_eq!(
        both.http.cors_origins,
        ["https://a.example", "https://b.example"]
    );
}

/// What `--dev` implies is a default: an explicit choice wins over it.
#[test]
fn explicit_settings_win_over_dev() {
    let environment = [
        ("SLUICE__AUTH__MODE", "jwt"),
        ("SLUICE__AUTH__JWT__SECRET", GOOD_SECRET),
    ];
    assert_eq!(
        load(true, &environment).expect("valid").auth.mode,
        AuthMode::Jwt
    );
    let found = problems(true, &[("SLUICE__BROKER__MODE", "redis")]);
    assert_eq!(found[0].key, "redis.url");
}

#[test]
fn empty_text_means_not_set() {
    let environment = [
        ("SLUICE__REDIS__URL", ""),
        ("SLUICE__AUTH__JWT__SECRET", ""),
    ];
    let config = load(true, &environment).expect("valid");
    assert_eq!(config.broker.mode, BrokerMode::Embedded);
    assert!(config.auth.jwt.secret.is_none());
}

/// No secret is printed by `--print-config`, by `Debug`, or by an error.
#[test]
fn secrets_are_redacted_everywhere() {
    let environment = [
        ("SLUICE__AUTH__MODE", "jwt"),
        ("SLUICE__AUTH__JWT__SECRET", GOOD_SECRET),
        ("SLUICE__ADMIN__TOKEN", GOOD_SECRET),
        (
            "SLUICE__REDIS__URL",
            "redis://user:canary-p@ss@redis.example:6379/1",
        ),
    ];
    let config = load(false, &environment).expect("valid");
    assert_eq!(
        config.redis.url.as_ref().expect("set").expose(),
        environment[3].1
    );
    let printed = config.to_toml().expect("serialises");
    assert!(
        printed.contains("redis://[redacted]@redis.example:6379/1"),
        "{printed}"
    );
    for text in [printed, format!("{config:?}")] {
        // `[canary]` is a section.
        assert!(!text.contains("canary-"), "{text}");
    }
}

#[rstest]
#[case::in_redis_url("[redis]\nurl = \"redis//canary@h\"\n")]
#[case::short("[auth.jwt]\nsecret = \"canary\"\n")]
#[case::wrong_kind("[auth.jwt]\nsecret = [\"canary\"]\n")]
#[case::broken_line("[auth.jwt]\nsecret = \"canary\n")]
#[case::wrong_section("[limits]\nring_events = \"canary\"\n")]
#[case::as_choice("[auth]\nmode = \"canary-0123456789\"\n")]
#[case::as_algorithm("[auth.jwt]\nalgorithms = [\"canary-0123456789\"]\n")]
#[case::as_duration("[tickets]\nttl = \"canary-0123456789\"\n")]
#[case::as_size("[limits]\nevent_bytes = \"canary-0123456789\"\n")]
#[case::as_filter("[log]\nfilter = \"canary=0123456789\"\n")]
#[case::as_address("[http]\nbind = \"canary-0123456789\"\n")]
fn errors_do_not_repeat_secrets(#[case] text: &str) {
    let printed = with_file(text, &[]).expect_err("refused").to_string();
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn a_broken_file_names_line_and_column() {
    let printed = with_file("[http]\nbind = \n", &[])
        .expect_err("refused")
        .to_string();
    assert!(printed.contains("line 2, column"), "{printed}");
    let args = Args {
        config: Some("absent.toml".into()),
        ..Args::default()
    };
    let none: [(&str, &str); 0] = [];
    let printed = Config::load(&args, none).expect_err("refused").to_string();
    assert!(printed.contains("absent.toml"), "{printed}");
}

/// What is printed loads again to the same, when nothing is secret.
#[test]
fn printed_settings_load_again() {
    let first = load(true, &[("SLUICE__HEALTH__REDIS_GRACE", "90s")])
        .expect("valid")
        .to_toml()
        .expect("serialises");
    assert!(
        first.contains("redis_grace = \"90s\"") && first.contains("event_bytes = \"64KiB\""),
        "{first}"
    );
    let second = with_file(&first, &[])
        .expect("valid")
        .to_toml()
        .expect("serialises");
    assert_eq!(first, second);
}

/// The reference and the structs have the same keys, and each key is explained right above it, with the range
/// that the code checks.
#[test]
fn the_reference_is_complete_and_says_the_ranges() {
    let config = load(true, &[("SLUICE__HEALTH__REDIS_GRACE", "1m")]).expect("valid");
    let reference = Reference::parse().expect("parses");
    let printed: toml::Table = config.to_toml().expect("serialises").parse().expect("TOML");
    let fields: BTreeSet<String> = leaves("", &printed);
    assert_eq!(
        fields,
        reference.keys().keys().cloned().collect::<BTreeSet<_>>()
    );

    let comments = comments();
    for key in &fields {
        let comment = comments
            .get(key)
            .unwrap_or_else(|| panic!("{key} has no comment"));
        assert!(comment.len() > 10, "{key} is not explained: {comment}");
    }
    let ranges = checks::check(&config).ranges;
    for (key, range) in &ranges {
        let comment = &comments[*key];
        assert!(
            comment.contains(&format!(" {range}")),
            "{key} is checked for {range}, but documented as: {comment}"
        );
    }
    let checked: BTreeSet<&str> = ranges.iter().map(|(key, _)| *key).collect();
    for (key, comment) in &comments {
        let accepted = comment
            .split_once("Accepted: ")
            .map_or("", |(_, rest)| rest);
        let promises = accepted.contains(" to ");
        assert_eq!(
            promises,
            checked.contains(key.as_str()),
            "range of {key}: {comment}"
        );
    }
}

fn leaves(section: &str, table: &toml::Table) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (name, value) in table {
        let key = if section.is_empty() {
            name.clone()
        } else {
            format!("{section}.{name}")
        };
        match value.as_table() {
            Some(inner) => out.extend(leaves(&key, inner)),
            None => {
                out.insert(key);
            }
        }
    }
    out
}

fn comments() -> std::collections::BTreeMap<String, String> {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut out = std::collections::BTreeMap::new();
    for line in REFERENCE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some((name, _)) = line.split_once(" = ") {
            out.insert(format!("{section}.{name}"), std::mem::take(&mut comment));
        }
    }
    out
}

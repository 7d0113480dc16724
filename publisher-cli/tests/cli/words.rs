//! What `sluice` says: help, usage errors, and servers that are away. Exit codes with each.

use std::time::Duration;

use crate::support::{
    BlackHole, NOBODY, Ran, Redis, Responder, reply, run, run_with_input, sluice,
};

/// A server that is away must be told of within this time.
const AWAY: Duration = Duration::from_secs(5);

fn help(arguments: &[&str]) -> String {
    let ran = run(sluice(arguments));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    ran.stdout
}

#[test]
fn help_is_as_agreed() {
    insta::assert_snapshot!("help", help(&["--help"]));
    insta::assert_snapshot!("help_publish", help(&["publish", "--help"]));
    insta::assert_snapshot!("help_tail", help(&["tail", "--help"]));
    insta::assert_snapshot!("help_demo", help(&["demo", "--help"]));
    insta::assert_snapshot!("help_history", help(&["history", "--help"]));
    insta::assert_snapshot!("help_channels", help(&["channels", "--help"]));
    insta::assert_snapshot!(
        "help_install_function",
        help(&["install-function", "--help"])
    );
    insta::assert_snapshot!("help_completions", help(&["completions", "--help"]));
    insta::assert_snapshot!("help_man", help(&["man", "--help"]));
}

/// Command lines that cannot be acted on; `REDIS` stands for an address where nobody is.
const MISUSE: &[&str] = &[
    "publish orders x",
    "publish orders x REDIS --gateway http://127.0.0.1:1",
    "publish orders x --redis 127.0.0.1:6379",
    "publish orders x --redis rediss://:secret@127.0.0.1:6379/#insecure",
    "publish orders x --gateway ftp://127.0.0.1",
    "publish orders REDIS",
    "publish REDIS",
    "publish a..b x REDIS",
    "publish orders x --ndjson REDIS",
    "publish orders x --event sluice.open REDIS",
    "publish orders x --rate fast REDIS",
    "publish orders --ndjson --id 1 REDIS",
    "tail a/b REDIS",
    "tail orders --from yesterday REDIS",
    "tail orders --since yesterday REDIS",
    "tail orders --last 1 --since 5m REDIS",
    "tail orders --count 0 REDIS",
    "tail a b --from 0-0.00000000 REDIS",
    "history orders",
    "history a/b REDIS",
    "history orders --limit 0 REDIS",
    "history orders --last 1 --from 0-0.00000000 REDIS",
    "history orders --from 1~ REDIS",
    "channels",
    "channels --gateway http://127.0.0.1:1",
    "channels orders.x* REDIS",
    "install-function --print --json",
    "completions tcsh",
    "man publishing",
    "histroy orders",
];

/// Every kind of misuse, each with what to do about it.
#[test]
fn misuse_is_exit_2_with_a_hint() {
    let mut told = String::new();
    for line in MISUSE {
        let line = line.replace("REDIS", "--redis redis://127.0.0.1:1");
        let ran = run(sluice(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line}: {ran:?}");
        told += &format!("$ sluice {line}\n{}\n", ran.stderr);
    }
    insta::assert_snapshot!("misuse", told);
}

fn assert_away(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 4, "{what}: {ran:?}");
    assert!(ran.took < AWAY, "{what}: {:?}", ran.took);
    let is_told = ran.stderr.lines().any(|line| line.starts_with("error: "));
    assert!(is_told, "{what}: {}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: "), "{what}: {}", ran.stderr);
}

/// Nothing listens, or something listens and never answers: exit 4 and a hint within five seconds.
#[test]
fn a_server_that_is_away_is_exit_4_within_five_seconds() {
    let hole = BlackHole::new();
    let commands: &[&[&str]] = &[
        &["publish", "orders", "x"],
        &["publish", "orders", "x", "--id", "1"],
        &["publish", "orders", "--ndjson"],
        &["tail", "orders"],
        &["history", "orders"],
        &["channels"],
        &["install-function"],
    ];
    std::thread::scope(|scope| {
        for address in [hole.address(), NOBODY.to_owned()] {
            for command in commands {
                for link in ["redis", "gateway"] {
                    if ["install-function", "channels"].contains(&command[0]) && link == "gateway" {
                        continue;
                    }
                    let scheme = if link == "redis" { "redis" } else { "http" };
                    let mut line = sluice(command);
                    line.args([format!("--{link}"), format!("{scheme}://{address}")]);
                    let what = format!("{command:?} {link} {address}");
                    scope.spawn(move || {
                        assert_away(&run_with_input(line, Some(b"{\"data\":1}\n")), &what)
                    });
                }
            }
        }
    });
}

/// Something that answers is not away: exit 1 at once, and the hint guesses what it may be.
#[test]
fn a_server_that_is_not_redis_is_called_so() {
    let commands: &[&[&str]] = &[
        &["publish", "orders", "x"],
        &["publish", "orders", "x", "--id", "1"],
        &["tail", "orders"],
        &["history", "orders"],
        &["channels"],
        &["install-function"],
    ];
    for command in commands {
        let gateway = Responder::new(vec![reply("400 Bad Request", "text/plain", "no")]);
        let mut line = sluice(command);
        line.args(["--redis", &gateway.url.replace("http:", "redis:")]);
        let ran = run(line);
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.stderr);
        assert!(
            ran.stderr
                .contains("is not Redis\nhint: is that the gateway's address?"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("Parse"), "{}", ran.stderr);
    }
}

/// The hint says what cannot be known, and how to make it knowable.
#[test]
fn an_event_whose_reply_is_lost_is_not_sent_twice() {
    let hole = BlackHole::new();
    let gateway = format!("http://{}", hole.address());
    let ran = run(sluice(&[
        "publish",
        "orders",
        "x",
        "--gateway",
        &gateway,
        "--timeout",
        "300ms",
    ]));
    assert_eq!(ran.code, 4);
    let told = ran.stderr.replace(&hole.address(), "ADDRESS");
    insta::assert_snapshot!(told, @r#"
    error: the gateway at ADDRESS took the event but its reply was lost (no answer within 300ms): it may or may not be published
    hint: give each event an id (--id, or "event_id" in NDJSON): a repeat is then safe and is done for you
    "#);
}

#[test]
fn a_wrong_password_is_named_and_never_shown() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    for url in [
        redis.url(),
        redis.url().replace("redis://", "redis://:wr0ng@"),
    ] {
        let ran = run(sluice(&["publish", "orders", "x", "--redis", &url]));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.stderr
                .contains("hint: put user and password into the URL"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("wr0ng"), "{}", ran.stderr);
    }
}

/// With --json a failure is one object on standard error, and the exit code is what it is without.
#[test]
fn with_json_failures_are_objects() {
    let gateway = Responder::new(vec![reply(
        "403 Forbidden",
        "application/problem+json",
        "{\"code\":\"insufficient_scope\",\"detail\":\"not this channel\"}",
    )]);
    let redis = format!("redis://{NOBODY}");
    let url = gateway.url.clone();
    let cases: &[(i32, &[&str])] = &[
        (1, &["publish", "orders", "x", "--gateway", &url]),
        (4, &["history", "orders", "--redis", &redis]),
        (4, &["channels", "--redis", &redis]),
        (4, &["install-function", "--redis", &redis]),
        (2, &["history", "orders"]),
        (2, &["tail", "orders", "--since", "yesterday"]),
        (2, &["publish"]),
        (2, &["histroy"]),
    ];
    let mut told = String::new();
    for (code, arguments) in cases {
        let ran = run(sluice(&[*arguments, &["--json"]].concat()));
        assert_eq!((ran.code, ran.stdout.as_str()), (*code, ""), "{ran:?}");
        let object: serde_json::Value = serde_json::from_str(&ran.stderr).expect("one object");
        assert!(object["error"]["code"].is_string(), "{object}");
        told += &ran.stderr;
    }
    insta::assert_snapshot!(
        "failures_in_json",
        told.replace(&url["http://".len()..], "ADDRESS")
    );

    // What comes after `--` is data.
    let ran = run(sluice(&[
        "publish", "orders", "--redis", &redis, "--", "--json",
    ]));
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

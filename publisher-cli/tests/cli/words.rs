//! What `sluice` says: help, usage errors, and servers that are away. Exit codes with each.

use std::time::Duration;

use crate::support::{
    BlackHole, Ran, Redis, Responder, free_port, reply, run, run_with_input, sluice,
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
    insta::assert_snapshot!(
        "help_install_function",
        help(&["install-function", "--help"])
    );
}

/// Every kind of misuse, each with what to do about it.
#[test]
fn misuse_is_exit_2_with_a_hint() {
    let redis = ["--redis", "redis://127.0.0.1:1"];
    let cases: &[&[&str]] = &[
        &["publish", "orders", "x"],
        &[
            "publish",
            "orders",
            "x",
            "--redis",
            "redis://127.0.0.1:1",
            "--gateway",
            "http://127.0.0.1:1",
        ],
        &["publish", "orders", "x", "--redis", "127.0.0.1:6379"],
        &[
            "publish",
            "orders",
            "x",
            "--redis",
            "rediss://:secret@127.0.0.1:6379",
        ],
        &["publish", "orders", "x", "--gateway", "ftp://127.0.0.1"],
        &["publish", "orders", redis[0], redis[1]],
        &["publish", redis[0], redis[1]],
        &["publish", "a..b", "x", redis[0], redis[1]],
        &["publish", "orders", "x", "--ndjson", redis[0], redis[1]],
        &[
            "publish",
            "orders",
            "x",
            "--event",
            "sluice.open",
            redis[0],
            redis[1],
        ],
        &[
            "publish", "orders", "x", "--rate", "fast", redis[0], redis[1],
        ],
        &[
            "publish", "orders", "--ndjson", "--id", "1", redis[0], redis[1],
        ],
        &["tail", "a/b", redis[0], redis[1]],
        &["tail", "orders", "--from", "yesterday", redis[0], redis[1]],
        &[
            "tail", "orders", "--last", "1", "--since", "5m", redis[0], redis[1],
        ],
        &[
            "tail",
            "a",
            "b",
            "--from",
            "0-0.00000000",
            redis[0],
            redis[1],
        ],
        &["history", "orders"],
    ];
    let mut told = String::new();
    for arguments in cases {
        let ran = run(sluice(arguments));
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {ran:?}"
        );
        told += &format!("$ sluice {}\n{}\n", arguments.join(" "), ran.stderr);
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
    let nobody = format!("127.0.0.1:{}", free_port());
    let commands: &[&[&str]] = &[
        &["publish", "orders", "x"],
        &["publish", "orders", "x", "--id", "1"],
        &["publish", "orders", "--ndjson"],
        &["tail", "orders"],
        &["install-function"],
    ];
    std::thread::scope(|scope| {
        for address in [hole.address(), nobody] {
            for command in commands {
                for link in ["redis", "gateway"] {
                    if (command[0], link) == ("install-function", "gateway") {
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
    hint: give each event an id (--id, or "id" in NDJSON): a repeat is then safe and is done for you
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

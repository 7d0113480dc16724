//! What is different on a terminal. The terminal is that of `script`, of util-linux.

use std::process::Command;

use crate::support::{DEADLINE, Ran, Redis, run};

/// Runs a line of the shell on a terminal and gives what the terminal showed; `None` where there is no `script`.
fn on_terminal(line: &str) -> Option<Ran> {
    let folder = tempfile::tempdir().unwrap();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    script.current_dir(folder.path());
    script.env("TERM", "xterm");
    if Command::new("script").arg("--version").output().is_err() {
        println!("there is no script(1) here: nothing was shown");
        return None;
    }
    let ran = run(script);
    assert!(ran.took < DEADLINE, "{ran:?}");
    Some(ran)
}

/// The count of a batch is drawn on the terminal and taken away again; standard output has nothing but positions.
#[test]
fn progress_is_for_the_terminal_and_leaves_standard_output_clean() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("positions");
    let line = format!(
        "for n in 1 2 3 4 5 6 7 8; do echo '{{\"data\":1}}'; sleep 0.1; done | {} publish orders --ndjson --redis {} >{}",
        env!("CARGO_BIN_EXE_sluice"),
        redis.url(),
        out.display(),
    );
    let Some(shown) = on_terminal(&line) else {
        return;
    };
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains(" published, "), "{:?}", shown.stdout);
    assert!(shown.stdout.contains('\u{1b}'), "{:?}", shown.stdout);
    let positions = std::fs::read_to_string(&out).unwrap();
    let ids: Vec<_> = redis
        .stream("orders")
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let printed: Vec<_> = positions
        .lines()
        .map(|line| line.split('.').next().unwrap())
        .collect();
    assert_eq!(printed, ids);
    assert_eq!(ids.len(), 8);
    assert!(!positions.contains('\u{1b}'), "{positions:?}");
}

#[test]
fn channels_are_a_table_on_a_terminal() {
    let redis = Redis::start();
    let _: i64 = redis.command(&["ZADD", "sluice:{_ctl}:reports", "9999999999999", "n1"]);
    let report = "{\"channels\":{\"orders.europe\":12,\"a\":3}}";
    let () = redis.command(&["SET", "sluice:{_ctl}:report:n1", report]);
    let line = format!(
        "{} channels --redis {}",
        env!("CARGO_BIN_EXE_sluice"),
        redis.url()
    );
    let Some(shown) = on_terminal(&line) else {
        return;
    };
    assert_eq!(
        shown.stdout.replace('\r', ""),
        "CHANNEL        SUBSCRIBERS  NODES\norders.europe           12      1\na                        3      1\n"
    );
}

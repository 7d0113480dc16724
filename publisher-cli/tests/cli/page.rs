//! The page of the command line, `docs/cli.md`: each of its examples, run in turn on one Redis, shows what it says.

use std::process::Command;

use crate::support::{Redis, run, sluice};

const PAGE: &str = include_str!("../../../docs/cli.md");

/// The lines of the page's `console` blocks.
fn examples() -> Vec<&'static str> {
    PAGE.split("```console\n")
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap().lines())
        .collect()
}

/// A text without what differs from run to run: positions, cursors of several channels, the server's address, tokens, times.
fn settled(text: &str, address: &str) -> String {
    let is_position = |word: &str| word.parse::<sluice_wire::Position>().is_ok();
    let mut settled = String::new();
    let is_time = |word: &str| word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
    let text = text.replace(address, "127.0.0.1:6379");
    for word in text.split_inclusive(['"', '\t', '\n', ' ', ',']) {
        let bare = word.trim_end_matches(['"', '\t', '\n', ' ', ',']);
        let shown = if is_position(bare) {
            "POSITION"
        } else if bare.starts_with("1~") {
            "CURSOR"
        } else if bare.starts_with("eyJ") {
            "TOKEN"
        } else if is_time(bare) {
            "TIME"
        } else {
            bare
        };
        settled.push_str(shown);
        settled.push_str(&word[bare.len()..]);
    }
    settled
}

#[test]
fn each_example_shows_what_it_says() {
    let redis = Redis::start();
    let reports = [
        ("gateway-1:4711", "{\"channels\":{\"orders\":5}}"),
        (
            "gateway-2:4711",
            "{\"channels\":{\"orders\":7,\"user.42\":1}}",
        ),
    ];
    for (node, report) in reports {
        let _: i64 = redis.command(&["ZADD", "sluice:{_ctl}:reports", "9999999999999", node]);
        let key = format!("sluice:{{_ctl}}:report:{}", node.replace(':', "%3A"));
        let () = redis.command(&["SET", &key, report]);
    }
    let address = redis.url().replace("redis://", "");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_sluice"))
        .parent()
        .unwrap();
    let (mut said, mut shown) = (String::new(), String::new());
    let mut commands = 0;
    for line in examples() {
        said.push_str(line);
        said.push('\n');
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {command}")]);
        shell.env("SLUICE_REDIS_URL", redis.url());
        shell.env("SLUICE_TOKEN_SECRET", crate::token::SECRET);
        shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        let ran = run(shell);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        shown += &format!("{line}\n{}", ran.stdout);
        commands += 1;
    }
    assert!(commands >= 12, "{commands}");
    assert_eq!(settled(&said, &address), settled(&shown, &address));
}

/// No command without a section.
#[test]
fn every_command_has_its_section() {
    let help = run(sluice(&["--help"])).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap();
    let headings: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .flat_map(|heading| heading.split(", "))
        .collect();
    for line in list.lines().map_while(|line| line.strip_prefix("  ")) {
        let name = line.split(' ').next().unwrap();
        assert!(name == "help" || headings.contains(&name), "{name}");
    }
}

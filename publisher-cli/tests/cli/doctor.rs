//! `sluice doctor` on deployments set up right, and set up wrong in one way each.

mod gateway;
mod nginx;
mod proxy;
mod redis;

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Redis, eventually, free_port, run, sluice};

/// A report in JSON, read back.
#[derive(Debug)]
pub struct Report {
    pub code: i32,
    pub stderr: String,
    lines: Vec<Value>,
}

impl Report {
    pub fn of(command: Command) -> Report {
        let ran = run(command);
        let lines = ran.stdout.lines();
        Report {
            code: ran.code,
            stderr: ran.stderr,
            lines: lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }

    fn finding(&self, code: &str) -> &Value {
        let mut found = self.lines.iter().filter(|line| line["code"] == code);
        let one = found
            .next()
            .unwrap_or_else(|| panic!("no {code}: {self:#?}"));
        assert!(found.next().is_none(), "{code} twice: {self:#?}");
        one
    }

    /// Asserts one finding: its status, and words of what was seen and of what to do.
    pub fn has(&self, code: &str, status: &str, seen: &str, advice: &str) {
        let finding = self.finding(code);
        assert_eq!(finding["status"], status, "{finding:#}");
        assert!(
            finding["seen"].as_str().unwrap().contains(seen),
            "{finding:#}"
        );
        assert!(
            finding["do"].as_str().unwrap_or_default().contains(advice),
            "{finding:#}"
        );
    }

    pub fn status(&self, code: &str) -> &str {
        self.finding(code)["status"].as_str().unwrap()
    }

    pub fn count(&self, status: &str) -> u64 {
        self.lines.last().unwrap()["summary"][status]
            .as_u64()
            .unwrap()
    }

    /// Nothing is worse than a note.
    pub fn is_well(&self) {
        assert_eq!(
            (self.code, self.count("problem"), self.count("warning")),
            (0, 0, 0),
            "{self:#?}"
        );
    }
}

pub fn doctor(arguments: &[&str]) -> Report {
    let mut command = sluice(&["doctor", "--json"]);
    command.args(arguments);
    Report::of(command)
}

/// A gateway process on a Redis of the test's, with heartbeats each 200 ms; ends with the test.
pub struct Gateway {
    process: Child,
    pub port: u16,
}

impl Gateway {
    pub fn start(redis: &Redis, settings: &[(&str, &str)]) -> Gateway {
        let binary =
            std::path::Path::new(env!("CARGO_BIN_EXE_sluice")).with_file_name("sluice-gateway");
        for _ in 0..10 {
            let (port, admin) = (free_port(), free_port());
            let mut process = Command::new(&binary)
                .env_clear()
                .env("SLUICE__HTTP__BIND", format!("127.0.0.1:{port}"))
                .env("SLUICE__ADMIN__BIND", format!("127.0.0.1:{admin}"))
                .env("SLUICE__REDIS__URL", redis.url())
                .env("SLUICE__AUTH__MODE", "anonymous")
                .env("SLUICE__STREAM__HEARTBEAT", "200ms")
                // The doctor waits for it.
                .env("SLUICE__REDIS__LINGER", "200ms")
                .envs(settings.iter().copied())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("sluice-gateway is built beside sluice: cargo build --workspace");
            let started = eventually("the gateway", || {
                let ended = process.try_wait().unwrap().is_some();
                let ready = proxy::says_200(admin, "/readyz");
                (ended || ready).then_some(!ended)
            });
            if started {
                return Gateway { process, port };
            }
        }
        panic!("no port for the gateway");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Every check has its line, in a fixed order, whatever it found.
#[test]
fn a_typical_report_reads_as_agreed() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let mut command = redis.sluice(&["doctor", "--quiet-for", "1s"]);
    command.env("SLUICE_GATEWAY_URL", gateway.url());
    let ran = run(command);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(
        !ran.stdout.contains('\u{1b}'),
        "colour without a terminal: {}",
        ran.stdout
    );
    let columns = ran.stdout.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        if line.starts_with("   ") {
            "  ...do".into()
        } else {
            words.join(" ")
        }
    });
    let columns: Vec<String> = columns.collect();
    insta::assert_snapshot!("doctor_report", columns.join("\n"));
}

#[test]
fn what_cannot_be_reached_is_exit_4_and_half_of_it_exit_1() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let (no_redis, no_gateway) = (format!("redis://{nobody}"), format!("http://{nobody}"));
    let report = doctor(&["--redis", &no_redis, "--gateway", &no_gateway]);
    assert_eq!(report.code, 4, "{report:#?}");
    report.has(
        "redis_reachable",
        "problem",
        "is unreachable",
        "is Redis running there",
    );
    report.has(
        "gateway_reachable",
        "problem",
        "nothing takes connections",
        "is the gateway running",
    );
    assert_eq!(report.status("redis_version"), "skipped");
    assert_eq!(report.status("gateway_replay"), "skipped");
    let redis = Redis::start();
    let report = doctor(&["--redis", &redis.url(), "--gateway", &no_gateway]);
    assert_eq!(report.code, 1, "{report:#?}");
    assert!(
        report.stderr.contains("one problem was found"),
        "{}",
        report.stderr
    );
    let report = doctor(&["--gateway", "http://gateway.invalid"]);
    assert_eq!(report.code, 4);
    report.has(
        "gateway_reachable",
        "problem",
        "does not resolve",
        "--gateway",
    );
}

#[test]
fn help_is_as_agreed() {
    let ran = run(sluice(&["doctor", "--help"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("help_doctor", ran.stdout);
}

#[test]
fn misuse_is_exit_2_with_a_hint() {
    let gateway = ["doctor", "--gateway", "http://127.0.0.1:1"];
    let redis = ["doctor", "--redis", "redis://127.0.0.1:1"];
    let cases = [
        vec!["doctor"],
        [&redis[..], &["--origin", "https://a.example"]].concat(),
        [&gateway[..], &["--origin", "https://a.example/app"]].concat(),
        [&gateway[..], &["--quiet-for", "0s"]].concat(),
        vec!["doctor", "--gateway", "gateway.example"],
    ];
    let mut told = String::new();
    for arguments in cases {
        let ran = run(sluice(&arguments));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        told += &format!("$ sluice {}\n{}\n", arguments.join(" "), ran.stderr);
    }
    insta::assert_snapshot!("doctor_misuse", told);
}

//! The real binary: what it refuses and with which exit code, what it prints, and what it serves in development.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use rstest::rstest;

use crate::harness::http::call;

const SECRET: &str = "canary-0123456789-0123456789-0123456789";

fn binary(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"));
    command
        .env_clear()
        .args(arguments)
        .envs(environment.iter().copied());
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = binary(arguments, environment).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the node's binary");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A name, a version and, where the build was told of one, a commit: the same as the metric says.
#[test]
fn it_says_which_build_it_is() {
    let (code, said, _) = run(&["--version"], &[]);
    assert_eq!(code, Some(0));
    let node = crate::harness::process::Process::start(&[]);
    let text = call(node.admin, "GET", "/metrics", &[], b"").body;
    let labels = text
        .lines()
        .find_map(|line| line.strip_prefix("sluice_build_info{commit=\""))
        .expect("the metric");
    let (commit, rest) = labels.split_once("\",version=\"").expect("two labels");
    let (version, value) = rest.split_once("\"} ").expect("a value");
    assert_eq!((version, value), (env!("CARGO_PKG_VERSION"), "1"));
    let wanted = match commit {
        "unknown" => format!("sluice-gateway {version}\n"),
        commit => format!("sluice-gateway {version} ({commit})\n"),
    };
    assert_eq!(said, wanted);
}

/// Exit 64 (EX_USAGE), naming the key and what would be accepted.
#[rstest]
#[case::misspelt("SLUICE__HTTP__BNID", "x", "http.bnid", "did you mean `http.bind`?")]
#[case::impossible(
    "SLUICE__STREAM__HEARTBEAT",
    "1ms",
    "stream.heartbeat",
    "accepted: 100ms to 5m"
)]
fn a_bad_setting_stops_the_start_with_64(
    #[case] name: &str,
    #[case] value: &str,
    #[case] key: &str,
    #[case] says: &str,
) {
    for arguments in [&["--dev"][..], &["--dev", "--check-config"]] {
        let (code, stdout, stderr) = run(arguments, &[(name, value)]);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{stderr}");
        for part in [key, name, says] {
            assert!(stderr.contains(part), "{part} is missing in: {stderr}");
        }
    }
}

#[test]
fn a_good_configuration_is_ok() {
    let (code, stdout, stderr) = run(&["--dev", "--check-config"], &[]);
    assert_eq!((code, stdout.as_str()), (Some(0), "ok\n"), "{stderr}");
}

#[test]
fn a_printed_configuration_hides_its_secrets() {
    let environment = [
        ("SLUICE__AUTH__MODE", "jwt"),
        ("SLUICE__AUTH__JWT__SECRET", SECRET),
        ("SLUICE__REDIS__URL", "redis://user:canary-p@redis.example"),
    ];
    let (code, stdout, stderr) = run(&["--print-config"], &environment);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("mode = \"jwt\""), "{stdout}");
    assert!(stdout.contains("[redacted]"), "{stdout}");
    // `[canary]` is a section.
    assert!(!stdout.contains("canary-"), "{stdout}");
}

/// Dropped, it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// `--dev` says where it listens and what it is not made for, and has a page at `/`.
#[test]
fn dev_says_where_it_is_and_serves_the_first_page() {
    let environment = [
        ("SLUICE__HTTP__BIND", "127.0.0.1:0"),
        ("SLUICE__ADMIN__BIND", "127.0.0.1:0"),
        ("SLUICE__LOG__FORMAT", "json"),
    ];
    let child = binary(&["--dev"], &environment)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = Running(child.expect("the node's binary"));
    let stderr = running.0.stderr.take().expect("a pipe");
    let (mut public, mut warned) = (None, false);
    // Ends with the process at the latest.
    for line in BufReader::new(stderr).lines() {
        let line = line.expect("UTF-8");
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if json["message"] == "listening" {
            let address = json["public"].as_str().expect("an address");
            public = Some(address.parse::<SocketAddr>().expect("an address"));
        }
        warned |= json["level"] == "WARN" && line.contains("embedded broker");
        if public.is_some() && warned {
            break;
        }
    }
    let public = public.expect("it says where it listens");
    assert!(warned);
    let page = call(public, "GET", "/", &[], b"");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("EventSource"), "{}", page.body);
}

//! `sluice-gateway --healthcheck`, as an image's or a supervisor's probe runs it.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::process::Process;

/// Exit code, and what was said.
fn ask(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, Duration) {
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
        .env_clear()
        .arg("--healthcheck")
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the binary");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    (output.status.code(), said, begun.elapsed())
}

/// Nothing but the admin address counts: it is asked in an environment that no node could start with. Bound to all
/// addresses, the node is asked on loopback.
#[test]
fn a_living_node_is_healthy_whatever_else_is_set() {
    let process = Process::start(&[]);
    let bind = process.admin.to_string();
    let all = format!("0.0.0.0:{}", process.admin.port());
    for bind in [&bind, &all] {
        let mut environment = vec![("SLUICE__ADMIN__BIND", bind.as_str())];
        assert_eq!(ask(&[], &environment).0, Some(0));
        environment.extend([
            ("SLUICE__AUTH__MODE", "nonsense"),
            ("SLUICE__NO__SUCH_KEY", "x"),
            ("SLUICE__STREAM__HEARTBEAT", "1ms"),
            ("SLUICE__TLS__CERTIFICATE_FILE", "missing.pem"),
        ]);
        let (code, said, _) = ask(&[], &environment);
        assert_eq!((code, said.as_str()), (Some(0), "alive\n"));
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        file.path(),
        format!("[admin]\nbind = \"{bind}\"\n[nonsense]\nx = 1\n"),
    )
    .expect("written");
    let config = ["--config", file.path().to_str().expect("UTF-8")];
    assert_eq!(ask(&config, &[]).0, Some(0), "the file names it");
    let other = free();
    let (code, said, _) = ask(&config, &[("SLUICE__ADMIN__BIND", &other)]);
    assert_eq!(code, Some(1), "the environment comes after the file");
    assert!(said.contains(&other), "{said}");
}

#[test]
fn a_dead_node_is_not() {
    let address = free();
    let (code, said, _) = ask(&[], &[("SLUICE__ADMIN__BIND", &address)]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("no node listens at {address} (admin.bind)")),
        "{said}"
    );
}

/// A process that is there and does not answer, as one that hangs: within two seconds that is known.
#[test]
fn a_hung_node_is_not_and_does_not_hold_up_the_probe() {
    let process = Process::start(&[]);
    let bind = process.admin.to_string();
    let environment = [("SLUICE__ADMIN__BIND", bind.as_str())];
    process.freeze();
    let (code, said, took) = ask(&[], &environment);
    process.thaw();
    assert_eq!(code, Some(1));
    assert!(said.contains("did not answer /livez within 2s"), "{said}");
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
    assert_eq!(ask(&[], &environment).0, Some(0), "it answers again");
}

/// Somebody else's listener is no node; an address that cannot be used is named.
#[test]
fn what_is_no_node_and_what_is_no_address_is_told() {
    let process = Process::start(&[]);
    let public = process.public.to_string();
    let (code, said, _) = ask(&[], &[("SLUICE__ADMIN__BIND", &public)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("404 Not Found\" instead of 200"), "{said}");
    for (bind, words) in [
        (
            "localhost",
            "admin.bind (SLUICE__ADMIN__BIND): invalid socket address",
        ),
        ("127.0.0.1:0", "port 0"),
    ] {
        let (code, said, _) = ask(&[], &[("SLUICE__ADMIN__BIND", bind)]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let (code, said, _) = ask(&["--config", "missing.toml"], &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("missing.toml"), "{said}");
}

/// An address where nobody listens.
fn free() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound").to_string()
}

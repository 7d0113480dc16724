//! A node as a process of its own, for what only a process shows: its CPU time, its signals, its exit.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::node::metric;
use super::{NO_CANARY, PATIENCE, find, http};

/// Ticks of `/proc/<pid>/stat` per second: USER_HZ, fixed on Linux.
const TICKS: u32 = 100;

/// A running `sluice-gateway`; dropped, it is killed.
pub struct Process {
    child: Child,
    log: NamedTempFile,
    said: NamedTempFile,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts a node on the embedded broker with one worker.
    pub fn start(settings: &[(&str, &str)]) -> Process {
        Process::start_in(settings, &[])
    }

    /// The same with variables that are not the gateway's own, such as `SSL_CERT_FILE`.
    pub fn start_in(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Process {
        // Another process may take a free port between our look and the node's bind: then look again.
        (0..5)
            .find_map(|_| Process::try_start(settings, environment))
            .expect("a node starts")
    }

    fn try_start(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Option<Process> {
        let mut process = Process::spawn_in(settings, environment);
        let ready = find("the process is ready or has ended", PATIENCE, || {
            if process.child.try_wait().expect("its state").is_some() {
                return Some(false);
            }
            let answer = http::try_call(process.admin, "GET", "/readyz", &[], b"")?;
            (answer.status == 200).then_some(true)
        });
        ready.then_some(process)
    }

    /// Starts a node without waiting for it: it may never be ready.
    pub fn spawn(settings: &[(&str, &str)]) -> Process {
        Process::spawn_in(settings, &[])
    }

    fn spawn_in(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Process {
        let free = || {
            let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
            socket.local_addr().expect("bound")
        };
        let (public, admin) = (free(), free());
        let log = NamedTempFile::new().expect("a file");
        let said = NamedTempFile::new().expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
            .env_clear()
            .envs(environment.iter().copied())
            .env("SLUICE__AUTH__MODE", "anonymous")
            .env("SLUICE__BROKER__MODE", "embedded")
            .env("SLUICE__HTTP__WORKERS", "1")
            .env(NO_CANARY.0, NO_CANARY.1)
            .env("SLUICE__HTTP__BIND", public.to_string())
            .env("SLUICE__ADMIN__BIND", admin.to_string())
            .envs(
                settings
                    .iter()
                    .map(|(key, value)| (format!("SLUICE__{key}"), value)),
            )
            .stdout(said.reopen().expect("the same file"))
            .stderr(log.reopen().expect("the same file"))
            .spawn()
            .expect("the node's binary");
        Process {
            child,
            log,
            said,
            public,
            admin,
        }
    }

    /// CPU time so far, of all threads.
    pub fn cpu(&self) -> Duration {
        let stat = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(stat).expect("the process lives");
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |field: usize| fields[field - 3].parse::<u32>().expect("ticks");
        Duration::from_secs(1) * (ticks(14) + ticks(15)) / TICKS
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the file is there")
    }

    /// What it has written to its standard output.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.said.path()).expect("the file is there")
    }

    pub fn metric(&self, sample: &str) -> f64 {
        metric(self.admin, sample)
    }

    /// Stops the process where it stands; it goes on when it is thawed.
    pub fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    pub fn thaw(&self) {
        signal(self.child.id(), "CONT");
    }

    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for the process to end by itself.
    pub fn exit(&mut self, within: Duration) -> ExitStatus {
        find("the process has ended", within, || {
            self.child.try_wait().expect("its state")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal, such as `STOP`, to a process that the test has started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(status.expect("kill is installed").success());
}

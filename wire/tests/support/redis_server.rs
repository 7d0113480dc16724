//! A redis-server without persistence on a free loopback port, ended when dropped.

use std::{
    io::Read,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::{Client, Connection};

const START_DEADLINE: Duration = Duration::from_secs(20);
const START_ATTEMPTS: usize = 5;

pub struct RedisServer {
    child: Child,
    pub port: u16,
    _dir: tempfile::TempDir,
}

impl RedisServer {
    /// Starts a server with further options, such as `["--cluster-enabled", "yes"]`.
    pub fn start(options: &[&str]) -> Self {
        // Another process may take the free port between our look and Redis's bind: then look again.
        (0..START_ATTEMPTS)
            .find_map(|_| Self::try_start(options))
            .expect("a redis-server starts")
    }

    fn try_start(options: &[&str]) -> Option<Self> {
        let port = free_port();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--loglevel",
                "warning",
            ])
            .args([
                "--port",
                &port.to_string(),
                "--cluster-port",
                &free_port().to_string(),
            ])
            .arg("--dir")
            .arg(dir.path())
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("redis-server is installed");
        let mut server = Self {
            child,
            port,
            _dir: dir,
        };
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if server
                .child
                .try_wait()
                .expect("the child's state")
                .is_some()
            {
                let mut text = String::new();
                server
                    .child
                    .stderr
                    .take()?
                    .read_to_string(&mut text)
                    .expect("its last words");
                eprintln!("redis-server did not start: {text}");
                return None;
            }
            let pong = server
                .client()
                .get_connection()
                .and_then(|mut c| redis::cmd("PING").query::<String>(&mut c));
            if pong.is_ok() {
                return Some(server);
            }
            thread::yield_now();
        }
        None
    }

    pub fn client(&self) -> Client {
        Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a valid address")
    }

    pub fn connect(&self) -> Connection {
        self.client()
            .get_connection()
            .expect("redis-server answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port()
}

//! A redis-server without persistence on a free loopback port, ended when dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::{Client, Connection, FromRedisValue};

use super::process::signal;
use super::{PATIENCE, find};

pub struct RedisServer {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl RedisServer {
    pub fn start() -> RedisServer {
        RedisServer::start_with(&[])
    }

    /// The same with further options, as on its command line.
    pub fn start_with(options: &[&str]) -> RedisServer {
        // Another process may take the free port between our look and Redis's bind: then look again.
        (0..5)
            .find_map(|_| RedisServer::try_start(options))
            .expect("a redis-server starts")
    }

    fn try_start(options: &[&str]) -> Option<RedisServer> {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        drop(socket);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
            ])
            .arg(port.to_string())
            .arg("--dir")
            .arg(dir.path())
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut server = RedisServer {
            child,
            port,
            _dir: dir,
        };
        let up = find("redis-server answers or has ended", PATIENCE, || {
            if server.child.try_wait().expect("its state").is_some() {
                return Some(false);
            }
            server.client().get_connection().ok().map(|_| true)
        });
        up.then_some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn client(&self) -> Client {
        Client::open(self.url()).expect("a valid address")
    }

    pub fn connect(&self) -> Connection {
        self.client()
            .get_connection()
            .expect("redis-server answers")
    }

    /// One command on a connection of its own, its words as redis-cli takes them.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.send(words, &[])
    }

    /// The same with one more argument of any bytes.
    pub fn send<T: FromRedisValue>(&self, words: &[&str], last: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        for bytes in last {
            command.arg(*bytes);
        }
        command
            .query(&mut self.connect())
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Subscribers of a channel's topic.
    pub fn subscribers(&self, channel: &str) -> u64 {
        let topic = format!("sluice:{{{channel}}}");
        let (_, count): (String, u64) = self.run(&["PUBSUB", "NUMSUB", &topic]);
        count
    }

    /// Stops the process where it stands: connections stay, nobody answers.
    pub fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    pub fn thaw(&self) {
        signal(self.child.id(), "CONT");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

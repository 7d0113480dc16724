//! A redis-server and a `sluice` per test, an HTTP responder that answers as told, and waits with a deadline.

mod http;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub use http::{BlackHole, Responder, event_stream, read_request, reply};

/// The longest wait for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address where nobody listens: this port is for the superuser, and out of use.
pub const NOBODY: &str = "127.0.0.1:1";

/// A port that was free a moment ago. Whoever starts a server on it makes sure that it is the one that got it.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A redis-server without persistence that ends with the test.
pub struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Redis {
        // Another process may take the port in between: then this server ends, and the next port is tried.
        for _ in 0..10 {
            let port = free_port();
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            let process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path())
                .arg("--logfile")
                .arg(&log)
                .args(options)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let mut redis = Redis {
                process,
                port,
                _folder: folder,
            };
            let started = eventually("redis-server", || {
                let ended = redis.process.try_wait().unwrap().is_some();
                // Its own word: a connection could reach another test's server on the same port.
                let listens = std::fs::read_to_string(&log)
                    .is_ok_and(|log| log.contains("Ready to accept connections"));
                (ended || listens).then_some(!ended)
            });
            if started {
                return redis;
            }
        }
        panic!("no port for redis-server");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `sluice` with this Redis for its link.
    pub fn sluice(&self, arguments: &[&str]) -> Command {
        let mut command = sluice(arguments);
        command.env("SLUICE_REDIS_URL", self.url());
        command
    }

    /// Sends one command.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(DEADLINE).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
            .query(&mut connection)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A channel's stream: ids, and names and values in turn.
    pub fn stream(&self, channel: &str) -> Vec<(String, Vec<(String, String)>)> {
        self.command(&["XRANGE", &format!("sluice:{{{channel}}}:s"), "-", "+"])
    }

    /// Appends an event of a moment of the test's choice, as the script would have then, and gives the position.
    pub fn publish_at(&self, channel: &str, ms: u64, data: &str) -> String {
        let (stream, head) = (
            format!("sluice:{{{channel}}}:s"),
            format!("sluice:{{{channel}}}:m"),
        );
        let before: Option<String> = self.command(&["GET", &head]);
        let before = before.unwrap_or_else(|| "0-0.000000aa 0-0.000000aa".into());
        let (prev, genesis) = before.split_once(' ').unwrap();
        let (id, tag) = (format!("{ms}-0"), "000000bb");
        let fields = ["p", prev, "t", tag, "d", data];
        let added: String = self.command(&[&["XADD", &stream, &id][..], &fields].concat());
        assert_eq!(added, id);
        let position = format!("{id}.{tag}");
        let () = self.command(&["SET", &head, &format!("{position} {genesis}")]);
        position
    }

    /// Waits until as many subscribers listen to a channel.
    pub fn await_subscribers(&self, channel: &str, count: i64) {
        let topic = format!("sluice:{{{channel}}}");
        eventually("subscribers", || {
            let (_, now): (String, i64) = self.command(&["PUBSUB", "NUMSUB", &topic]);
            (now == count).then_some(())
        });
    }

    /// Publishes and gives the position.
    pub fn publish(&self, channel: &str, data: &str) -> String {
        let ran = run(self.sluice(&["publish", channel, data]));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout.trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The built binary, away from the settings of whoever runs the tests.
pub fn sluice(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

pub fn run(command: Command) -> Ran {
    run_with_input(command, None)
}

/// Runs a command with `input` on its standard input.
pub fn run_with_input(mut command: Command, input: Option<&[u8]>) -> Ran {
    let begun = Instant::now();
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let writer = input.map(|input| {
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        std::thread::spawn(move || drop(stdin.write_all(&input)))
    });
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    if let Some(writer) = writer {
        writer.join().unwrap();
    }
    Ran {
        code: status.code().expect("ended by itself"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        took: begun.elapsed(),
    }
}

/// A command that goes on while the test talks to it.
pub struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
}

/// The lines of an output, as they come.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Lines {
        let (sender, lines) = mpsc::sync_channel(65_536);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(lines)
    }

    pub fn next(&self) -> String {
        self.0.recv_timeout(DEADLINE).expect("another line")
    }

    pub fn take(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()).collect()
    }
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        Running {
            stdin: process.stdin.take(),
            stdout: Lines::of(process.stdout.take().unwrap()),
            stderr: Lines::of(process.stderr.take().unwrap()),
            process,
        }
    }

    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end and gives the exit code.
    pub fn end(&mut self) -> i32 {
        eventually("the end of sluice", || self.process.try_wait().unwrap())
            .code()
            .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

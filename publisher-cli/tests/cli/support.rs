//! A redis-server and a `sluice` per test, an HTTP responder that answers as told, and waits with a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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

/// A port that was free a moment ago.
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
            let process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path())
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
                let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
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

/// A listener that takes connections and never says a word.
pub struct BlackHole(TcpListener);

impl BlackHole {
    pub fn new() -> BlackHole {
        BlackHole(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and target.
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An HTTP server that answers its connections' requests, one connection each, with the given bytes in turn.
pub struct Responder {
    pub url: String,
    requests: mpsc::Receiver<Request>,
}

impl Responder {
    pub fn new(answers: Vec<String>) -> Responder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::sync_channel(answers.len());
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let mut reader = BufReader::new(stream);
                let Some(request) = read_request(&mut reader) else {
                    return;
                };
                if sender.send(request).is_err()
                    || reader.get_mut().write_all(answer.as_bytes()).is_err()
                {
                    return;
                }
            }
        });
        Responder { url, requests }
    }

    pub fn request(&self) -> Request {
        self.requests
            .recv_timeout(DEADLINE)
            .expect("another request")
    }

    pub fn sluice(&self, arguments: &[&str]) -> Command {
        let mut command = sluice(arguments);
        command.env("SLUICE_GATEWAY_URL", &self.url);
        command
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request {
        line,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// An HTTP reply of one connection.
pub fn reply(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// An event stream that ends after `blocks`.
pub fn event_stream(blocks: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n{blocks}"
    )
}

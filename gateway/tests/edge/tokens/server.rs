//! An issuer's web server on loopback, honest or hostile, that counts who asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Keys(Value),
    /// Status, further header lines, body.
    Plain(u16, String, Vec<u8>),
    /// A head, then bytes until the client leaves.
    Endless,
    /// A head that never ends, a byte at a time.
    Trickle,
    /// Nothing, until the answer is another.
    Silence,
    /// Bytes that are no HTTP.
    Garbage,
    /// A shorter body than announced.
    Cut,
}

pub struct Server {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: Answer) -> Server {
        Server::start_with(answer, None)
    }

    /// The same over TLS.
    pub fn start_tls(answer: Answer, tls: Arc<ServerConfig>) -> Server {
        Server::start_with(answer, Some(tls))
    }

    fn start_with(answer: Answer, tls: Option<Arc<ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(answer));
        let ends = Arc::new(AtomicBool::new(false));
        let (asked_too, answer_too, ends_too) = (asked.clone(), answer.clone(), ends.clone());
        let thread = thread::spawn(move || {
            let mut open = Vec::new();
            for socket in listener.incoming() {
                if ends_too.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(socket) = socket else { continue };
                let (answer, ends) = (answer_too.clone(), ends_too.clone());
                let (asked, tls) = (asked_too.clone(), tls.clone());
                open.push(thread::spawn(move || {
                    // A client that leaves early is what some answers are for.
                    drop(accept(socket, tls, &asked, &answer, &ends));
                }));
            }
            for one in open {
                one.join().expect("no panic");
            }
        });
        Server {
            address,
            asked,
            answer,
            ends,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys.json", self.address)
    }

    pub fn set(&self, answer: Answer) {
        *self.answer.lock().expect("not poisoned") = answer;
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

fn accept(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    asked: &AtomicUsize,
    answer: &Mutex<Answer>,
    ends: &AtomicBool,
) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.set_write_timeout(Some(Duration::from_millis(200)))?;
    match tls {
        None => serve(socket, asked, answer, ends),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            let mut stream = StreamOwned::new(connection, socket);
            serve(&mut stream, asked, answer, ends)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

fn serve(
    mut socket: impl Read + Write,
    asked: &AtomicUsize,
    answer: &Mutex<Answer>,
    ends: &AtomicBool,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    loop {
        let now = answer.lock().expect("not poisoned").clone();
        if !matches!(now, Answer::Silence) || ends.load(Ordering::SeqCst) {
            return give(&mut socket, &now, ends);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn give(socket: &mut impl Write, answer: &Answer, ends: &AtomicBool) -> std::io::Result<()> {
    let plain = |status: u16, lines: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{lines}\r\n");
        [head.as_bytes(), body].concat()
    };
    match answer {
        Answer::Keys(keys) => {
            let json = "content-type: application/json\r\n";
            socket.write_all(&plain(200, json, keys.to_string().as_bytes()))
        }
        Answer::Plain(status, lines, body) => socket.write_all(&plain(*status, lines, body)),
        Answer::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            // Bounded for the test's own sake, far beyond what the gateway may take.
            for _ in 0..64 {
                socket.write_all(format!("10000\r\n{}\r\n", " ".repeat(65_536)).as_bytes())?;
            }
            Ok(())
        }
        Answer::Trickle => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
            while !ends.load(Ordering::SeqCst) {
                socket.write_all(b"x")?;
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        }
        Answer::Garbage => socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n"),
        Answer::Cut => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{\"keys\":[")
        }
        Answer::Silence => Ok(()),
    }
}

//! A TCP proxy with one fault of its own, in front of a gateway or of Redis.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the proxy does to what passes.
#[derive(Clone)]
pub enum Fault {
    /// Puts the second text in the place of the first, both ways.
    Rewrite(Vec<(String, String)>),
    /// Passes what contains the text on so much later.
    Late(&'static str, Duration),
    /// Ends a connection on which the server has been silent for so long.
    CutIdle(Duration),
    /// Holds back all that answers a GET.
    HoldAll,
    /// The same, but for the headers.
    HoldBody,
}

pub fn rewrite(pairs: &[(&str, &str)]) -> Fault {
    Fault::Rewrite(
        pairs
            .iter()
            .map(|(from, to)| ((*from).into(), (*to).into()))
            .collect(),
    )
}

/// Starts a proxy to `upstream` and gives its port. Its threads end with the test process.
pub fn start(upstream: u16, fault: Fault) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
                return;
            };
            serve(client, server, &fault);
        }
    });
    port
}

fn serve(client: TcpStream, server: TcpStream, fault: &Fault) {
    let asked = Arc::new(AtomicBool::new(false));
    if let Fault::CutIdle(after) = fault {
        server.set_read_timeout(Some(*after)).unwrap();
    }
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
    }
    let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (up_fault, up_asked) = (fault.clone(), Arc::clone(&asked));
    std::thread::spawn(move || {
        copy(up.0, up.1, |bytes| {
            if bytes.starts_with(b"GET /v1/events") {
                up_asked.store(true, Ordering::SeqCst);
            }
            rewritten(bytes, &up_fault)
        });
    });
    let fault = fault.clone();
    let mut head_passed = false;
    std::thread::spawn(move || {
        copy(server, client, |bytes| {
            let held = asked.load(Ordering::SeqCst);
            match &fault {
                Fault::HoldAll if held => Vec::new(),
                Fault::HoldBody if held && head_passed => Vec::new(),
                Fault::HoldBody if held => {
                    head_passed = true;
                    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                    bytes[..end.map_or(bytes.len(), |end| end + 4)].to_vec()
                }
                Fault::Late(mark, time) if contains(bytes, mark) => {
                    std::thread::sleep(*time);
                    bytes.to_vec()
                }
                Fault::Rewrite(_) => rewritten(bytes, &fault),
                Fault::HoldAll | Fault::HoldBody | Fault::Late(..) | Fault::CutIdle(_) => {
                    bytes.to_vec()
                }
            }
        });
    });
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes
        .windows(mark.len())
        .any(|part| part == mark.as_bytes())
}

fn rewritten(bytes: &[u8], fault: &Fault) -> Vec<u8> {
    let Fault::Rewrite(pairs) = fault else {
        return bytes.to_vec();
    };
    // Every byte is one character of Latin-1, and back.
    let mut text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    for (from, to) in pairs {
        text = text.replace(from, to);
    }
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&pass(&buffer[..count])).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// Whether `GET path` is answered with 200 now.
pub fn says_200(port: u16, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut start = [0; 12];
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .is_ok()
        && stream.read_exact(&mut start).is_ok()
        && start.ends_with(b"200")
}

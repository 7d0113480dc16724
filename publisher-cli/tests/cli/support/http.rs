//! Listeners in place of a gateway: one that is silent, and one that answers as told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;

use super::{DEADLINE, sluice};

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

pub fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
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

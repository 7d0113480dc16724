//! Requests that are wrong, as bytes: tables of faults, times the places where each can stand. Whoever adds a fault
//! says what its answer must be.

mod bodies;
mod framing;
mod heads;
mod http2;
mod http2_requests;
mod targets;

use anyhow::{Context, Result, ensure};

/// The channel that nothing wrong may be published to.
pub const REFUSED: &str = "refused";
/// The channel of requests that are hidden behind another one.
pub const SMUGGLED: &str = "smuggled";
/// The channel that strange but sound requests may publish to.
pub const TAKEN: &str = "taken";

/// The listener that a request is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Listener {
    Public,
    Admin,
}

/// What must become of a request.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Whatever it is: an answer in order below 500, or a closed connection.
    NoFault,
    /// 4xx, or closed without an answer.
    Refused,
    /// As refused, and nothing more is read from its connection.
    RefusedAndClosed,
    /// A problem document with this code.
    Code(&'static str),
    /// 2xx with this text in the body.
    Holds(&'static str),
    /// A batch's answer in which every line has an error.
    EveryLine,
    /// HTTP/2: the connection is ended by the gateway.
    Ended,
    /// HTTP/2: the stream is refused (4xx or RST_STREAM), or the connection ended.
    StreamRefused,
    /// HTTP/2: a PING behind it is answered, or the connection ended.
    Survived,
}

impl Expect {
    /// Whether the exchange is one of HTTP/2 frames.
    pub fn is_http2(self) -> bool {
        matches!(
            self,
            Expect::Ended | Expect::StreamRefused | Expect::Survived
        )
    }
}

/// One wrong request.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub to: Listener,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

impl Case {
    /// A case for the public listener.
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
        Case {
            name: name.into(),
            to: Listener::Public,
            bytes: bytes.into(),
            expect,
        }
    }

    /// The same for another listener.
    fn at(self, to: Listener) -> Case {
        let name = format!("{to:?}: {}", self.name);
        Case { name, to, ..self }
    }
}

/// A documented route: where it is and how it is asked.
#[derive(Clone, Debug)]
pub struct Route {
    pub to: Listener,
    pub method: String,
    /// With names in the place of `{…}`.
    pub path: String,
}

/// Every case. `http_doc` is the text of docs/http.md, whose routes are all tried.
pub fn all(http_doc: &str) -> Result<Vec<Case>> {
    let routes = routes(http_doc)?;
    let mut cases = heads::cases(&routes);
    cases.extend(framing::cases());
    cases.extend(targets::cases());
    cases.extend(bodies::cases());
    cases.extend(http2::cases());
    Ok(cases)
}

/// The routes that docs/http.md names in its first section; tidy holds them to the router's.
fn routes(http_doc: &str) -> Result<Vec<Route>> {
    let section = http_doc
        .split("\n## ")
        .find_map(|section| section.strip_prefix("Routes\n"))
        .context("docs/http.md has no section `Routes`")?;
    let mut routes: Vec<Route> = section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(route)
        .collect();
    routes.dedup_by(|a, b| a.path == b.path && a.method == b.method);
    for wanted in ["/v1/events", "/v1/publish", "/metrics"] {
        ensure!(
            routes.iter().any(|route| route.path == wanted),
            "docs/http.md does not name {wanted}"
        );
    }
    Ok(routes)
}

/// The route of a quoted text such as `GET /v1/events`, unless it is offered with `--dev` only.
fn route(text: &str) -> Option<Route> {
    let (method, path) = text.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || !path.starts_with('/') || path == "/" || path.starts_with("/dev/") {
        return None;
    }
    let to = match path.starts_with("/v1/") {
        true => Listener::Public,
        false => Listener::Admin,
    };
    let named: Vec<&str> = path
        .split('/')
        .map(|part| match part.starts_with('{') {
            true => REFUSED,
            false => part,
        })
        .collect();
    Some(Route {
        to,
        method: method.to_owned(),
        path: named.join("/"),
    })
}

/// A request's bytes: its first line, whole header lines, the body. Nothing is added but the line ends.
fn request(line: &[u8], fields: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut bytes = [line, b"\r\n"].concat();
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A request with a body of the right length, and these header lines besides.
fn sized(line: &str, fields: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let all: Vec<&[u8]> = [&b"Host: sluice.test"[..], length.as_bytes()]
        .into_iter()
        .chain(fields.iter().copied())
        .collect();
    request(line.as_bytes(), &all, body)
}

/// A GET of this target, with these header lines besides.
fn get(target: &str, fields: &[&[u8]]) -> Vec<u8> {
    let all: Vec<&[u8]> = [&b"Host: sluice.test"[..]]
        .into_iter()
        .chain(fields.iter().copied())
        .collect();
    request(format!("GET {target} HTTP/1.1").as_bytes(), &all, b"")
}

/// These bytes for a name or a message: printable, and short.
fn shown(bytes: &[u8]) -> String {
    let text: String = bytes.escape_ascii().to_string();
    match text.len() {
        0..=60 => text,
        length => format!("{}… ({length})", &text[..40]),
    }
}

//! The clients, how each is started, and what each is known not to do.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context, Result};
use serde_json::Value;
use sluice_e2e::installed::{self, root};
use tokio::process::Command;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    Node,
    Python,
    Rust,
    Java,
    Go,
    Shell,
}

/// Where the version stands that is run.
#[derive(Clone, Copy, Debug)]
pub enum Version {
    Npm(&'static str),
    PyPi(&'static str),
    Crate(&'static str),
    GoModule(&'static str),
    /// Comes with the machine.
    Any(&'static str),
}

/// What a client is known not to do. The journey asserts exactly this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Nothing tells the caller that a stream is open, but for `sluice.open`.
    NoOpenCallback,
    /// Blanks at the beginning of a line of data are taken away, not only the first.
    LeadingBlanksLost,
    /// Empty lines at the beginning of data are lost.
    FirstEmptyLinesLost,
    /// Empty lines at the end of data are lost.
    LastEmptyLinesLost,
    /// A byte order mark at the beginning of a line of data is taken away.
    ByteOrderMarkLost,
    /// Takes the id of a block that was cut short, and so never asks for this event again.
    CutEventLost,
}

/// One client of the table.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub language: Language,
    pub version: Version,
    /// Under `tests/clients/programs`.
    pub program: &'static str,
    pub reconnects: &'static str,
    pub limits: &'static [Limit],
    pub remark: &'static str,
}

const ITSELF: &str = "itself";
const LOOP: &str = "by the caller's loop";
const HAND: &str = "by hand";

pub const CLIENTS: &[Client] = &[
    Client {
        name: "eventsource",
        language: Language::Node,
        version: Version::Npm("eventsource"),
        program: "node/eventsource.mjs",
        reconnects: ITSELF,
        limits: &[],
        remark: "the browser's interface",
    },
    Client {
        name: "eventsource-client",
        language: Language::Node,
        version: Version::Npm("eventsource-client"),
        program: "node/eventsource-client.mjs",
        reconnects: ITSELF,
        limits: &[],
        remark: "",
    },
    Client {
        name: "@microsoft/fetch-event-source",
        language: Language::Node,
        version: Version::Npm("@microsoft/fetch-event-source"),
        program: "node/fetch-event-source.mjs",
        reconnects: "itself after an error; by the caller's loop after an end in order",
        limits: &[
            Limit::FirstEmptyLinesLost,
            Limit::ByteOrderMarkLost,
            Limit::CutEventLost,
        ],
        remark: "made for browsers: in Node it needs `window` and `document`",
    },
    Client {
        name: "launchdarkly-eventsource (npm)",
        language: Language::Node,
        version: Version::Npm("launchdarkly-eventsource"),
        program: "node/launchdarkly-eventsource.mjs",
        reconnects: ITSELF,
        limits: &[],
        remark: "",
    },
    Client {
        name: "launchdarkly-eventsource (PyPI)",
        language: Language::Python,
        version: Version::PyPi("launchdarkly-eventsource"),
        program: "python/launchdarkly_eventsource.py",
        reconnects: "itself, with `ErrorStrategy.always_continue()`",
        limits: &[],
        remark: "does not heed `retry:`",
    },
    Client {
        name: "httpx-sse",
        language: Language::Python,
        version: Version::PyPi("httpx-sse"),
        program: "python/httpx_sse_reader.py",
        reconnects: LOOP,
        limits: &[],
        remark: "a parser",
    },
    Client {
        name: "aiohttp-sse-client2",
        language: Language::Python,
        version: Version::PyPi("aiohttp-sse-client2"),
        program: "python/aiohttp_sse_client2_reader.py",
        reconnects: "itself after an end in order; by the caller's loop after an error",
        limits: &[Limit::LeadingBlanksLost, Limit::LastEmptyLinesLost],
        remark: "",
    },
    Client {
        name: "reqwest-eventsource",
        language: Language::Rust,
        version: Version::Crate("reqwest-eventsource"),
        program: "rust/reqwest_eventsource.rs",
        reconnects: ITSELF,
        limits: &[],
        remark: "",
    },
    Client {
        name: "java.net.http.HttpClient",
        language: Language::Java,
        version: Version::Any("JDK 11 or newer"),
        program: "java/Client.java",
        reconnects: HAND,
        limits: &[],
        remark: "",
    },
    Client {
        name: "net/http",
        language: Language::Go,
        version: Version::Any("of the Go at hand"),
        program: "go/byhand/main.go",
        reconnects: HAND,
        limits: &[],
        remark: "",
    },
    Client {
        name: "tmaxmax/go-sse",
        language: Language::Go,
        version: Version::GoModule("github.com/tmaxmax/go-sse"),
        program: "go/gosse/main.go",
        reconnects: ITSELF,
        limits: &[Limit::NoOpenCallback],
        remark: "needs `Buffer` for events of 64 KiB",
    },
    Client {
        name: "curl -N",
        language: Language::Shell,
        version: Version::Any("any"),
        program: "curl/curl.sh",
        reconnects: HAND,
        limits: &[Limit::NoOpenCallback],
        remark: "with bash",
    },
];

impl Client {
    pub fn has(&self, limit: Limit) -> bool {
        self.limits.contains(&limit)
    }

    /// The version that is pinned in the tree.
    pub fn version(&self) -> Result<String> {
        let missing = || format!("the pinned version of {}", self.name);
        Ok(match self.version {
            Version::Any(text) => text.to_owned(),
            Version::Npm(package) => {
                let manifest = read("tests/clients/programs/node/package.json")?;
                let manifest: Value = serde_json::from_str(&manifest)?;
                let version = manifest["dependencies"][package].as_str();
                version.with_context(missing)?.to_owned()
            }
            Version::PyPi(package) => {
                let pins = read("tests/clients/programs/python/requirements.txt")?;
                let pin = pins.lines().find_map(|line| {
                    line.strip_prefix(package)?
                        .strip_prefix("==")
                        .map(str::to_owned)
                });
                pin.with_context(missing)?
            }
            Version::Crate(name) => {
                let lock = read("Cargo.lock")?;
                let (_, rest) = lock
                    .split_once(&format!("name = \"{name}\"\nversion = \""))
                    .with_context(missing)?;
                rest.split('"').next().with_context(missing)?.to_owned()
            }
            Version::GoModule(path) => {
                let modules = read("tests/clients/programs/go/go.mod")?;
                let pin = modules.lines().find_map(|line| {
                    let version = line.trim().strip_prefix(path)?.trim();
                    version.strip_prefix('v').map(str::to_owned)
                });
                pin.with_context(missing)?
            }
        })
    }

    /// The program with its arguments, ready to be started.
    pub fn command(&self, url: &str, types: &[&str]) -> Result<Command> {
        let source = root().join("tests/clients/programs").join(self.program);
        let installed = installed::folder()?;
        let file = source.file_name().context("a program's file")?;
        let mut command = match self.language {
            Language::Node => {
                // It finds its packages beside itself.
                let copy = installed.join("node").join(file);
                fs::copy(&source, &copy).with_context(|| not_installed(&copy))?;
                with("node", &copy)
            }
            Language::Python => with(installed.join("python/bin/python3"), &source),
            Language::Rust => {
                Command::new(installed::built()?.join("examples").join(stem(&source)?))
            }
            Language::Java => with("java", &source),
            Language::Go => {
                let folder = source.parent().context("a program's folder")?;
                Command::new(installed.join("go").join(stem(folder)?))
            }
            Language::Shell => with("bash", &source),
        };
        command.arg(url).args(types).stdin(Stdio::null());
        Ok(command)
    }
}

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Language::Node => "Node",
            Language::Python => "Python",
            Language::Rust => "Rust",
            Language::Java => "Java",
            Language::Go => "Go",
            Language::Shell => "shell",
        }
    }

    /// Whether this machine has the language in a version that serves.
    pub fn is_here(self) -> Result<bool> {
        match self {
            Language::Rust => Ok(true),
            Language::Node | Language::Python | Language::Java | Language::Go | Language::Shell => {
                installed::has(&self.name().to_lowercase())
            }
        }
    }
}

fn with(program: impl AsRef<std::ffi::OsStr>, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(file);
    command
}

fn stem(path: &Path) -> Result<&std::ffi::OsStr> {
    path.file_stem().context("a file's name")
}

fn not_installed(path: &Path) -> String {
    format!("{}: run scripts/clients, which installs it", path.display())
}

pub fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

//! A client's program while it runs: what it has seen so far, from the JSON lines that it prints.

use std::{
    fs::File,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};

/// An event as a program tells it, or as it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub kind: String,
    pub id: String,
    pub data: String,
}

impl Event {
    /// Whether Sluice itself speaks.
    pub fn is_own(&self) -> bool {
        self.kind.starts_with("sluice.")
    }

    /// The data of one of Sluice's own events.
    pub fn json(&self) -> Result<Value> {
        let value: Value = serde_json::from_str(&self.data)
            .with_context(|| format!("{} with data {:?}", self.kind, self.data))?;
        if !value.is_object() || self.id.is_empty() {
            bail!("{self:?}");
        }
        Ok(value)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    Open,
    Event(Event),
    Error(String),
    Closed,
    /// A line that is none of these: the program itself is wrong.
    Unreadable(String),
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    seen: Arc<Mutex<Vec<Seen>>>,
    child: Child,
    _reading: JoinSet<()>,
}

impl Program {
    /// Starts it; what it says beside its lines goes to `<dir>/client.log`.
    pub fn start(mut command: Command, dir: &Path) -> Result<Program> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("client.log"))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("starting {command:?}: scripts/clients installs the clients")
            })?;
        let seen = Arc::new(Mutex::default());
        let output = child.stdout.take().context("a piped output")?;
        let mut reading = JoinSet::new();
        reading.spawn(read(output, Arc::clone(&seen)));
        Ok(Program {
            seen,
            child,
            _reading: reading,
        })
    }

    /// All it has told; fails when it has ended or printed nonsense.
    pub fn seen(&mut self) -> Result<Vec<Seen>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the program ended with {status}");
        }
        let seen = self.seen.lock().expect("no holder panics").clone();
        if let Some(Seen::Unreadable(line)) =
            seen.iter().find(|seen| matches!(seen, Seen::Unreadable(_)))
        {
            bail!("the program printed {line:?}");
        }
        Ok(seen)
    }

    /// All events it has told: those that were published, and Sluice's own.
    pub fn events(&mut self) -> Result<(Vec<Event>, Vec<Event>)> {
        let events = self.seen()?.into_iter().filter_map(|seen| match seen {
            Seen::Event(event) => Some(event),
            Seen::Open | Seen::Error(_) | Seen::Closed | Seen::Unreadable(_) => None,
        });
        Ok(events.partition(|event| !event.is_own()))
    }
}

async fn read(output: ChildStdout, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let told = match lines.next_line().await {
            Ok(Some(line)) => parse(&line).unwrap_or(Seen::Unreadable(line)),
            Ok(None) => return,
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        seen.lock().expect("no holder panics").push(told);
    }
}

fn parse(line: &str) -> Option<Seen> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(match value["kind"].as_str()? {
        "open" => Seen::Open,
        "closed" => Seen::Closed,
        "error" => Seen::Error(text("text").unwrap_or_default()),
        "event" => Seen::Event(Event {
            kind: text("type")?,
            id: text("id")?,
            data: text("data")?,
        }),
        _ => return None,
    })
}

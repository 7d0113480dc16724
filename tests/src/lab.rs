//! One scenario's bench: its own folder, ports and processes, and a share of the machine. Refuses to run more
//! scenarios at once than two cores carry.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    node::{Node, NodeSettings},
    proxy::Proxy,
    redis::RedisServer,
};

/// How much of the machine all running scenarios may take together.
const CAPACITY: u32 = 2;
static SHARES: Semaphore = Semaphore::const_new(CAPACITY as usize);

/// Lines of each process's log that a failure shows.
const TAIL_LINES: usize = 40;

/// Ports handed out: below the kernel's ephemeral range, so that no outgoing connection takes one between
/// our look at it and its use, or while its process is down for a restart.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// How much of the machine one scenario needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weight {
    /// Runs beside one other light scenario.
    Light,
    /// Measures time or loads both cores: runs alone.
    Heavy,
}

/// A scenario's folder; hands out processes that log into it and die with the scenario.
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
}

/// Runs one scenario to its end or to `limit`. Panics on failure, with the tail of every process's log.
pub async fn run(weight: Weight, limit: Duration, scenario: impl AsyncFnOnce(&Lab) -> Result<()>) {
    let shares = match weight {
        Weight::Light => 1,
        Weight::Heavy => CAPACITY,
    };
    let _shares = SHARES
        .acquire_many(shares)
        .await
        .expect("the semaphore is never closed");
    let lab = Lab::new().expect("a temporary folder");
    let failure = match timeout(limit, scenario(&lab)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("the scenario did not end within {limit:?}"),
    };
    panic!("{failure}\n{}", lab.log_tails());
}

impl Lab {
    /// A bench in a fresh folder.
    pub fn new() -> Result<Lab> {
        Ok(Lab {
            dir: tempfile::tempdir().context("making a scenario's folder")?,
        })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a redis-server of this scenario's own.
    pub async fn redis(&self) -> Result<RedisServer> {
        RedisServer::start(self.dir()).await
    }

    /// Starts a fault proxy before a redis-server: it knows Redis's frames and can drop single messages.
    pub async fn proxy(&self, redis: &RedisServer) -> Result<Proxy> {
        Proxy::before_redis(redis.addr()).await
    }

    /// Starts a gateway that reaches Redis at `redis_url` and waits until it is ready.
    pub async fn node(&self, name: &str, redis_url: &str, settings: NodeSettings) -> Result<Node> {
        let mut node = Node::spawn(self.dir(), name, redis_url, settings)?;
        node.until_ready().await?;
        Ok(node)
    }

    /// Starts `count` gateways alike, named `n0`, `n1`, …, and waits until all are ready.
    pub async fn nodes(
        &self,
        count: usize,
        redis_url: &str,
        settings: &NodeSettings,
    ) -> Result<Vec<Node>> {
        let mut nodes: Vec<Node> = (0..count)
            .map(|n| Node::spawn(self.dir(), &format!("n{n}"), redis_url, settings.clone()))
            .collect::<Result<_>>()?;
        for node in &mut nodes {
            node.until_ready().await?;
        }
        Ok(nodes)
    }

    /// The last lines of every process's log, for a failure to show.
    pub fn log_tails(&self) -> String {
        let mut logs: Vec<PathBuf> = fs::read_dir(self.dir())
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        logs.iter().map(|path| tail(path)).collect()
    }
}

fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!(
        "--- {name}\n{}\n",
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    )
}

/// A port of the loopback that nobody listens on, not handed out before by this process.
pub fn free_port() -> Result<u16> {
    let span = PORTS.end - PORTS.start;
    // Test binaries that run side by side start at different places.
    let base =
        u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(span)).unwrap_or_default();
    for _ in 0..span {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % span;
        let port = PORTS.start + ((u32::from(base) + u32::from(step)) % u32::from(span)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}

//! The ground of every attack: a gateway, readers that must get everything while it lasts, and a watch over the
//! gateway's memory.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_e2e::{
    client::Client,
    lab::Lab,
    node::{Node, NodeSettings},
    process::resident_bytes,
    publisher::Flow,
};
use tokio::{task::JoinSet, time::interval};

use crate::stage::Stage;

/// The healthy readers, over two channels.
const READERS: usize = 6;
/// Every so often one of their events is published.
const PACE: Duration = Duration::from_millis(10);
/// Between two looks at the gateway's memory.
const LOOK: Duration = Duration::from_millis(20);
/// What one attack may add to the log, but for the one line of each stream's end: a line for each wrong request would
/// fill a disk.
const LOG_BYTES: usize = 64 * 1024;
pub const MIB: u64 = 1024 * 1024;

/// A gateway under attack.
pub struct Ground {
    pub stage: Stage,
    readers: Vec<Client>,
    flow: Flow,
    memory: Memory,
}

/// What an attack has cost.
#[derive(Debug)]
pub struct Cost {
    /// Resident memory before the attack, and the most it took.
    pub before: u64,
    pub most: u64,
    /// Events that the healthy readers got, all of them together.
    pub delivered: usize,
}

impl Ground {
    /// One gateway with these settings, its readers and their events.
    pub async fn new(lab: &Lab, settings: &NodeSettings) -> Result<Ground> {
        let stage = Stage::new(lab, 1, 2, settings).await?;
        let readers = stage.clients(READERS).await?;
        let flow = stage.publisher.flow(&stage.channels, PACE);
        let memory = Memory::watch(stage.nodes[0].pid()?)?;
        Ok(Ground {
            stage,
            readers,
            flow,
            memory,
        })
    }

    pub fn node(&self) -> &Node {
        &self.stage.nodes[0]
    }

    pub fn http(&self) -> SocketAddr {
        self.node().http()
    }

    /// Ends it: every reader has got everything on its first connection, the gateway lives, has not panicked or complained, and
    /// its memory never grew by more than `cap` bytes.
    pub async fn finish(self, lab: &Lab, cap: u64) -> Result<Cost> {
        self.flow.stop().await?;
        let report = self.stage.whole(&self.readers).await?;
        let again = self
            .readers
            .iter()
            .filter(|reader| reader.log().asked() != 1);
        ensure!(again.count() == 0, "a healthy reader had to come again");
        ensure!(
            report.delivered > 0,
            "nothing was delivered, so nothing is proved"
        );
        ensure!(
            self.stage.nodes[0].is_ready().await,
            "the gateway is no longer ready"
        );
        let log = lab.dir().join(format!("{}.log", self.stage.nodes[0].name));
        let text = fs::read_to_string(log)?;
        for word in ["panicked", " ERROR "] {
            let line = text.lines().find(|line| line.contains(word));
            ensure!(
                line.is_none(),
                "the gateway's log says {}",
                line.unwrap_or_default()
            );
        }
        let others = text.lines().filter(|line| !line.contains("stream ended"));
        let bytes: usize = others.map(str::len).sum();
        ensure!(bytes <= LOG_BYTES, "the log has {bytes} bytes");
        let (before, most) = self.memory.seen();
        let grown = most.saturating_sub(before);
        ensure!(
            grown <= cap,
            "resident memory grew by {} MiB, more than {} MiB",
            grown / MIB,
            cap / MIB
        );
        Ok(Cost {
            before,
            most,
            delivered: report.delivered,
        })
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "memory {} to {} MiB at most; {} events to {READERS} healthy readers, each exactly once",
            self.before / MIB,
            self.most / MIB,
            self.delivered
        )
    }
}

/// Looks at a process's resident memory for as long as it lives.
struct Memory {
    before: u64,
    most: Arc<AtomicU64>,
    _watch: JoinSet<()>,
}

impl Memory {
    fn watch(pid: u32) -> Result<Memory> {
        let before = resident_bytes(pid).context("the gateway's memory")?;
        let most = Arc::new(AtomicU64::new(before));
        let mut watch = JoinSet::new();
        let seen = Arc::clone(&most);
        watch.spawn(async move {
            let mut looks = interval(LOOK);
            while let Ok(bytes) = resident_bytes(pid) {
                seen.fetch_max(bytes, Ordering::Relaxed);
                looks.tick().await;
            }
        });
        Ok(Memory {
            before,
            most,
            _watch: watch,
        })
    }

    fn seen(&self) -> (u64, u64) {
        (self.before, self.most.load(Ordering::Relaxed))
    }
}

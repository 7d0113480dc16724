//! A stream over TLS and HTTP/2, as browsers have it, read by curl.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sluice_e2e::wait;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running curl; ends when dropped.
pub struct OverH2 {
    body: PathBuf,
    child: Child,
}

impl OverH2 {
    /// Opens a stream at the load balancer's listener with TLS, and waits until a node has opened it.
    pub async fn open(dir: &Path, tls: SocketAddr, channel: &str) -> Result<OverH2> {
        let file = |kind: &str| dir.join(format!("curl-{}.{kind}", tls.port()));
        let (head, body) = (file("head"), file("body"));
        let child = Command::new("curl")
            .args(["--silent", "--no-buffer", "--http2", "--insecure"])
            .args(["--header", "Accept: text/event-stream"])
            .arg("--dump-header")
            .arg(&head)
            .arg("--output")
            .arg(&body)
            .arg(format!("https://{tls}/v1/events?channel={channel}"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting curl: is it installed? `make setup` does it")?;
        let mut stream = OverH2 { body, child };
        wait::until(PATIENCE, "curl's stream is open", async || {
            if let Some(status) = stream.ended()? {
                bail!("curl ended before its stream was open: {status}");
            }
            Ok(stream.text().contains("event: sluice.open").then_some(()))
        })
        .await?;
        let head = fs::read_to_string(head)?;
        ensure!(head.starts_with("HTTP/2 200"), "curl was told {head}");
        Ok(stream)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// All that has come.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.body).unwrap_or_default()
    }
}

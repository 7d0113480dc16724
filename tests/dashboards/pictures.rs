//! The pictures of docs/dashboards.md: the same play, drawn by the preview page in Chromium.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_e2e::lab::{self, Weight};
use tokio::process::Command;

use crate::{played, root};

const LIMIT: Duration = Duration::from_secs(300);
/// Calm time after the faults, so that there is something beside them.
const CALM: Duration = Duration::from_secs(45);

#[tokio::test]
#[ignore = "takes the pictures of the documents: make dashboard-pictures"]
async fn take_the_pictures() {
    lab::run(Weight::Heavy, LIMIT, async |lab| {
        let (play, prometheus) = played(lab).await?;
        until_calm(&prometheus).await?;
        let folder = root().join("target/dashboard-pictures");
        let status = Command::new("node")
            .arg(root().join("tests/browser/dashboards.mjs"))
            .arg(prometheus.url())
            .arg(&folder)
            .stdin(Stdio::null())
            .status()
            .await
            .context("starting node")?;
        ensure!(status.success(), "the pictures failed: {status}");
        drop(play);
        Ok(())
    })
    .await;
}

/// Waits until Prometheus has watched for so long without the node being drained.
async fn until_calm(prometheus: &crate::prometheus::Prometheus) -> Result<()> {
    let calm = format!(
        "min(time() - process_start_time_seconds{{job=\"sluice\"}}) > {}",
        CALM.as_secs()
    );
    sluice_e2e::wait::until(CALM * 2, "it is calm", async || {
        Ok((!prometheus.now(&calm).await?.is_empty()).then_some(()))
    })
    .await
}

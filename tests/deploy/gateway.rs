//! Whether a gateway serves: events published over HTTP come out of a stream, in order, those from before and those from now.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_e2e::{http, node::Node, wait};

use crate::tools::sluice;

/// Publishes `count` events over HTTP on `channel` and gives the answers' positions.
async fn publish(node: &Node, channel: &str, count: usize, from: usize) -> Result<()> {
    for number in from..from + count {
        let path = format!("/v1/channels/{channel}/events");
        let answer = http::post(node.http(), &path, "", &number.to_string()).await?;
        let status = answer.head.status;
        ensure!(
            (200..300).contains(&status),
            "publish: {status} {}",
            answer.body
        );
    }
    Ok(())
}

/// A stream has what was there before it and what comes after.
pub async fn serves(node: &Node, channel: &str) -> Result<()> {
    publish(node, channel, 3, 0).await?;
    let url = format!("http://{}", node.http());
    let words = [
        "tail",
        channel,
        "--gateway",
        &url,
        "--last",
        "100",
        "--count",
        "5",
    ];
    let tail = sluice(&words);
    let live = async {
        wait::until(Duration::from_secs(10), "the stream is open", async || {
            let open = node.metrics().await?.total("sluice_connections");
            Ok((open == 1.0).then_some(()))
        })
        .await?;
        publish(node, channel, 2, 3).await
    };
    let (tail, live) = tokio::join!(tail, live);
    live?;
    let lines = tail?.output().context("sluice tail")?;
    ensure!(lines == "0\n1\n2\n3\n4\n", "the stream had {lines:?}");
    Ok(())
}

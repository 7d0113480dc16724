//! deploy/redis/standalone.conf.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::{
    gateway,
    server::{PROMISED, Server},
    tools::sluice,
};

/// What `sluice doctor` says in the end, and each finding that is not plainly good.
async fn complaints(words: &[&str]) -> Result<Vec<String>> {
    let ended = sluice(&[&["doctor", "--json"], words].concat()).await?;
    let lines: Vec<Value> = ended
        .output
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        lines.len() > 10,
        "doctor looked at little: {}",
        ended.output
    );
    let bad = lines
        .iter()
        .filter(|line| line["status"].is_string() && line["status"] != "ok");
    Ok(bad.map(Value::to_string).collect())
}

/// Every line of the files is in force; a gateway serves over it; doctor has nothing to say, not even a note; and a killed
/// server comes back with all that it had acknowledged.
#[tokio::test]
async fn the_standalone_file_holds_what_it_promises_and_a_gateway_serves_over_it() {
    lab::run(Weight::Light, Duration::from_secs(90), async |lab| {
        let mut redis = Server::start(lab.dir(), "standalone.conf", &[], &[]).await?;
        redis.keeps_its_file(&PROMISED).await?;
        let node = lab
            .node("n0", &redis.url(), NodeSettings::default())
            .await?;
        gateway::serves(&node, "orders").await?;
        let found = complaints(&["--redis", &redis.url()]).await?;
        ensure!(found.is_empty(), "doctor complains: {found:#?}");
        // Were it blind, the line above would prove nothing.
        let () = redis
            .command(&[
                "CONFIG",
                "SET",
                "client-output-buffer-limit",
                "pubsub 32mb 8mb 60",
            ])
            .await?;
        let found = complaints(&["--redis", &redis.url()]).await?;
        ensure!(
            found.len() == 1 && found[0].contains("redis_pubsub_buffer"),
            "{found:#?}"
        );

        let before: Vec<redis::Value> = redis
            .command(&["XRANGE", "sluice:{orders}:s", "-", "+"])
            .await?;
        redis.kill().await?;
        redis.start_again().await?;
        let after: Vec<redis::Value> = redis
            .command(&["XRANGE", "sluice:{orders}:s", "-", "+"])
            .await?;
        ensure!(
            before.len() == 5 && before == after,
            "{before:?} became {after:?}"
        );
        Ok(())
    })
    .await;
}

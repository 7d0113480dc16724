//! A node's report: written and taken away together with its place in the index, which heals what a failure in between leaves.

use std::time::Duration;

use redis::Pipeline;

use super::data::DataLink;
use super::parse;
use crate::broker::reports::Report;
use crate::reasons::RedisCommand;

/// How long the index outlives the last report: as long as the longest lasts, three times the longest interval.
const INDEX_LASTING_MS: u64 = 3 * 60 * 1_000;

impl DataLink {
    /// Redis's time, for a report. Whoever may not ask for it is told in Redis's words.
    pub(in crate::broker) async fn report_time(&self) -> Result<u64, String> {
        let reply = self
            .run(RedisCommand::Time, async |connection| {
                redis::cmd("TIME").query_async(connection).await
            })
            .await;
        reply
            .and_then(parse::time)
            .map_err(|error| error.to_string())
    }

    /// Writes a report that expires after `lasting`, and forgets who has not reported in time.
    pub(in crate::broker) async fn write_report(
        &self,
        report: &Report<'_>,
        lasting: Duration,
    ) -> Result<(), String> {
        let text = serde_json::to_string(report).map_err(|error| error.to_string())?;
        let lasting = u64::try_from(lasting.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let index = self.keys.reports();
        let mut pipeline = Pipeline::with_capacity(4);
        let set = pipeline.cmd("SET").arg(self.keys.report(report.node));
        set.arg(text).arg("PX").arg(lasting).ignore();
        let heal = pipeline.cmd("ZREMRANGEBYSCORE").arg(&index);
        heal.arg("-inf").arg(report.at).ignore();
        let add = pipeline.cmd("ZADD").arg(&index);
        add.arg(report.at.saturating_add(lasting))
            .arg(report.node)
            .ignore();
        let expire = pipeline.cmd("PEXPIRE").arg(&index);
        expire.arg(INDEX_LASTING_MS).ignore();
        self.send(&pipeline).await
    }

    /// Takes a node's report away.
    pub(in crate::broker) async fn delete_report(&self, node: &str) -> Result<(), String> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("DEL").arg(self.keys.report(node)).ignore();
        let remove = pipeline.cmd("ZREM").arg(self.keys.reports());
        remove.arg(node).ignore();
        self.send(&pipeline).await
    }

    async fn send(&self, pipeline: &Pipeline) -> Result<(), String> {
        self.run(RedisCommand::Report, async |connection| {
            pipeline.query_async(connection).await
        })
        .await
        .map_err(|error| error.to_string())
    }
}

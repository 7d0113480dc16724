//! Looks for pages of history, which unlike the reads of the core create no head; and the time.

use std::time::Instant;

use redis::{RedisError, RedisResult, Value};
use sluice_wire::look::{self, Entries};

use super::data::{DataError, DataLink};
use super::parse;
use crate::broker::history::{Glance, Look, LookError, Span};
use crate::reasons::RedisCommand;

impl DataLink {
    /// One atomic look at a channel.
    pub(in crate::broker) async fn glance(&self, glance: &Glance) -> Result<Look, LookError> {
        let entries = match glance.span {
            Span::From(id) => Entries::from(id, glance.count),
            Span::After(id) => Entries::after(id, glance.count),
            Span::Newest => Entries::newest(glance.count),
            Span::Before(id) => Entries::before(id, glance.count),
        };
        let words = look::words(&self.keys, &glance.channel, entries, glance.confirm);
        let mut command = redis::cmd(look::COMMAND);
        command.arg(words);
        let reply = self
            .run(RedisCommand::History, async |connection| {
                command.query_async(connection).await
            })
            .await;
        let reply: RedisResult<Value> = match reply {
            Ok(reply) => Ok(reply),
            Err(DataError::Command(error)) if is_about_the_keys(&error) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "a look at a history failed");
                return Err(LookError::Unavailable);
            }
        };
        self.readable(&glance.channel, reply, Look::parse)
            .ok_or(LookError::Unreadable)
    }

    /// Redis's clock in Unix milliseconds; the node's follows it.
    pub(in crate::broker) async fn time(&self) -> Result<u64, LookError> {
        let asked = Instant::now();
        let reply = self
            .run(RedisCommand::Time, async |connection| {
                redis::cmd("TIME").query_async(connection).await
            })
            .await;
        let time = reply.and_then(parse::time).map_err(|error| {
            tracing::debug!(%error, "Redis did not tell the time");
            LookError::Unavailable
        })?;
        self.clock.correct(time, asked.elapsed());
        Ok(time)
    }
}

/// Errors of Redis that say nothing about the keys and pass.
const PASSING: [&str; 6] = [
    "LOADING",
    "MASTERDOWN",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "OOM",
];

fn is_about_the_keys(error: &RedisError) -> bool {
    error.code().is_some_and(|code| !PASSING.contains(&code))
}

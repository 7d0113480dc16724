//! Looks for pages of history, which unlike the reads of the core create no head; and the time.

use std::time::Instant;

use redis::{Pipeline, RedisResult, Value};

use super::data::{DataError, DataLink};
use super::parse;
use crate::broker::history::{Glance, Look, LookError, Span};

impl DataLink {
    /// One atomic look at a channel.
    pub(in crate::broker) async fn glance(&self, glance: &Glance) -> Result<Look, LookError> {
        let mut pipeline = Pipeline::with_capacity(5);
        pipeline.ignore_errors();
        self.add_glance(glance, &mut pipeline);
        let replies: Result<Vec<RedisResult<Value>>, DataError> = self
            .run(async |connection| pipeline.query_async(connection).await)
            .await;
        let replies = replies.map_err(|error| {
            tracing::debug!(%error, "a look at a history failed");
            LookError::Unavailable
        })?;
        // What was refused on its way in says why; otherwise the last reply, EXEC's, is the look.
        let refused = replies.iter().position(Result::is_err);
        let telling = refused.unwrap_or(replies.len().saturating_sub(1));
        let executed = replies.into_iter().nth(telling);
        let executed = executed.ok_or(LookError::Unavailable)?;
        if let Err(error) = &executed
            && error.code().is_some_and(|code| PASSING.contains(&code))
        {
            tracing::debug!(%error, "a look at a history failed");
            return Err(LookError::Unavailable);
        }
        self.readable(&glance.channel, executed, Look::parse)
            .ok_or(LookError::Unreadable)
    }

    fn add_glance(&self, glance: &Glance, pipeline: &mut Pipeline) {
        let stream = self.keys.stream(&glance.channel);
        pipeline.cmd("MULTI");
        pipeline.cmd("GET").arg(self.keys.head(&glance.channel));
        let (command, from, to) = match glance.span {
            Span::From(id) => ("XRANGE", id.to_string(), "+".to_owned()),
            Span::After(id) => ("XRANGE", format!("({id}"), "+".to_owned()),
            Span::Newest => ("XREVRANGE", "+".to_owned(), "-".to_owned()),
            Span::Before(id) => ("XREVRANGE", format!("({id}"), "-".to_owned()),
        };
        let entries = pipeline.cmd(command).arg(&stream).arg(from).arg(to);
        entries.arg("COUNT").arg(glance.count);
        if glance.confirm {
            let oldest = pipeline.cmd("XRANGE").arg(&stream).arg("-").arg("+");
            oldest.arg("COUNT").arg(1);
        }
        pipeline.cmd("EXEC");
    }

    /// Redis's clock in Unix milliseconds; the node's follows it.
    pub(in crate::broker) async fn time(&self) -> Result<u64, LookError> {
        let asked = Instant::now();
        let reply = self
            .run(async |connection| redis::cmd("TIME").query_async(connection).await)
            .await;
        let time = reply.and_then(parse::time).map_err(|error| {
            tracing::debug!(%error, "Redis did not tell the time");
            LookError::Unavailable
        })?;
        self.clock.correct(time, asked.elapsed());
        Ok(time)
    }
}

/// Errors that say nothing about the keys.
const PASSING: [&str; 5] = ["LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN"];

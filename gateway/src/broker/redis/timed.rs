//! How long Redis takes to answer, and how often it does not, by what was asked of it.

use std::time::Instant;

use redis::{RedisError, RedisResult};

use crate::metrics::BrokerMetrics;
use crate::reasons::RedisCommand;

/// Counts commands. A clone counts into the same metrics.
#[derive(Clone)]
pub(super) struct Timed(BrokerMetrics);

impl Timed {
    pub(super) fn new(metrics: BrokerMetrics) -> Timed {
        Timed(metrics)
    }

    /// Measures how long something takes, also when it is given up: the time until it is dropped.
    pub(super) async fn round_trip<T>(
        &self,
        class: RedisCommand,
        commands: impl Future<Output = T>,
    ) -> T {
        let _running = Running {
            timed: self,
            class,
            since: Instant::now(),
        };
        commands.await
    }

    /// Measures a round trip, and counts its failure.
    pub(super) async fn counted<T>(
        &self,
        class: RedisCommand,
        commands: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let result = self.round_trip(class, commands).await;
        result.inspect_err(|error| self.failed(class, error))
    }

    /// Counts an error, if it is one and not an answer.
    pub(super) fn failed(&self, class: RedisCommand, error: &RedisError) {
        if !is_an_answer(error) {
            self.unanswered(class);
        }
    }

    /// Counts a pipeline of which Redis has refused a part.
    pub(super) fn partly_failed<T>(&self, class: RedisCommand, replies: &[RedisResult<T>]) {
        if replies.iter().any(Result::is_err) {
            self.unanswered(class);
        }
    }

    /// Counts what was not answered at all.
    pub(super) fn unanswered(&self, class: RedisCommand) {
        self.0.command_errors.of(class).inc();
    }
}

struct Running<'a> {
    timed: &'a Timed,
    class: RedisCommand,
    since: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let histogram = self.timed.0.command_seconds.of(self.class);
        histogram.observe(self.since.elapsed().as_secs_f64());
    }
}

/// A script that is not loaded yet and is sent in full next, a rule of our own scripts that an event breaks, and a library
/// that is absent and loaded next: none of them is Redis's failure.
fn is_an_answer(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
        || error.code() == Some("SLUICE")
        || error.to_string().contains("Function not found")
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn error(line: &str) -> RedisError {
        match parse_redis_value(line.as_bytes()).and_then(redis::Value::extract_error) {
            Ok(value) => panic!("{value:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn what_the_protocol_expects_is_no_failure_of_redis() {
        for line in [
            "-NOSCRIPT No matching script. Please use EVAL.\r\n",
            "-SLUICE bad_event_type no such type\r\n",
            "-ERR Function not found\r\n",
        ] {
            assert!(is_an_answer(&error(line)), "{line}");
        }
        for line in [
            "-OOM command not allowed\r\n",
            "-LOADING Redis is loading\r\n",
            "-ERR unknown command\r\n",
            "-NOPERM no permissions\r\n",
        ] {
            assert!(!is_an_answer(&error(line)), "{line}");
        }
        assert!(!is_an_answer(&std::io::Error::other("gone").into()));
    }
}

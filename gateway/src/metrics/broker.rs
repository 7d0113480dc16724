//! The connections to Redis, and what is sent over them.

use prometheus::{Gauge, IntCounter, IntGauge};

use super::ROUND_TRIPS;
use super::kinds::{Counters, Histograms, metrics};
use crate::reasons::RedisCommand;

metrics! {
    /// Redis as this node sees it.
    pub struct BrokerMetrics {
        /// 1 while the subscriber connection stands.
        pub connected: IntGauge = "sluice_redis_connected",
        /// Times the subscriber connection was replaced.
        pub reconnects: IntCounter = "sluice_redis_reconnects_total",
        /// Time since the subscriber connection last said anything.
        pub silence_seconds: Gauge = "sluice_redis_silence_seconds",
        /// Channels whose head differed from this node's at an audit.
        pub audit_findings: IntCounter = "sluice_audit_findings_total",
        /// Time that a command or pipeline to Redis takes, the wait for a connection and failures included, by class.
        pub command_seconds: Histograms<RedisCommand> = "sluice_redis_command_duration_seconds" by "class" in ROUND_TRIPS,
        /// Commands and pipelines that Redis did not answer, or answered with an error, by class.
        pub command_errors: Counters<RedisCommand> = "sluice_redis_command_errors_total" by "class",
    }
}

//! What a check found: a stable code, how bad it is, what was seen and what to do.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It works, and will fail under load, a restart or a slow client.
    Warning,
    /// It does not work, or loses events.
    Problem,
    /// Nobody looked: the reason is in what was seen.
    Skipped,
}

impl Status {
    /// Every status, in the order of a summary.
    pub const ALL: [Status; 5] = [
        Status::Ok,
        Status::Note,
        Status::Warning,
        Status::Problem,
        Status::Skipped,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Warning => "warning",
            Status::Problem => "problem",
            Status::Skipped => "skipped",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $text:literal,)+) => {
        /// Names a check; never changes its meaning. Each is explained in docs/doctor.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($name,)+ }

        impl Code {
            /// Every code there is, in the order of a report.
            pub const ALL: &[Code] = &[$(Code::$name,)+];

            pub const fn label(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }
        }
    };
}

codes! {
    RedisReachable = "redis_reachable",
    RedisVersion = "redis_version",
    RedisMode = "redis_mode",
    RedisRole = "redis_role",
    RedisEviction = "redis_eviction",
    RedisPubsubBuffer = "redis_pubsub_buffer",
    RedisFunction = "redis_function",
    RedisPublishRights = "redis_publish_rights",
    RedisNodeRights = "redis_node_rights",
    RedisPersistence = "redis_persistence",
    RedisReplicas = "redis_replicas",
    RedisMemory = "redis_memory",
    RedisClock = "redis_clock",
    RedisLatency = "redis_latency",
    GatewayReachable = "gateway_reachable",
    GatewayIdentity = "gateway_identity",
    GatewayAccess = "gateway_access",
    GatewayProxy = "gateway_proxy",
    GatewayHttp1 = "gateway_http1",
    GatewayHttp2 = "gateway_http2",
    GatewayHeaders = "gateway_headers",
    GatewayCompression = "gateway_compression",
    GatewayFirstByte = "gateway_first_byte",
    GatewayPublish = "gateway_publish",
    GatewayDelivery = "gateway_delivery",
    GatewayReplay = "gateway_replay",
    GatewayQuiet = "gateway_quiet",
    GatewayCors = "gateway_cors",
    GatewayBroker = "gateway_broker",
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// The outcome of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub code: Code,
    pub status: Status,
    /// What was seen, in one sentence.
    pub seen: String,
    /// The command or setting that mends it.
    #[serde(rename = "do")]
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(code: Code, seen: impl Into<String>) -> Finding {
        Finding {
            code,
            status: Status::Ok,
            seen: seen.into(),
            advice: None,
        }
    }

    pub fn note(code: Code, seen: impl Into<String>) -> Finding {
        Finding {
            status: Status::Note,
            ..Finding::ok(code, seen)
        }
    }

    pub fn skipped(code: Code, why: impl Into<String>) -> Finding {
        Finding {
            status: Status::Skipped,
            ..Finding::ok(code, why)
        }
    }

    pub fn warning(code: Code, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            status: Status::Warning,
            ..Finding::ok(code, seen).advise(advice)
        }
    }

    pub fn problem(code: Code, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            status: Status::Problem,
            ..Finding::ok(code, seen).advise(advice)
        }
    }

    /// The same with what to do.
    pub fn advise(self, advice: impl Into<String>) -> Finding {
        Finding {
            advice: Some(advice.into()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/doctor.md");

    #[test]
    fn every_code_is_documented_once_and_no_other() {
        let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let known: Vec<&str> = Code::ALL.iter().map(|code| code.label()).collect();
        assert_eq!(documented, known, "docs/doctor.md against the codes");
    }
}

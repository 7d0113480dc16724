//! How the server is set up: eviction, the limit of subscribers' buffers, persistence, replicas, memory.

use std::collections::HashMap;

use bytesize::ByteSize;

use super::{Facts, Server, fact, number};
use crate::doctor::finding::{Code, Finding};

/// What docs/operations.md asks for.
const GOOD_HARD: u64 = 256 * 1024 * 1024;
const GOOD_SOFT: u64 = 64 * 1024 * 1024;
/// Redis's own default; less than that cuts subscribers in ordinary traffic.
const DEFAULT_HARD: u64 = 32 * 1024 * 1024;
/// Shares of the memory, in percent.
const MEMORY_HIGH: u64 = 75;
const MEMORY_FULL: u64 = 90;

pub fn eviction(facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisEviction;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    match fact(facts, "maxmemory_policy") {
        "noeviction" => Finding::ok(CODE, "maxmemory-policy is noeviction"),
        "" => Finding::skipped(CODE, "INFO names no maxmemory_policy"),
        policy => Finding::problem(
            CODE,
            format!(
                "maxmemory-policy is {policy}: Redis may delete a channel's head, and its readers are told state_lost"
            ),
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        ),
    }
}

pub async fn pubsub_buffer(server: &mut Server) -> Finding {
    const CODE: Code = Code::RedisPubsubBuffer;
    const ADVICE: &str = "CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\", and the same in redis.conf";
    let text = match server.setting("client-output-buffer-limit").await {
        Ok(text) => text,
        Err(trouble) => {
            let skipped = trouble.skips(CODE, "CONFIG GET client-output-buffer-limit");
            return skipped.advise("see that your provider's parameter client-output-buffer-limit is `pubsub 256mb 64mb 60`");
        }
    };
    let words: Vec<&str> = text.split(' ').collect();
    let limits = words
        .iter()
        .position(|word| *word == "pubsub")
        .and_then(|at| {
            let number = |offset: usize| words.get(at + offset)?.parse::<u64>().ok();
            Some((number(1)?, number(2)?, number(3)?))
        });
    let Some((hard, soft, seconds)) = limits else {
        return Finding::skipped(CODE, format!("`{text}` has no limit of pubsub"));
    };
    let shown = format!("{} at once, {} for {seconds} s", size(hard), size(soft));
    let is_low = |limit: u64, low: u64| limit != 0 && limit < low;
    if is_low(hard, DEFAULT_HARD) {
        return Finding::problem(
            CODE,
            format!(
                "{shown}: gateways are cut off in ordinary traffic, and messages to them are lost"
            ),
            ADVICE,
        );
    }
    if is_low(hard, GOOD_HARD) || is_low(soft, GOOD_SOFT) {
        return Finding::warning(
            CODE,
            format!(
                "{shown}: a burst cuts gateways off; they heal, but each time all channels are read again"
            ),
            ADVICE,
        );
    }
    Finding::ok(CODE, shown)
}

fn size(bytes: u64) -> String {
    if bytes == 0 {
        return "unlimited".into();
    }
    ByteSize::b(bytes).to_string()
}

pub async fn persistence(server: &mut Server, facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisPersistence;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    let failed = |name: &str| fact(facts, name) == "err";
    if failed("aof_last_write_status")
        || failed("aof_last_bgrewrite_status")
        || failed("rdb_last_bgsave_status")
    {
        return Finding::problem(
            CODE,
            "the last write to disk failed; Redis may refuse every publish (MISCONF) until one succeeds",
            "free space on Redis's disk and see its log, then BGSAVE",
        );
    }
    if fact(facts, "aof_enabled") == "1" {
        return append_only(server).await;
    }
    const ADVICE: &str = "CONFIG SET appendonly yes, and the same in redis.conf";
    match server.setting("save").await {
        Ok(points) if points.is_empty() => Finding::warning(
            CODE,
            "nothing is kept on disk: after a restart of Redis every channel begins anew, and every reader is told state_lost",
            ADVICE,
        ),
        Ok(points) => Finding::warning(
            CODE,
            format!(
                "snapshots only (save {points}): a restart goes back to the last one, and readers are told rollback"
            ),
            ADVICE,
        ),
        Err(trouble) => Finding::warning(
            CODE,
            format!(
                "no append-only file, and whether there are snapshots was not answered ({}): a restart may lose every channel's state (state_lost)",
                trouble.text()
            ),
            "turn on the append-only file in your provider's settings",
        ),
    }
}

async fn append_only(server: &mut Server) -> Finding {
    const CODE: Code = Code::RedisPersistence;
    match server.setting("appendfsync").await.as_deref() {
        Ok("no") => Finding::warning(
            CODE,
            "an append-only file that only the system flushes: a power failure may lose half a minute (rollback)",
            "CONFIG SET appendfsync everysec, and the same in redis.conf",
        ),
        Ok(sync) => Finding::ok(CODE, format!("append-only file, appendfsync {sync}")),
        Err(_) => Finding::ok(CODE, "append-only file"),
    }
}

pub async fn replicas(server: &mut Server, facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisReplicas;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    if fact(facts, "role") == "slave" {
        return Finding::skipped(
            CODE,
            "a replica has nothing to say about it; see redis_role",
        );
    }
    let connected = number(facts, "connected_slaves").unwrap_or_default();
    // INFO has this line only where the setting is not 0.
    let good = number(facts, "min_slaves_good_slaves");
    let wanted = server.setting("min-replicas-to-write").await;
    let wanted = wanted.ok().and_then(|text| text.parse::<u64>().ok());
    match (good, wanted) {
        (Some(good), Some(wanted)) if good < wanted => Finding::problem(
            CODE,
            format!("{good} replicas keep up and min-replicas-to-write is {wanted}: every publish is refused (NOREPLICAS)"),
            "start the replicas, or CONFIG SET min-replicas-to-write 0",
        ),
        (Some(0), None) => Finding::problem(
            CODE,
            "no replica keeps up and min-replicas-to-write is set: every publish is refused (NOREPLICAS)",
            "start the replicas, or set min-replicas-to-write to 0",
        ),
        (Some(good), _) => Finding::ok(CODE, format!("{good} of {connected} replicas keep up; without enough of them nothing is taken")),
        (None, _) if connected > 0 => Finding::note(
            CODE,
            format!("{connected} replicas and min-replicas-to-write 0: a failover can lose events that were acknowledged, unnoticed"),
        )
        .advise("CONFIG SET min-replicas-to-write 1, and the same in redis.conf"),
        (None, _) => Finding::ok(CODE, "no replicas; min-replicas-to-write is 0"),
    }
}

pub fn memory(facts: &Facts) -> Finding {
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(Code::RedisMemory, "INFO"),
    };
    match (number(facts, "used_memory"), number(facts, "maxmemory")) {
        (Some(used), Some(0)) => unlimited(facts, used),
        (Some(used), Some(most)) => limited(used, most),
        (None, _) | (_, None) => Finding::skipped(
            Code::RedisMemory,
            "INFO does not tell used_memory and maxmemory",
        ),
    }
}

fn limited(used: u64, most: u64) -> Finding {
    const CODE: Code = Code::RedisMemory;
    const ADVICE: &str = "CONFIG SET maxmemory to more; or keep less: history.max_events and history.ttl, then `sluice install-function --replace`";
    let percent = used.saturating_mul(100) / most;
    let shown = format!("{percent} % of {} in use", ByteSize::b(most));
    match percent {
        MEMORY_FULL.. => Finding::problem(
            CODE,
            format!("{shown}: publishes are refused (OOM) when it is full"),
            ADVICE,
        ),
        MEMORY_HIGH.. => Finding::warning(CODE, shown, ADVICE),
        _ => Finding::ok(CODE, shown),
    }
}

fn unlimited(facts: &HashMap<String, String>, used: u64) -> Finding {
    const CODE: Code = Code::RedisMemory;
    let used = ByteSize::b(used);
    let resident = number(facts, "used_memory_rss").unwrap_or_default();
    let machine = number(facts, "total_system_memory").unwrap_or_default();
    const ADVICE: &str = "CONFIG SET maxmemory to what the machine can spare: then Redis refuses events when full, instead of being killed";
    if machine > 0 && resident.saturating_mul(100) / machine >= MEMORY_FULL {
        return Finding::problem(
            CODE,
            format!(
                "{used} in use, without a limit, on a machine of {}",
                ByteSize::b(machine)
            ),
            ADVICE,
        );
    }
    Finding::note(CODE, format!("{used} in use, and maxmemory is not set")).advise(ADVICE)
}

//! What the server is: version, mode, role; its clock and how far away it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{Facts, Server, fact};
use crate::doctor::finding::{Code, Finding};

/// The oldest version with functions and sharded pub/sub.
const OLDEST_MAJOR: u32 = 7;
/// Questions per measurement.
const ROUNDS: usize = 9;
/// A clock that is off by less is not worth a word.
const CLOCK_NEAR: Duration = Duration::from_secs(1);
const LATENCY_NEAR: Duration = Duration::from_millis(10);
const LATENCY_FAR: Duration = Duration::from_millis(50);

pub fn version(facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisVersion;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    let text = fact(facts, "redis_version");
    let named = ["valkey", "dragonfly", "keydb"];
    let other = named.iter().find_map(|name| {
        let version = fact(facts, &format!("{name}_version"));
        (!version.is_empty()).then(|| format!("{name} {version}, which speaks as Redis {text}"))
    });
    let shown = other.unwrap_or_else(|| format!("Redis {text}"));
    match text
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok())
    {
        Some(major) if major >= OLDEST_MAJOR => Finding::ok(CODE, shown),
        Some(_) => Finding::problem(
            CODE,
            format!(
                "{shown} has no functions (FCALL), cannot check permissions before it writes, and has no sharded pub/sub"
            ),
            "upgrade to Redis 7.0 or newer",
        ),
        None => Finding::skipped(CODE, "INFO names no redis_version"),
    }
}

pub fn mode(facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisMode;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    match fact(facts, "redis_mode") {
        "standalone" => Finding::ok(CODE, "standalone"),
        "cluster" => Finding::problem(
            CODE,
            "this is a Redis Cluster, which this version of Sluice does not support yet",
            "use one primary, with replicas if you like (cluster-enabled no)",
        ),
        "sentinel" => Finding::problem(
            CODE,
            "this is a Sentinel, not the server it watches; Sluice does not ask sentinels yet",
            "give the primary's address: SENTINEL GET-PRIMARY-ADDR-BY-NAME <name>",
        ),
        other => Finding::skipped(CODE, format!("INFO gives redis_mode as `{other}`")),
    }
}

pub fn role(facts: &Facts) -> Finding {
    const CODE: Code = Code::RedisRole;
    let facts = match facts {
        Ok(facts) => facts,
        Err(trouble) => return trouble.skips(CODE, "INFO"),
    };
    match fact(facts, "role") {
        "master" => Finding::ok(CODE, "primary"),
        "slave" => {
            let primary = format!(
                "{}:{}",
                fact(facts, "master_host"),
                fact(facts, "master_port")
            );
            Finding::problem(
                CODE,
                format!(
                    "this is a replica (of {primary}): it takes no events, and lags behind for readers"
                ),
                format!(
                    "give the primary's address, redis://{primary}; or make this one the primary: REPLICAOF NO ONE"
                ),
            )
        }
        other => Finding::skipped(CODE, format!("INFO gives the role as `{other}`")),
    }
}

/// This machine's clock against the server's, by the question with the shortest round trip.
pub async fn clock(server: &mut Server) -> Finding {
    const CODE: Code = Code::RedisClock;
    let mut best: Option<(Duration, f64)> = None;
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        let (seconds, micros): (u64, u64) = match server.ask(&["TIME"]).await {
            Ok(time) => time,
            Err(trouble) => return trouble.skips(CODE, "TIME"),
        };
        let round_trip = asked.elapsed();
        let theirs = Duration::from_secs(seconds) + Duration::from_micros(micros);
        let ours = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ahead = theirs.as_secs_f64() + round_trip.as_secs_f64() / 2.0 - ours.as_secs_f64();
        if best.is_none_or(|(shortest, _)| round_trip < shortest) {
            best = Some((round_trip, ahead));
        }
    }
    let (_, ahead) = best.unwrap_or_default();
    let off = Duration::from_secs_f64(ahead.abs());
    let side = if ahead < 0.0 { "behind" } else { "ahead of" };
    let shown = format!("it is {} {side} this machine", human(off));
    if off < CLOCK_NEAR {
        return Finding::ok(CODE, shown);
    }
    Finding::warning(
        CODE,
        format!(
            "{shown}; events are dated by Redis, so `since` and the age of events are off by as much"
        ),
        "run NTP (chrony, systemd-timesyncd) on both machines: timedatectl set-ntp true",
    )
}

pub async fn latency(server: &mut Server) -> Finding {
    const CODE: Code = Code::RedisLatency;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        if let Err(trouble) = server.ask::<String>(&["PING"]).await {
            return trouble.skips(CODE, "PING");
        }
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let median = times[ROUNDS / 2];
    let shown = format!("a round trip takes {}", human(median));
    if median >= LATENCY_FAR {
        return Finding::warning(
            CODE,
            format!("{shown}: every event waits for it, and catching up waits for several"),
            "run the gateways in Redis's own zone; if they are, look at SLOWLOG GET and LATENCY DOCTOR",
        );
    }
    if median >= LATENCY_NEAR {
        return Finding::note(CODE, format!("{shown}, measured from here"));
    }
    Finding::ok(CODE, shown)
}

/// A time in the unit that reads best.
pub fn human(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{} µs", time.as_micros())
    } else if time < Duration::from_secs(10) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", time.as_secs())
    }
}

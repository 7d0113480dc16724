//! What the checks leave in Redis, taken away. While a node still listens to a channel, it makes a head that it misses anew, for
//! as long as any channel's; so the head goes only after the node.

use std::time::Duration;

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use sluice_wire::Channel;
use tokio::time::{Instant, sleep, timeout};

use super::Patient;
use crate::args::RedisAddress;
use crate::redis_link;

/// How long nodes may go on listening after the last stream has ended: the gateway's `redis.linger` of 5 s, and some time.
const LISTENING: Duration = Duration::from_secs(8);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What becomes of the keys when nodes listen longer, or when we may not know.
const EXPIRE_MS: u64 = 60_000;

/// Deletes the keys of the doctor's own channels, where there is a Redis to do that in.
pub(super) async fn remove(patient: &Patient, channels: &[Channel]) {
    let Some(address) = &patient.redis else {
        return;
    };
    let deadline = Instant::now() + address.timeout;
    let connected = redis_link::connect(address, AsyncConnectionConfig::new(), deadline).await;
    // Findings have said it already if there is no such Redis.
    let Ok(mut connection) = connected else {
        return;
    };
    let keys: Vec<String> = channels
        .iter()
        .flat_map(|channel| [address.keys.stream(channel), address.keys.head(channel)])
        .collect();
    // First of all, in case we are stopped while we wait.
    expire(address, &keys, &mut connection).await;
    if are_left(address, channels, &mut connection).await {
        let mut delete = redis::cmd("DEL");
        delete.arg(&keys);
        drop(timeout(address.timeout, delete.exec_async(&mut connection)).await);
    } else {
        expire(address, &keys, &mut connection).await;
    }
}

async fn expire(address: &RedisAddress, keys: &[String], connection: &mut MultiplexedConnection) {
    let mut all = redis::pipe();
    for key in keys {
        all.cmd("PEXPIRE").arg(key).arg(EXPIRE_MS).ignore();
    }
    drop(timeout(address.timeout, all.exec_async(connection)).await);
}

/// Whether nobody listens to any of the channels within [`LISTENING`].
async fn are_left(
    address: &RedisAddress,
    channels: &[Channel],
    connection: &mut MultiplexedConnection,
) -> bool {
    let mut count = redis::cmd("PUBSUB");
    count.arg("NUMSUB");
    for channel in channels {
        count.arg(address.keys.topic(channel));
    }
    let until = Instant::now() + LISTENING;
    loop {
        let asked = count.query_async::<Vec<(String, u64)>>(connection);
        match timeout(address.timeout, asked).await {
            Ok(Ok(counts)) if counts.iter().all(|(_, listeners)| *listeners == 0) => return true,
            Ok(Ok(_)) if Instant::now() < until => sleep(LOOK_AGAIN).await,
            Ok(Ok(_) | Err(_)) | Err(_) => return false,
        }
    }
}

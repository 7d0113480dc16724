//! Places of subjects in Redis: taken by one atomic script, renewed many to a call, given back in a pipeline. All by the
//! clock of Redis.

use std::time::Duration;

use redis::Pipeline;

use super::data::{DataError, DataLink, Script};
use crate::broker::leases::{Place, Taken, Wish};
use crate::orders::ConnectionId;
use crate::reasons::RedisCommand;

/// What a node says of leases.
pub(super) struct LeaseScripts {
    take: Script,
    renew: Script,
}

impl LeaseScripts {
    pub(super) fn new() -> LeaseScripts {
        LeaseScripts {
            take: script(include_str!("take_lease.lua")),
            renew: script(include_str!("renew_leases.lua")),
        }
    }
}

impl DataLink {
    /// Takes a place for a connection.
    pub(in crate::broker) async fn take_lease(&self, wish: &Wish) -> Result<Taken, String> {
        let key = self.keys.lease(&wish.subject);
        let args = [
            wish.connection.to_string(),
            millis(wish.lasting),
            wish.most.to_string(),
            u8::from(wish.evicts).to_string(),
        ];
        let args = args.map(String::into_bytes);
        let reply = self.eval(&self.leases.take, std::slice::from_ref(&key), &args);
        let reply: Vec<String> = reply.await.map_err(|error| error.to_string())?;
        read_taken(key, reply).map_err(|error| error.to_string())
    }

    /// Holds places for as long again.
    pub(in crate::broker) async fn renew_leases(
        &self,
        places: &[Place],
        lasting: Duration,
    ) -> Result<(), String> {
        let keys: Vec<String> = places.iter().map(|place| place.key.clone()).collect();
        let members = places.iter().map(|place| place.member.clone().into_bytes());
        let args: Vec<Vec<u8>> = std::iter::once(millis(lasting).into_bytes())
            .chain(members)
            .collect();
        let renewed: Result<u64, DataError> = self.eval(&self.leases.renew, &keys, &args).await;
        renewed.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Gives places back.
    pub(in crate::broker) async fn release_leases(&self, places: &[Place]) -> Result<(), String> {
        let mut pipeline = Pipeline::with_capacity(places.len());
        for place in places {
            let remove = pipeline.cmd("ZREM").arg(&place.key);
            remove.arg(&place.member).ignore();
        }
        self.run(RedisCommand::Lease, async |connection| {
            pipeline.query_async(connection).await
        })
        .await
        .map_err(|error| error.to_string())
    }
}

fn script(text: &str) -> Script {
    Script::new(RedisCommand::Lease, text.to_owned())
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn read_taken(key: String, reply: Vec<String>) -> Result<Taken, DataError> {
    let mut words = reply.into_iter();
    match words.next().as_deref() {
        Some("full") => Ok(Taken::Full),
        Some("taken") => {
            let member = words.next().ok_or(DataError::Reply("a lease"))?;
            // What is no connection's name is somebody else's writing; it is gone now.
            let evicted = words.filter_map(|word| word.parse::<ConnectionId>().ok());
            Ok(Taken::Place {
                place: Place { key, member },
                evicted: evicted.collect(),
            })
        }
        Some(_) | None => Err(DataError::Reply("a lease")),
    }
}

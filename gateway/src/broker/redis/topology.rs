//! Which servers hold which channels. One today; the supervisor asks for each
//! channel's owner, so that Sentinel and Cluster are one more variant each.

use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError};
use sluice_wire::channel::Channel;

/// A deployment of Redis.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server, always at the same address.
    Standalone(Box<ConnectionInfo>),
}

/// Names one server within a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub usize);

impl Topology {
    /// One server at a `redis://` address.
    ///
    /// # Errors
    /// The address cannot be understood.
    pub fn standalone(url: &str) -> Result<Topology, RedisError> {
        Ok(Topology::Standalone(Box::new(url.into_connection_info()?)))
    }

    /// The primaries as they are now.
    pub(super) fn primaries(&self) -> Result<Vec<(Shard, Client)>, RedisError> {
        match self {
            Topology::Standalone(info) => {
                // Pushes exist in RESP3 only; data commands read the same in both.
                let settings = info.redis_settings().clone();
                let settings = settings.set_protocol(redis::ProtocolVersion::RESP3);
                let info = (**info).clone().set_redis_settings(settings);
                Ok(vec![(Shard(0), Client::open(info)?)])
            }
        }
    }

    /// Who sends a channel's pushes.
    pub(super) fn owner(&self, _channel: &Channel) -> Shard {
        match self {
            Topology::Standalone(_) => Shard(0),
        }
    }
}

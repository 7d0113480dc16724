//! Which servers hold which channels. One today; the supervisor asks for each
//! channel's owner, so that Sentinel and Cluster are one more variant each.

use redis::{
    Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
};
use sluice_wire::channel::Channel;

/// A deployment of Redis.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server, always at the same address.
    Standalone(Box<ConnectionInfo>),
}

/// What TLS to Redis goes by, as PEM text. The system's authorities serve where none are given.
#[derive(Clone, Default)]
pub struct Certificates {
    pub authorities: Option<Vec<u8>>,
    /// This node's certificate with its chain, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

/// Names one server within a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub usize);

impl Topology {
    /// One server at a `redis://` address, or with TLS at a `rediss://` address.
    ///
    /// # Errors
    /// The address or a certificate cannot be understood.
    pub fn standalone(url: &str, certificates: Certificates) -> Result<Topology, RedisError> {
        let info = if url.starts_with("rediss://") {
            let own = certificates.own;
            let certificates = TlsCertificates {
                client_tls: own.map(|(client_cert, client_key)| ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
                root_cert: certificates.authorities,
            };
            let client = Client::build_with_tls(url, certificates)?;
            client.get_connection_info().clone()
        } else {
            url.into_connection_info()?
        };
        Ok(Topology::Standalone(Box::new(info)))
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

//! A node on either broker, for what both must keep.

use super::node::Node;
use super::redis_server::RedisServer;

/// A node and what it stands on.
pub struct Ground {
    pub node: Node,
    /// Kept for as long as the node lives; declared after it, so ended after it.
    pub redis: Option<RedisServer>,
}

#[derive(Clone, Copy)]
pub enum Backend {
    Embedded,
    Redis,
}

impl Backend {
    /// Starts a node of its own, with such settings as `("HISTORY__MAX_EVENTS", "10")`.
    pub fn start(self, settings: &[(&str, &str)]) -> Ground {
        let redis = match self {
            Backend::Embedded => None,
            Backend::Redis => Some(RedisServer::start()),
        };
        let node = match &redis {
            None => Node::embedded(settings),
            Some(redis) => Node::redis(&redis.url(), settings),
        };
        Ground {
            node: node.ready(),
            redis,
        }
    }
}

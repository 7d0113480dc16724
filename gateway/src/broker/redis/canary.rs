//! The scripts of the canary's channels: the same as everybody's, rendered with terms of their own.

use sluice_wire::channel::Channel;
use sluice_wire::position::Position;
use sluice_wire::publish::{self, Defaults, Publish, Refusal, parse_reply};

use super::data::{DataError, DataLink, Script};
use crate::broker::canary::is_canary;
use crate::broker::{Publication, PublishError};
use crate::reasons::RedisCommand;

pub(super) struct CanaryScripts {
    publish: Script,
    ensure_head: Script,
}

impl CanaryScripts {
    pub(super) fn new(terms: &Defaults) -> CanaryScripts {
        CanaryScripts {
            publish: Script::new(RedisCommand::Publish, publish::script(terms)),
            ensure_head: Script::new(RedisCommand::Read, publish::ensure_head_script(terms)),
        }
    }
}

impl DataLink {
    /// Publishes a probe, once. What fails is for the canary to tell, which tells it once.
    pub(super) async fn publish_probe(
        &self,
        publication: &Publication,
    ) -> Result<Position, PublishError> {
        let publish = Publish {
            tag: Some(rand::random()),
            ..publication.as_publish()
        };
        publish.check(self.events.event_bytes)?;
        let (keys, args) = (publish.keys(&self.keys), publish.args());
        let sent: Result<Vec<u8>, DataError> = self.eval(&self.canary.publish, &keys, &args).await;
        match sent {
            Ok(reply) => parse_reply(&reply).map_err(|_| PublishError::Unknown),
            Err(DataError::Command(error)) => {
                if let Some(refusal) = Refusal::from_redis_error(&error.to_string()) {
                    return Err(refusal.into());
                }
                tracing::debug!(%error, "a probe was not published");
                let unknown = error.is_io_error() || error.is_timeout();
                Err(if unknown {
                    PublishError::Unknown
                } else {
                    PublishError::Unavailable
                })
            }
            Err(DataError::Lost) => Err(PublishError::Unknown),
            Err(error) => {
                tracing::debug!(%error, "a probe was not published");
                Err(PublishError::Unavailable)
            }
        }
    }

    /// What makes the head of a channel that has none.
    pub(super) fn head_script(&self, channel: &Channel) -> &Script {
        if is_canary(channel) {
            &self.canary.ensure_head
        } else {
            &self.ensure_head
        }
    }
}

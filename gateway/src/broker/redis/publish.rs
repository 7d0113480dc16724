//! Publishing one event; `batch` publishes many.

use std::fmt::Display;

use redis::FromRedisValue;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;
use sluice_wire::publish::{Publish, Refusal, parse_reply};

use super::data::{DataError, DataLink, Script};
use crate::broker::canary::is_canary;
use crate::broker::rare::Rare;
use crate::broker::{Publication, PublishError};

/// A script that publishes.
#[derive(Clone, Copy)]
pub(super) struct Publisher<'a> {
    pub(super) script: &'a Script,
    /// When its failures are due to be told; `None` where who called tells them.
    pub(super) failures: Option<&'a Rare>,
}

impl Publisher<'_> {
    pub(super) fn tell_failed(&self, error: &dyn Display) {
        match self.failures.map(Rare::due) {
            Some(Some(left_out)) => {
                tracing::warn!(%error, left_out, "a publish failed; told once a minute");
            }
            Some(None) => {}
            None => tracing::debug!(%error, "a publish failed"),
        }
    }
}

impl DataLink {
    /// Publishes; tries once more after a lost reply if the event has an id.
    pub(in crate::broker) async fn publish(
        &self,
        publication: &Publication,
    ) -> Result<Position, PublishError> {
        let publish = Publish {
            tag: Some(rand::random()),
            ..publication.as_publish()
        };
        publish.check(self.events.event_bytes)?;
        let (keys, args) = (publish.keys(&self.keys), publish.args());
        let repeatable = publication.event_id.is_some();
        let publisher = self.publisher(&publication.channel);
        let reply: Vec<u8> = self.attempt(publisher, &keys, &args, repeatable).await?;
        parse_reply(&reply).map_err(|_| PublishError::Unknown)
    }

    /// The canary's scripts have terms of their own, and it tells its failures itself.
    fn publisher(&self, channel: &Channel) -> Publisher<'_> {
        if is_canary(channel) {
            Publisher {
                script: &self.canary.publish,
                failures: None,
            }
        } else {
            Publisher {
                script: &self.publish,
                failures: Some(&self.failed_publishes),
            }
        }
    }

    /// Calls a script that publishes; once more after a lost reply if that cannot publish twice.
    pub(super) async fn attempt<T: FromRedisValue>(
        &self,
        publisher: Publisher<'_>,
        keys: &[String],
        args: &[Vec<u8>],
        repeatable: bool,
    ) -> Result<T, PublishError> {
        let mut tries = if repeatable { 2 } else { 1 };
        loop {
            tries -= 1;
            match self.eval(publisher.script, keys, args).await {
                Ok(reply) => return Ok(reply),
                Err(DataError::Command(error)) => {
                    if let Some(refusal) = Refusal::from_redis_error(&error.to_string()) {
                        return Err(refusal.into());
                    }
                    publisher.tell_failed(&error);
                    let unknown = error.is_io_error() || error.is_timeout();
                    match (unknown, tries) {
                        (false, _) => return Err(PublishError::Unavailable),
                        (true, 0) => return Err(PublishError::Unknown),
                        (true, _) => {}
                    }
                }
                Err(DataError::Lost) if tries > 0 => {}
                Err(DataError::Lost) => return Err(PublishError::Unknown),
                Err(error) => {
                    publisher.tell_failed(&error);
                    return Err(PublishError::Unavailable);
                }
            }
        }
    }
}

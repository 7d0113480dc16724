//! The scripts of the canary's channels: the same as everybody's, rendered with terms of their own.

use sluice_wire::channel::Channel;
use sluice_wire::publish::{self, Defaults};

use super::data::{DataLink, Script};
use crate::broker::canary::is_canary;
use crate::reasons::RedisCommand;

pub(super) struct CanaryScripts {
    pub(super) publish: Script,
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
    /// What makes the head of a channel that has none.
    pub(super) fn head_script(&self, channel: &Channel) -> &Script {
        if is_canary(channel) {
            &self.canary.ensure_head
        } else {
            &self.ensure_head
        }
    }
}

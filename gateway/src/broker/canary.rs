//! The canary's channels, one for each node: their names, and terms under which they leave nothing behind. Nobody from
//! outside may use them: they are reserved, as every name that begins with `_`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use sluice_wire::channel::{Channel, ChannelError};
use sluice_wire::publish::Defaults;

/// What the channels' names begin with.
const PREFIX: &str = "_canary.";
/// Characters of a node's name that stay readable in its channel.
const READABLE: usize = 64;
/// Bytes of a hash of the name, which tell apart what reads the same.
const HASHED: usize = 8;
/// Events kept, about: Redis trims whole blocks.
const MAXLEN: u32 = 16;
/// Keys of a node that has gone stay for so many intervals, or for the time below if that is longer.
const INTERVALS: u32 = 3;
const LEAST_TTL: Duration = Duration::from_secs(60);

/// The canary's channel of a node. Whatever stands in the node's name, two names never share one.
///
/// # Errors
/// None that a name could cause: a defect.
pub fn channel(node: &str) -> Result<Channel, ChannelError> {
    let readable = |character: char| {
        let stays = character.is_ascii_alphanumeric() || "_:-".contains(character);
        if stays { character } else { '-' }
    };
    let name: String = node.chars().take(READABLE).map(readable).collect();
    let hash = digest(&SHA256, node.as_bytes());
    let hash = hash.as_ref().iter().take(HASHED);
    let hash: String = hash.map(|byte| format!("{byte:02x}")).collect();
    Channel::parse(&format!("{PREFIX}{name}-{hash}"))
}

/// Whether the channel is a canary's.
pub(super) fn is_canary(channel: &Channel) -> bool {
    channel.as_str().starts_with(PREFIX)
}

/// The terms of a canary that publishes this often: a short history, and a head that goes with it.
#[must_use]
pub fn terms(events: Defaults, interval: Duration) -> Defaults {
    let ttl = LEAST_TTL.max(interval.saturating_mul(INTERVALS));
    Defaults {
        maxlen: MAXLEN,
        ttl,
        head_ttl: ttl,
        ..events
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_node_has_a_channel_of_its_own_whatever_its_name() {
        let long = "x".repeat(128);
        let longer = format!("{}y", "x".repeat(127));
        let names = [
            "pod-7:4711",
            "pod.7:4711",
            "pod/7:4711",
            "..",
            ".",
            "{a}",
            "",
            "-",
            &long,
            &longer,
            "*",
            "Đơn",
        ];
        let channels = names.map(|name| channel(name).expect("a channel's name"));
        assert!(
            channels
                .iter()
                .all(|channel| channel.is_reserved() && is_canary(channel))
        );
        assert_eq!(channels.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(channels[0].as_str().starts_with("_canary.pod-7:4711-"));
        assert_eq!(
            channel("pod-7:4711"),
            Ok(channels[0].clone()),
            "the same after a restart"
        );
    }

    #[test]
    fn keys_of_a_node_that_has_gone_go_soon_and_those_of_a_slow_canary_stay_between_probes() {
        let events = Defaults::default();
        let quick = terms(events, Duration::from_secs(10));
        assert_eq!((quick.ttl, quick.head_ttl), (LEAST_TTL, LEAST_TTL));
        let slow = terms(events, Duration::from_secs(300));
        assert_eq!(slow.head_ttl, Duration::from_secs(900));
    }
}

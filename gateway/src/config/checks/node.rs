//! What must hold of a node's name, of its reports and of its canary.

use std::time::Duration;

use super::Findings;
use crate::config::kinds::Humane;
use crate::config::sections::{CanaryConfig, NodeConfig, RedisConfig};

/// The shortest interval of node reports.
const REPORT_MIN: Duration = Duration::from_millis(100);

const NAME_MAX_BYTES: usize = 128;

pub(super) fn name(node: &NodeConfig, found: &mut Findings) {
    let Some(name) = &node.name else {
        return;
    };
    if name.len() > NAME_MAX_BYTES || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        found.refuse(
            "node.name",
            format!(
                "must be 1 to {NAME_MAX_BYTES} visible ASCII characters without blanks, or empty for <hostname>:<pid>"
            ),
        );
    }
}

pub(super) fn canary(canary: &CanaryConfig, found: &mut Findings) {
    let least = Duration::from_millis(100);
    let (interval, timeout) = (Duration::from_secs(300), Duration::from_secs(60));
    found.within("canary.interval", &canary.interval, least, interval);
    found.within("canary.timeout", &canary.timeout, least, timeout);
}

pub(super) fn reports(redis: &RedisConfig, found: &mut Findings) {
    let interval = redis.report_interval;
    let (none, most) = (Duration::ZERO, Duration::from_secs(60));
    found.within("redis.report_interval", &interval, none, most);
    if !interval.is_zero() && interval < REPORT_MIN {
        found.refuse(
            "redis.report_interval",
            format!(
                "{} is below {}; 0s switches reports off",
                interval.humane(),
                REPORT_MIN.humane()
            ),
        );
    }
}

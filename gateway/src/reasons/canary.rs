//! How the node's probes of its own delivery end.

use std::fmt;

use super::Label;

labels! {
    /// How a probe of the canary ended.
    CanaryOutcome {
        /// It was read back.
        Ok = "ok",
        /// It was published, as far as can be told, and not read back in time.
        Timeout = "timeout",
        /// The broker did not take it.
        PublishFailed = "publish_failed",
        /// The node's own listener gave no stream in time.
        StreamFailed = "stream_failed",
    }
}

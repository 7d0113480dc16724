//! What happens below HTTP.

use std::fmt;

use super::Label;

labels! {
    /// Why the gateway ended a connection below HTTP, before or between requests.
    TransportEnd {
        /// Not a byte of a request in time, neither at first nor after the TLS handshake.
        Silent = "silent",
        /// A head, or the beginning of HTTP/2, that has begun and did not end in time.
        HeadTimeout = "head_timeout",
        /// No whole TLS handshake in time.
        HandshakeTimeout = "handshake_timeout",
        /// No TLS that both sides speak.
        HandshakeFailed = "handshake_failed",
        /// A field name that no head may hold (HTTP/1.1).
        FieldName = "field_name",
        /// A header block that is far over the limit of a head.
        HeaderBlock = "header_block",
        /// More HTTP/2 streams at once than was told.
        Streams = "streams",
        /// HTTP/2 streams were reset faster than is allowed.
        Resets = "resets",
        /// HTTP/2 frames that only keep the gateway busy.
        ControlFrames = "control_frames",
        /// An HTTP/2 connection without a stream for too long.
        Idle = "idle",
        /// One more socket than its address may have.
        Crowd = "crowd",
    }
}

labels! {
    /// How a look at changed certificate files ended.
    ReloadOutcome {
        /// New handshakes get the new certificate.
        Loaded = "loaded",
        /// They cannot be used; the certificate before stays.
        Refused = "refused",
    }
}

//! What is counted below HTTP: connections that were ended there, and the certificate.

use prometheus::IntGauge;

use super::kinds::{Counters, metrics};
use crate::reasons::{ReloadOutcome, TransportEnd};

metrics! {
    /// Connections below HTTP.
    pub struct TransportMetrics {
        /// Connections ended below HTTP, before or between requests, by cause.
        pub ended: Counters<TransportEnd> = "sluice_transport_ended_total" by "cause",
    }
}

metrics! {
    /// The gateway's own certificate.
    pub struct TlsMetrics {
        /// When the certificate in use expires, in Unix seconds; 0 without TLS.
        pub expiry: IntGauge = "sluice_tls_certificate_expiry_timestamp_seconds",
        /// Changed certificate files, by what came of them.
        pub reloads: Counters<ReloadOutcome> = "sluice_tls_reloads_total" by "outcome",
    }
}

//! What is counted below HTTP: connections that were ended there, and the certificate.

use prometheus::{IntGauge, Registry};

use super::{Counters, gauge};
use crate::reasons::{ReloadOutcome, TransportEnd};

/// Connections below HTTP.
#[derive(Clone)]
pub struct TransportMetrics {
    pub ended: Counters<TransportEnd>,
}

/// The gateway's own certificate.
#[derive(Clone)]
pub struct TlsMetrics {
    pub expiry: IntGauge,
    pub reloads: Counters<ReloadOutcome>,
}

impl TransportMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<TransportMetrics> {
        Ok(TransportMetrics {
            ended: Counters::register(
                r,
                "sluice_transport_ended_total",
                "Connections ended below HTTP, without an answer, by cause.",
                "cause",
            )?,
        })
    }
}

impl TlsMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<TlsMetrics> {
        Ok(TlsMetrics {
            expiry: gauge(
                r,
                "sluice_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use expires, in Unix seconds; 0 without TLS.",
            )?,
            reloads: Counters::register(
                r,
                "sluice_tls_reloads_total",
                "Changed certificate files, by what came of them.",
                "outcome",
            )?,
        })
    }
}

//! What must hold of the certificate's settings, and of the limits of connections below HTTP.

use super::Findings;
use super::{minutes, ms};
use crate::config::Config;
use crate::config::kinds::Size;
use crate::config::sections::TlsConfig;

pub(super) fn files(tls: &TlsConfig, found: &mut Findings) {
    match (&tls.certificate_file, &tls.key_file) {
        (Some(_), None) => found.refuse(
            "tls.key_file",
            "must be set too: the key of tls.certificate_file",
        ),
        (None, Some(_)) => found.refuse(
            "tls.certificate_file",
            "must be set too: the certificate of tls.key_file",
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    found.within(
        "tls.reload_interval",
        &tls.reload_interval,
        ms(100),
        minutes(60),
    );
}

pub(super) fn http2(config: &Config, found: &mut Findings) {
    found.within(
        "http.head_bytes",
        &config.http.head_bytes,
        Size::kib(4),
        // Far more fields than fit would be more than a map of headers can hold, which panics.
        Size::kib(32),
    );
    let limits = &config.limits;
    found.within("limits.http2_streams", &limits.http2_streams, 1, 20_000);
    found.at_least(
        "limits.http2_streams",
        &limits.http2_streams,
        "limits.streams_per_connection",
        &limits.streams_per_connection,
    );
    found.within(
        "limits.http2_resets_per_second",
        &limits.http2_resets_per_second,
        1,
        100_000,
    );
}

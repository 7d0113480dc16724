//! The gateway's own certificate: read, proved, given to handshakes, and read again when its files change. Streams that
//! are open keep the connection that they have; only new handshakes see a new certificate.

mod files;
mod pin;
mod validity;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::TlsConfig;
use crate::http::transport::{ALPN_HTTP1, ALPN_HTTP2};
use crate::metrics::TlsMetrics;
use crate::reasons::ReloadOutcome;
use files::{Files, Paths};

/// Why the configured certificate cannot be used: which file, and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// A certificate with its key, and when it is valid.
struct Identity {
    key: Arc<CertifiedKey>,
    validity: validity::Validity,
}

/// The certificate in use, and the files it comes from.
pub(super) struct Certificate {
    paths: Paths,
    interval: Duration,
    current: Arc<Current>,
    /// What the files held at the last look, good or bad: each change is told once.
    seen: Result<Files, TlsError>,
    metrics: TlsMetrics,
}

/// What handshakes take.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Proves that the configured files can be used, as a start would: for `--check-config` and before anything is bound.
///
/// # Errors
/// Which file, and what is wrong with it.
pub fn check(config: &TlsConfig) -> Result<(), TlsError> {
    match Paths::of(config) {
        Some(paths) => paths
            .read()
            .and_then(|files| prove(&paths, &files))
            .map(|_| ()),
        None => Ok(()),
    }
}

/// Waits for changed files for as long as the node runs; for ever without a certificate.
pub(super) async fn follow(certificate: Option<Certificate>) {
    match certificate {
        Some(certificate) => certificate.follow().await,
        None => std::future::pending().await,
    }
}

impl Certificate {
    /// The configured certificate; nothing where none is configured.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub fn load(config: &TlsConfig, metrics: TlsMetrics) -> Result<Option<Certificate>, TlsError> {
        let Some(paths) = Paths::of(config) else {
            return Ok(None);
        };
        let files = paths.read()?;
        let identity = prove(&paths, &files)?;
        identity.announce(&metrics);
        Ok(Some(Certificate {
            paths,
            interval: config.reload_interval,
            current: Arc::new(Current(ArcSwap::new(identity.key))),
            seen: Ok(files),
            metrics,
        }))
    }

    /// What the listener needs: TLS 1.2 and 1.3 with rustls's safe defaults, HTTP/2 before HTTP/1.1.
    ///
    /// # Errors
    /// Cryptography that the library cannot offer: a defect.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let defect = |error: rustls::Error| TlsError(format!("TLS cannot be set up: {error}"));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(defect)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        // Clients that come back all at once skip the signature; the node keeps nothing for each of them.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(defect)?;
        Ok(Arc::new(config))
    }

    async fn follow(mut self) {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let paths = self.paths.clone();
            // Reading may take its time on a file system over the network, and this thread has others to serve.
            let read = tokio::task::spawn_blocking(move || paths.read()).await;
            if let Ok(files) = read {
                self.look(files);
            }
        }
    }

    fn look(&mut self, files: Result<Files, TlsError>) {
        if files == self.seen {
            return;
        }
        let proved = files.as_ref().map_err(TlsError::clone);
        match proved.and_then(|files| prove(&self.paths, files)) {
            Ok(identity) => {
                identity.announce(&self.metrics);
                tracing::info!("a new certificate is in use");
                self.current.0.store(identity.key);
                self.metrics.reloads.of(ReloadOutcome::Loaded).inc();
            }
            Err(error) => {
                tracing::warn!(%error, "the changed certificate cannot be used; the one before stays in use");
                self.metrics.reloads.of(ReloadOutcome::Refused).inc();
            }
        }
        self.seen = files;
    }
}

impl Identity {
    /// Tells how long it holds.
    fn announce(&self, metrics: &TlsMetrics) {
        let (begin, end) = (self.validity.not_before, self.validity.not_after);
        metrics.expiry.set(end);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        if now > end {
            tracing::warn!(expired = %date(end), "tls.certificate_file has expired: clients will refuse it");
        } else if now < begin {
            tracing::warn!(begins = %date(begin), "tls.certificate_file is not valid yet: clients will refuse it");
        }
    }
}

fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// Makes a certificate with its key of what the files hold.
fn prove(paths: &Paths, files: &Files) -> Result<Identity, TlsError> {
    let (chain, key) = (paths.chain(files)?, paths.key(files)?);
    let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let validity = validity::read(first)
        .ok_or_else(|| paths.bad_certificate("its first certificate is not X.509"))?;
    let key =
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| paths.unfit(&error))?;
    Ok(Identity {
        key: Arc::new(key),
        validity,
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;

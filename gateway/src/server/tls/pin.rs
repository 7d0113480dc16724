//! How the node's own canary knows that it speaks with its own node: the listener must show the very certificate that is in
//! use now, and sign the handshake with its key. Names, issuers and dates are not looked at, since the canary connects to
//! the address that the listener is bound to, which no certificate need have.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{Certificate, Current, TlsError, provider};
use crate::http::transport::ALPN_HTTP1;

#[derive(Debug)]
struct Pin {
    current: Arc<Current>,
    provider: Arc<CryptoProvider>,
}

impl Certificate {
    /// What the node's own client needs; follows a certificate that is reloaded.
    ///
    /// # Errors
    /// Cryptography that the library cannot offer: a defect.
    pub fn own_client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let pin = Pin {
            current: Arc::clone(&self.current),
            provider: provider(),
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pin))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let current = self.current.0.load();
        match current.cert.first() {
            Some(own) if own.as_ref() == end_entity.as_ref() => Ok(ServerCertVerified::assertion()),
            Some(_) | None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

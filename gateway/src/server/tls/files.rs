//! The files of a certificate, and the words for what is wrong with them. Nothing of a key is ever repeated.

use std::fs::File;
use std::io::Read as _;

use rustls::InconsistentKeys;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use crate::config::TlsConfig;

/// The largest of either file.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Where certificate and key are.
#[derive(Clone)]
pub struct Paths {
    certificate: String,
    key: String,
}

/// What both files held at one look.
#[derive(Eq, PartialEq)]
pub struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Paths {
    /// The configured files, both or none.
    pub fn of(config: &TlsConfig) -> Option<Paths> {
        let files = config.certificate_file.clone().zip(config.key_file.clone());
        files.map(|(certificate, key)| Paths { certificate, key })
    }

    pub fn read(&self) -> Result<Files, TlsError> {
        Ok(Files {
            certificate: read("tls.certificate_file", &self.certificate)?,
            key: read("tls.key_file", &self.key)?,
        })
    }

    /// The certificates, at least one.
    pub fn chain(&self, files: &Files) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.certificate).collect();
        let chain = chain.map_err(|error| self.bad_certificate(what(&error)))?;
        if chain.is_empty() {
            return Err(self.bad_certificate(
                "it holds no certificate; PEM is expected (-----BEGIN CERTIFICATE-----)",
            ));
        }
        Ok(chain)
    }

    pub fn key(&self, files: &Files) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&files.key).map_err(|error| {
            let encrypted = contains(&files.key, b"BEGIN ENCRYPTED PRIVATE KEY");
            self.bad_key(if encrypted {
                "the key is encrypted; store it without a password"
            } else {
                what(&error)
            })
        })
    }

    pub fn bad_certificate(&self, what: &str) -> TlsError {
        TlsError(format!("tls.certificate_file {}: {what}", self.certificate))
    }

    fn bad_key(&self, what: &str) -> TlsError {
        TlsError(format!("tls.key_file {}: {what}", self.key))
    }

    /// Words for a certificate and a key that do not go together.
    pub fn unfit(&self, error: &rustls::Error) -> TlsError {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum that is non-exhaustive"
        )]
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.bad_key(&format!(
                "the key does not belong to the certificate in {}",
                self.certificate
            )),
            rustls::Error::InvalidCertificate(_) => {
                self.bad_certificate("its first certificate cannot be read")
            }
            _ => self.bad_key("the key cannot be used; RSA of 2048 bits or more, ECDSA P-256, P-384, P-521 or Ed25519 can"),
        }
    }
}

fn read(setting: &str, path: &str) -> Result<Vec<u8>, TlsError> {
    let refuse = |what: String| TlsError(format!("{setting} {path}: {what}"));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(refuse(format!("is larger than {FILE_MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// The error's own words would quote the file.
fn what(error: &pem::Error) -> &'static str {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum that is non-exhaustive"
    )]
    match error {
        pem::Error::NoItemsFound => {
            "it holds no private key; PEM is expected (-----BEGIN PRIVATE KEY-----)"
        }
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no end; the file is cut off",
        _ => "it is no valid PEM",
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::metrics::Metrics;

/// A directory with `cert.pem` and `key.pem`.
struct Place(TempDir);

fn made() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

impl Place {
    fn with(certificate: &str, key: &str) -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        place.put("cert.pem", certificate);
        place.put("key.pem", key);
        place
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = self.0.path();
        path.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate_file: Some(self.path("cert.pem")),
            key_file: Some(self.path("key.pem")),
            reload_interval: Duration::from_secs(10),
        }
    }

    fn complaint(&self) -> String {
        check(&self.config()).expect_err("refused").to_string()
    }

    fn paths(&self) -> Paths {
        Paths::of(&self.config()).expect("both are set")
    }
}

fn metrics() -> TlsMetrics {
    Metrics::register(&prometheus::Registry::new())
        .expect("registers")
        .tls
}

#[test]
fn a_bad_file_is_refused_by_name_and_never_quoted() {
    let ((certificate, key), (_, other)) = (made(), made());
    let cases = [
        ("", &*key, "tls.certificate_file", "no certificate"),
        (&*key, &*key, "tls.certificate_file", "no certificate"),
        (
            &certificate[..200],
            &*key,
            "tls.certificate_file",
            "cut off",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &*key,
            "tls.certificate_file",
            "not X.509",
        ),
        (&*certificate, "", "tls.key_file", "no private key"),
        (
            &*certificate,
            &*certificate,
            "tls.key_file",
            "no private key",
        ),
        (&*certificate, &*other, "tls.key_file", "does not belong"),
        (
            &*certificate,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "tls.key_file",
            "cannot be used",
        ),
        (
            &*certificate,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "tls.key_file",
            "without a password",
        ),
    ];
    for (certificate, key, setting, what) in cases {
        let place = Place::with(certificate, key);
        let complaint = place.complaint();
        assert!(complaint.starts_with(setting), "{complaint}");
        assert!(complaint.contains(what), "{complaint}");
        let quoted = key
            .lines()
            .any(|line| line.len() > 8 && complaint.contains(line));
        assert!(!quoted, "{complaint}");
    }
    let place = Place::with(&certificate, &key);
    assert_eq!(check(&place.config()), Ok(()));
    std::fs::remove_file(place.path("key.pem")).expect("removed");
    assert!(place.complaint().contains("cannot be read"));
    place.put("key.pem", &"x".repeat(1024 * 1024 + 1));
    assert!(place.complaint().contains("larger than"));
}

/// A changed pair is taken, a broken one is told once and leaves the one before.
#[test]
fn changed_files_are_taken_and_broken_ones_are_told_once() {
    let (certificate, key) = made();
    let place = Place::with(&certificate, &key);
    let metrics = metrics();
    let loaded = Certificate::load(&place.config(), metrics.clone());
    let mut used = loaded.expect("good").expect("configured");
    let now = |used: &Certificate| used.current.0.load().cert[0].to_vec();
    let counts = |loaded: u64, refused: u64| {
        assert_eq!(metrics.reloads.of(ReloadOutcome::Loaded).get(), loaded);
        assert_eq!(metrics.reloads.of(ReloadOutcome::Refused).get(), refused);
    };
    let first = now(&used);
    used.look(place.paths().read());
    counts(0, 0);
    let (certificate, key) = made();
    // As a tool does that writes one file after the other.
    place.put("cert.pem", &certificate);
    for _ in 0..3 {
        used.look(place.paths().read());
        counts(0, 1);
        assert_eq!(now(&used), first);
    }
    place.put("key.pem", &key);
    used.look(place.paths().read());
    counts(1, 1);
    let second = now(&used);
    assert_ne!(second, first);
    std::fs::remove_file(place.path("cert.pem")).expect("removed");
    for _ in 0..3 {
        used.look(place.paths().read());
        counts(1, 2);
    }
    assert_eq!(now(&used), second);
}

#[test]
fn the_metric_is_the_end_of_the_certificate_in_use() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(1999, 12, 31);
    params.not_after = rcgen::date_time_ymd(2051, 3, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let place = Place::with(&certificate.pem(), &key.serialize_pem());
    let metrics = metrics();
    let loaded = Certificate::load(&place.config(), metrics.clone());
    assert!(loaded.expect("good").is_some());
    assert_eq!(metrics.expiry.get(), 2_561_241_600);
    let files = place.paths().read().expect("both");
    let identity = prove(&place.paths(), &files).expect("good");
    assert_eq!(identity.validity.not_before, 946_598_400);
}

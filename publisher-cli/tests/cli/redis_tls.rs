//! `rediss://`: Redis's certificate is verified, and `sluice` shows its own where it is asked for one.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::{Redis, free_port};

/// Writes an authority's certificate, one for the address of Redis, and one for `sluice`, each with its key.
fn write_certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority");
    let authority = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (file, name) in [("redis", "127.0.0.1"), ("own", "publisher")] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{file}.pem")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn a_publish_over_tls_verifies_redis_and_shows_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let redis = Redis::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("redis.pem"),
        "--tls-key-file",
        &file("redis.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let publish = |more: &[&str]| {
        let words = [&["publish", "orders", "{}", "--redis", &url], more].concat();
        redis.sluice(&words).output().unwrap()
    };
    let (ca, cert, key) = (file("ca.pem"), file("own.pem"), file("own.key"));
    let done = publish(&[
        "--redis-ca",
        &ca,
        "--redis-cert",
        &cert,
        "--redis-key",
        &key,
    ]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(redis.stream("orders").len(), 1);
    for (more, words) in [
        (
            &["--redis-cert", &cert, "--redis-key", &key][..],
            "--redis-ca",
        ),
        (&["--redis-ca", &ca][..], "--redis-cert"),
    ] {
        let refused = publish(more);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            said.contains("no TLS with") && said.contains(words),
            "{said}"
        );
    }
    assert_eq!(redis.stream("orders").len(), 1);
}

#[test]
fn certificates_that_cannot_be_used_are_misuse() {
    let redis = Redis::start();
    for (words, said) in [
        (
            &["--redis", "redis://127.0.0.1:1", "--redis-ca", "ca.pem"][..],
            "without TLS",
        ),
        (
            &["--redis", "rediss://127.0.0.1:1", "--redis-ca", "/none.pem"][..],
            "cannot be read",
        ),
        (
            &["--redis", "rediss://127.0.0.1:1/#insecure"][..],
            "always verified",
        ),
        (
            &["--redis", "rediss://127.0.0.1:1", "--redis-cert", "x"][..],
            "--redis-key",
        ),
    ] {
        let words = [&["publish", "orders", "{}"], words].concat();
        let refused = redis.sluice(&words).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains(said),
            "{refused:?}"
        );
    }
}

//! A real nginx in front, set up wrong and right, with TLS and HTTP/2. Without nginx or openssl on the machine these
//! tests say so and pass.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Gateway, Report};
use crate::support::{Redis, eventually, free_port, sluice};

struct Nginx {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// `None` where nginx or openssl is not installed.
    fn start(gateway: &Gateway, location: &str) -> Option<Nginx> {
        let binary = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).is_file());
        let Some(binary) = binary else {
            eprintln!("skipped: nginx is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if !certificate(folder.path()) {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        for _ in 0..10 {
            let port = free_port();
            let at = folder.path().display();
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {at}/{name};"));
            let settings = format!(
                "daemon off; master_process off; pid {at}/pid; error_log {at}/log;\nevents {{}}\nhttp {{ access_log off; {}\n\
                 server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;\n\
                 location / {{ proxy_pass http://127.0.0.1:{}; proxy_http_version 1.1; proxy_set_header Connection \"\"; {location} }} }} }}\n",
                temporary.join(" "),
                gateway.port,
            );
            std::fs::write(folder.path().join("nginx.conf"), settings).unwrap();
            let mut process = Command::new(binary)
                .arg("-p")
                .arg(folder.path())
                .args(["-c", "nginx.conf"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let started = eventually("nginx", || {
                let ended = process.try_wait().unwrap().is_some();
                let listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
                (ended || listens).then_some(!ended)
            });
            if started {
                return Some(Nginx {
                    process,
                    port,
                    folder,
                });
            }
        }
        panic!("no port for nginx");
    }

    fn examine(&self, trusted: bool) -> Report {
        let url = format!("https://localhost:{}", self.port);
        let mut command = sluice(&[
            "doctor",
            "--json",
            "--gateway",
            &url,
            "--quiet-for",
            "2s",
            "--timeout",
            "2s",
        ]);
        if trusted {
            command.env("SSL_CERT_FILE", self.folder.path().join("cert.pem"));
        }
        Report::of(command)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A certificate of its own for localhost, as `cert.pem` and `key.pem`.
fn certificate(folder: &Path) -> bool {
    Command::new("openssl")
        .current_dir(folder)
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key.pem",
            "-out", "cert.pem",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_right_nginx_with_tls_and_http2_passes_and_an_unknown_certificate_is_named() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let Some(nginx) = Nginx::start(&gateway, "proxy_buffering off; proxy_read_timeout 1h;") else {
        return;
    };
    let report = nginx.examine(true);
    report.is_well();
    report.has("gateway_http2", "ok", "ALPN", "");
    report.has("gateway_proxy", "note", "nginx", "");
    report.has("gateway_quiet", "ok", "heartbeats", "");
    assert_eq!(report.status("gateway_replay"), "ok");
    let report = nginx.examine(false);
    assert_eq!(report.code, 1, "{report:#?}");
    report.has("gateway_reachable", "problem", "certificate", "");
}

#[test]
fn a_wrong_nginx_is_told_its_own_settings() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[("SLUICE__STREAM__HEARTBEAT", "30s")]);
    let changed =
        "gzip on; gzip_types text/event-stream; gzip_proxied any; proxy_hide_header Cache-Control;";
    let Some(nginx) = Nginx::start(&gateway, changed) else {
        return;
    };
    let report = nginx.examine(true);
    report.has(
        "gateway_compression",
        "warning",
        "(gzip)",
        "nginx: gzip off",
    );
    report.has(
        "gateway_headers",
        "warning",
        "lost no-transform",
        "nginx: no proxy_hide_header",
    );
    let nginx = Nginx::start(&gateway, "proxy_read_timeout 1s;").unwrap();
    let report = nginx.examine(true);
    assert_eq!(report.code, 1, "{report:#?}");
    report.has(
        "gateway_quiet",
        "problem",
        "cut after 1.",
        "nginx: proxy_read_timeout 1h",
    );
}

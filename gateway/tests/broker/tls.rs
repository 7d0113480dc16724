//! TLS to Redis, against a redis-server that speaks it: its certificate is verified, and a node shows its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::authority::{Authority, Signed};
use crate::harness::node::Node;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;

/// Between two looks at a log.
const LOOK: Duration = Duration::from_millis(25);

/// A redis-server with TLS beside its plain port, and the files that belong to it.
struct Secured {
    redis: RedisServer,
    port: u16,
    dir: tempfile::TempDir,
}

impl Secured {
    /// Its certificate is for `name`; `clients` is `tls-auth-clients`.
    fn start(name: &str, clients: &str) -> Secured {
        let authority = Authority::new();
        let dir = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let signed = |file: &str, signed: &Signed| {
            let certificate = write(&format!("{file}.pem"), &signed.certificate);
            (certificate, write(&format!("{file}.key"), &signed.key))
        };
        let ca = write("ca.pem", &authority.pem);
        let (certificate, key) = signed("redis", &authority.sign(&[name]));
        signed("node", &authority.sign(&["gateway-1"]));
        signed("stranger", &Authority::new().sign(&["gateway-1"]));
        write("other-ca.pem", &Authority::new().pem);
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        drop(socket);
        let redis = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            clients,
        ]);
        Secured { redis, port, dir }
    }

    fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}/", self.port)
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A node that trusts `ca` and shows the certificate of `own`, until it says `words`.
    fn fails(&self, ca: Option<&str>, own: Option<&str>, words: &str) {
        let (ca, own) = (ca.map(|ca| self.file(ca)), own.map(|own| self.own(own)));
        let url = self.url();
        let mut settings = vec![("BROKER__MODE", "redis"), ("REDIS__URL", url.as_str())];
        settings.extend(ca.as_ref().map(|ca| ("REDIS__CA_FILE", ca.as_str())));
        if let Some((certificate, key)) = &own {
            settings.push(("REDIS__CLIENT_CERTIFICATE_FILE", certificate));
            settings.push(("REDIS__CLIENT_KEY_FILE", key));
        }
        let node = Process::spawn(&settings);
        wait_for_words(&node, words);
        assert_eq!(node.metric("sluice_redis_connected"), 0.0);
    }

    fn own(&self, name: &str) -> (String, String) {
        (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        )
    }

    /// Connections that came by TLS.
    fn secured(&self) -> usize {
        let clients: String = self.redis.run(&["CLIENT", "LIST"]);
        clients
            .matches(&format!("laddr=127.0.0.1:{} ", self.port))
            .count()
    }
}

fn wait_for_words(node: &Process, words: &str) {
    let said = || {
        let log = node.log();
        log.contains("subscriber connection failed") && log.contains(words)
    };
    for _ in 0..600 {
        if said() {
            return;
        }
        std::thread::sleep(LOOK);
    }
    panic!("no `{words}` in {}", node.log());
}

fn streams(secured: &Secured, more: &[(&str, &str)]) {
    let ca = secured.file("ca.pem");
    let settings = [&[("REDIS__CA_FILE", ca.as_str())], more].concat();
    let node = Node::redis(&secured.url(), &settings).ready();
    let mut stream = node.stream("channel=a", &[]);
    let id = node.publish("a", "one");
    assert_eq!(stream.next().id(), id);
    assert!(secured.secured() >= 2, "subscriber and data come by TLS");
}

#[test]
fn a_node_streams_from_a_redis_of_its_own_authority() {
    streams(&Secured::start("127.0.0.1", "no"), &[]);
}

#[test]
fn a_node_shows_its_certificate_where_redis_asks_for_one() {
    let secured = Secured::start("127.0.0.1", "yes");
    let (certificate, key) = secured.own("node");
    streams(
        &secured,
        &[
            ("REDIS__CLIENT_CERTIFICATE_FILE", &certificate),
            ("REDIS__CLIENT_KEY_FILE", &key),
        ],
    );
    secured.fails(Some("ca.pem"), None, "alert");
    secured.fails(Some("ca.pem"), Some("stranger"), "alert");
}

/// Neither an authority that was not named nor a name that is not Redis's own is trusted.
#[test]
fn a_certificate_that_does_not_verify_is_refused() {
    let secured = Secured::start("127.0.0.1", "no");
    secured.fails(None, None, "UnknownIssuer");
    secured.fails(Some("other-ca.pem"), None, "certificate");
    let other = Secured::start("redis.example", "no");
    other.fails(Some("ca.pem"), None, "not valid for name");
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start_and_is_named() {
    let secured = Secured::start("127.0.0.1", "no");
    std::fs::write(secured.dir.path().join("broken.pem"), "-----BEGIN").expect("written");
    let url = secured.url();
    let fails = |more: &[(&str, &str)], words: &str| {
        let settings = [("BROKER__MODE", "redis"), ("REDIS__URL", url.as_str())];
        let mut node = Process::spawn(&[&settings[..], more].concat());
        assert_eq!(node.exit(PATIENCE).code(), Some(64));
        let log = node.log();
        assert!(log.contains(words) && !log.contains("listening"), "{log}");
    };
    for file in ["missing.pem", "broken.pem", "node.key"] {
        let file = secured.file(file);
        fails(
            &[("REDIS__CA_FILE", &file)],
            &format!("redis.ca_file: {file}"),
        );
    }
    let ((own, _), (_, other)) = (secured.own("node"), secured.own("stranger"));
    let pair = [
        ("REDIS__CLIENT_CERTIFICATE_FILE", own.as_str()),
        ("REDIS__CLIENT_KEY_FILE", other.as_str()),
    ];
    fails(&pair, "the key does not fit the certificate");
}

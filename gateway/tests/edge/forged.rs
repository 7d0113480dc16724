//! At least 300 forged or broken tokens against each kind of key, none accepted; and every honest one is.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::FutureExt as _;
use rstest::rstest;
use sluice_gateway::auth::{AuthError, Authenticator, Grant, KeyError};
use sluice_gateway::config::{Args, Config};
use tempfile::TempDir;

use crate::harness::node::Node;
use crate::harness::{PATIENCE, wait};
use crate::tokens::forgeries::Forgeries;
use crate::tokens::server::{Answer, Server};
use crate::tokens::{ALGORITHMS, AUDIENCE, ISSUER, Issuer, claims, key_set};

/// What an issue asks for, of each kind of key.
const FEWEST: usize = 300;

const DEMANDS: [(&str, &str); 4] = [
    ("AUTH__MODE", "jwt"),
    ("AUTH__JWT__ISSUER", ISSUER),
    ("AUTH__JWT__AUDIENCE", AUDIENCE),
    ("AUTH__JWT__LEEWAY", "5s"),
];

/// Where a verifier has its keys from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    Secret,
    Pem,
    SetFile,
    SetUrl,
}

/// Settings that make a verifier trust an issuer, and what they stand on.
pub struct Trust {
    pub settings: Vec<(&'static str, String)>,
    _folder: TempDir,
    server: Option<Server>,
}

impl Trust {
    pub fn new(source: Source, issuer: &Issuer) -> Trust {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        let path = file.to_str().expect("UTF-8").to_owned();
        let mut settings: Vec<_> = DEMANDS.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        settings.push(("AUTH__JWT__ALGORITHMS", issuer.algorithm.to_owned()));
        let mut server = None;
        settings.push(match source {
            Source::Secret => ("AUTH__JWT__SECRET", issuer.secret()),
            Source::Pem => {
                std::fs::write(&file, issuer.pem()).expect("written");
                ("AUTH__JWT__PUBLIC_KEY_FILE", path)
            }
            Source::SetFile => {
                std::fs::write(&file, key_set(&[issuer]).to_string()).expect("written");
                ("AUTH__JWT__JWKS_FILE", path)
            }
            Source::SetUrl => {
                let started = Server::start(Answer::Keys(key_set(&[issuer])));
                let url = started.url();
                server = Some(started);
                ("AUTH__JWT__JWKS_URL", url)
            }
        });
        Trust {
            settings,
            _folder: folder,
            server,
        }
    }

    pub fn authenticator(&self) -> Result<Authenticator, KeyError> {
        authenticator(&self.settings)
    }

    fn node(&self) -> Node {
        let settings: Vec<(&str, &str)> = self.settings.iter().map(|(k, v)| (*k, &**v)).collect();
        Node::embedded(&settings).ready()
    }
}

pub fn authenticator(settings: &[(&str, String)]) -> Result<Authenticator, KeyError> {
    let named = |(key, value): &(&str, String)| (format!("SLUICE__{key}"), value.clone());
    let args = Args {
        dev: true,
        ..Args::default()
    };
    let config = Config::load(&args, settings.iter().map(named)).expect("valid settings");
    Authenticator::from_config(&config.auth)
}

/// Keys that are at hand are not waited for.
pub fn verify(authenticator: &Authenticator, token: &str) -> Result<Grant, AuthError> {
    let verified = authenticator.verify(token).now_or_never();
    verified.expect("answered at once")
}

fn refuse_all(source: Source, algorithm: &'static str) {
    let (trusted, stranger) = (Issuer::trusted(algorithm), Issuer::stranger(algorithm));
    let trust = Trust::new(source, &trusted);
    let authenticator = trust.authenticator().expect("good keys");
    let named = source == Source::SetFile;
    let forgeries = Forgeries::against(&trusted, &stranger, named).tokens;
    let distinct: BTreeSet<&String> = forgeries.values().collect();
    assert!(distinct.len() >= FEWEST, "only {}", distinct.len());
    println!("{} against {source:?} {algorithm}", distinct.len());
    let mut accepted = Vec::new();
    for (what, token) in &forgeries {
        match verify(&authenticator, token) {
            Ok(_) => accepted.push(what),
            Err(AuthError::Invalid(_) | AuthError::Expired) => {}
            Err(other) => panic!("{what}: {other:?}"),
        }
    }
    assert!(accepted.is_empty(), "accepted: {accepted:#?}");
    verify(&authenticator, &trusted.good()).expect("the honest one is accepted");
}

#[rstest]
fn no_forged_token_passes_a_secret(#[values("HS256", "HS384", "HS512")] algorithm: &'static str) {
    refuse_all(Source::Secret, algorithm);
}

#[rstest]
fn no_forged_token_passes_a_pem_key(
    #[values(
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"
    )]
    algorithm: &'static str,
) {
    refuse_all(Source::Pem, algorithm);
}

#[rstest]
fn no_forged_token_passes_a_key_set(
    #[values(
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"
    )]
    algorithm: &'static str,
) {
    refuse_all(Source::SetFile, algorithm);
}

/// The same over HTTP, with every kind of source. A forged token may do nothing, breaks nothing, and is counted.
#[rstest]
#[case::secret(Source::Secret, "HS256")]
#[case::pem(Source::Pem, "RS256")]
#[case::file(Source::SetFile, "ES256")]
#[case::url(Source::SetUrl, "EdDSA")]
fn no_forged_token_passes_a_node(#[case] source: Source, #[case] algorithm: &'static str) {
    let (trusted, stranger) = (Issuer::trusted(algorithm), Issuer::stranger(algorithm));
    let trust = Trust::new(source, &trusted);
    let node = trust.node();
    let publish = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", &*bearer)];
        (node.post("inbox", &headers, b"x"), bearer)
    };
    wait("the keys are there", &201, PATIENCE, || {
        publish(&trusted.good()).0.status
    });
    let named = [Source::SetFile, Source::SetUrl].contains(&source);
    let forgeries = Forgeries::against(&trusted, &stranger, named).tokens;
    let began = Instant::now();
    let mut sent = 0_u32;
    for (what, token) in &forgeries {
        // What would end a header is another request: the HTTP suite's business. Blanks around a value are the header's own.
        if token.contains(['\n', '\u{0}']) || token.trim() != token {
            continue;
        }
        let (answer, bearer) = publish(token);
        assert!([400, 401].contains(&answer.status), "{what}: {answer:?}");
        let code = answer.problem();
        assert!(
            ["invalid_token", "token_expired", "bad_authorization"].contains(&&*code),
            "{what}: {answer:?}"
        );
        assert!(
            token.len() < 8 || !answer.body.contains(bearer.trim_start_matches("Bearer ")),
            "{what}"
        );
        sent += 1;
    }
    assert!(sent as usize >= FEWEST, "only {sent}");
    let counted: f64 = ["invalid_token", "token_expired", "bad_authorization"]
        .iter()
        .map(|code| node.metric(&format!("sluice_auth_failures_total{{code=\"{code}\"}}")))
        .sum();
    assert_eq!(counted, f64::from(sent));
    assert_eq!(
        node.metric("sluice_published_total{outcome=\"accepted\"}") as u32,
        1
    );
    assert_eq!(publish(&trusted.good()).0.status, 201, "the honest one");
    if let Some(server) = &trust.server {
        let most = 2 + began.elapsed().as_secs() / 10;
        assert!(server.asked() as u64 <= most, "{} looks", server.asked());
    }
}

/// All twelve algorithms, from every source that they can come from, keys named and unnamed.
#[rstest]
fn honest_tokens_of_every_algorithm_are_accepted(
    #[values(Source::Secret, Source::Pem, Source::SetFile)] source: Source,
) {
    let mut count = 0;
    for algorithm in ALGORITHMS {
        let issuer = Issuer::trusted(algorithm);
        if issuer.is_symmetric() != (source == Source::Secret) {
            continue;
        }
        let authenticator = Trust::new(source, &issuer).authenticator();
        let authenticator = authenticator.expect("good keys");
        let mut unnamed = issuer.header();
        unnamed.as_object_mut().expect("an object").remove("kid");
        for header in [issuer.header(), unnamed] {
            let token = issuer.seal(header.to_string(), claims().to_string());
            let grant = verify(&authenticator, &token);
            let grant = grant.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
            assert_eq!(grant.holder.subject.as_deref(), Some("ann"));
        }
        count += 1;
    }
    assert_eq!(count, if source == Source::Secret { 3 } else { 9 });
}

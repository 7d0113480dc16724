//! Keys that a node is given: which it takes, which it refuses to start with, and who may read without a token.

use std::process::Command;

use rstest::rstest;
use serde_json::{Value, json};
use sluice_gateway::auth::{Authenticator, KeyError};
use tempfile::TempDir;

use crate::forged::{authenticator, verify};
use crate::harness::node::Node;
use crate::tokens::{Issuer, b64, claims, key_set, pem};

/// A folder with files of keys.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn with(settings: &[(&'static str, String)]) -> Result<Authenticator, KeyError> {
    let base = [
        ("AUTH__MODE", "jwt".to_owned()),
        ("AUTH__JWT__AUDIENCE", "sluice".to_owned()),
    ];
    authenticator(&[&base, settings].concat())
}

fn with_pem(text: &str, algorithms: &str) -> Result<Authenticator, KeyError> {
    let folder = Folder::new();
    with(&[
        ("AUTH__JWT__PUBLIC_KEY_FILE", folder.file("k.pem", text)),
        ("AUTH__JWT__ALGORITHMS", algorithms.to_owned()),
    ])
}

fn with_set(set: &Value) -> Result<Authenticator, KeyError> {
    let folder = Folder::new();
    let path = folder.file("k.json", &set.to_string());
    with(&[("AUTH__JWT__JWKS_FILE", path)])
}

fn complaint(refused: Result<Authenticator, KeyError>, setting: &str) -> String {
    let error = refused.expect_err("refused");
    assert_eq!(error.setting, setting);
    error.to_string()
}

/// An RSA public key that is too short, by hand: libraries no longer make them.
fn short_rsa() -> Vec<u8> {
    let modulus = [&[0x02, 0x81, 0x81, 0x00, 0xc1][..], &[0x55; 126], &[0x57]].concat();
    let body = [&modulus[..], &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let length = u8::try_from(body.len()).expect("short");
    [&[0x30, 0x81, length][..], &body].concat()
}

#[test]
fn files_that_are_no_public_key_are_refused_with_words() {
    let rsa = Issuer::trusted("RS256");
    let broken = rsa.pem().replace("MI", "M!");
    let flipped = {
        let mut der = Issuer::trusted("ES256").der();
        let last = der.len() - 1;
        der[last] ^= 1;
        pem("PUBLIC KEY", &der)
    };
    let small = pem(
        "PUBLIC KEY",
        &[
            &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0, 1][..],
            &[0; 31],
        ]
        .concat(),
    );
    for (text, algorithms, says) in [
        (rsa.private_pem(), "", "private key"),
        (
            format!("{}{}", rsa.pem(), rsa.private_pem()),
            "",
            "private key",
        ),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), "", "private key"),
        (pem("CERTIFICATE", b"x"), "", "openssl x509"),
        (
            pem("RSA PUBLIC KEY", &short_rsa()),
            "",
            "1024 bits; at least 2048",
        ),
        (pem("PUBLIC KEY", b"x"), "", "cannot be read"),
        (pem("PGP PUBLIC KEY BLOCK", b"x"), "", "no `PUBLIC KEY`"),
        (broken, "", "not base64"),
        (
            rsa.pem().replace("END PUBLIC", "END RSA PUBLIC"),
            "",
            "another end",
        ),
        (
            rsa.pem().replace("-----END PUBLIC KEY-----", ""),
            "",
            "without an end",
        ),
        (flipped, "", "not a point of the curve P256"),
        (small, "", "not a valid Ed25519 key"),
        (String::new(), "", "no `-----BEGIN PUBLIC KEY-----`"),
        (rsa.pem().repeat(101), "", "too many"),
        ("x".repeat(70_000), "", "larger than 65536 bytes"),
        (rsa.pem(), "RS256,PS256", "names RS256 and PS256"),
        (rsa.pem(), "ES256", "names none for it"),
        (Issuer::trusted("ES384").pem(), "ES256", "a P-384 key"),
    ] {
        let told = complaint(with_pem(&text, algorithms), "auth.jwt.public_key_file");
        assert!(told.contains(says) && told.contains("k.pem"), "{told}");
    }
    let absent = with(&[("AUTH__JWT__PUBLIC_KEY_FILE", "absent.pem".to_owned())]);
    let told = complaint(absent, "auth.jwt.public_key_file");
    assert!(told.contains("absent.pem cannot be read"), "{told}");
}

/// A key that is not for verifying here is left out: alone, it stops the start; beside a good one, the good one works.
#[test]
fn keys_of_a_set_that_are_not_for_verifying_are_left_out() {
    let good = Issuer::trusted("ES256").named("good");
    let other = Issuer::stranger("ES256").named("bad");
    let rsa = Issuer::trusted("RS256").named("bad").jwk();
    let base = other.jwk();
    let change = |base: &Value, name: &str, value: Value| {
        let mut jwk = base.clone();
        jwk[name] = value;
        jwk
    };
    for (jwk, says) in [
        (change(&base, "use", json!("enc")), "`use`"),
        (change(&base, "use", json!(1)), "`use`"),
        (change(&base, "key_ops", json!(["sign"])), "`key_ops`"),
        (change(&base, "key_ops", json!("verify")), "`key_ops`"),
        (change(&base, "kty", json!("oct")), "symmetric"),
        (
            json!({"kty": "oct", "k": b64("x".repeat(64)), "kid": "bad", "alg": "HS256"}),
            "symmetric",
        ),
        (change(&base, "kty", json!("XYZ")), "`kty`"),
        (change(&base, "kty", json!(1)), "`kty`"),
        (change(&base, "crv", json!("P-521")), "`crv`"),
        (change(&base, "crv", json!("P-384")), "48 bytes"),
        (change(&base, "alg", json!("ES384")), "`alg`"),
        (change(&base, "alg", json!("HS256")), "`alg`"),
        (change(&base, "alg", json!("none")), "`alg`"),
        (change(&base, "alg", json!(1)), "`alg`"),
        (change(&base, "d", json!(b64([1; 32]))), "private"),
        (change(&base, "x", json!(b64([1; 32]))), "not a point"),
        (change(&base, "x", json!(b64([1; 31]))), "32 bytes"),
        (change(&base, "x", json!("+/==")), "base64url"),
        (change(&base, "kid", json!("")), "`kid`"),
        (change(&base, "kid", json!("x".repeat(129))), "`kid`"),
        (change(&base, "kid", json!(1)), "`kid`"),
        (change(&rsa, "n", json!(b64([0xc1; 128]))), "1024 bits"),
        (change(&rsa, "e", json!(b64([1]))), "exponent"),
        (change(&rsa, "e", json!(b64([1, 0, 0]))), "exponent"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": b64([0; 32]), "kid": "bad"}),
            "Ed25519",
        ),
        (
            json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32]), "kid": "bad"}),
            "`crv`",
        ),
        (json!("bad"), "not an object"),
    ] {
        let told = complaint(with_set(&json!({"keys": [jwk]})), "auth.jwt.jwks_file");
        assert!(told.contains(says), "{says}: {told}");
        let both = with_set(&json!({"keys": [jwk, good.jwk()]})).expect("one is good");
        verify(&both, &good.good()).expect("accepted");
        verify(&both, &other.good()).expect_err("its key was left out");
    }
}

#[test]
fn a_file_that_is_no_key_set_is_refused() {
    let key = Issuer::trusted("ES256").jwk();
    let folder = Folder::new();
    for (text, says) in [
        ("{".to_owned(), "not the JSON"),
        (json!([key]).to_string(), "no list `keys`"),
        (json!({"keys": {}}).to_string(), "no list `keys`"),
        (json!({"keys": []}).to_string(), "no key to verify with"),
        (
            json!({"keys": vec![key.clone(); 101]}).to_string(),
            "101 keys",
        ),
        (format!(r#"{{"keys":[{key}],"keys":[]}}"#), "not the JSON"),
        (" ".repeat(300 * 1024), "larger than 262144 bytes"),
    ] {
        let path = folder.file("k.json", &text);
        let refused = with(&[("AUTH__JWT__JWKS_FILE", path)]);
        let told = complaint(refused, "auth.jwt.jwks_file");
        assert!(told.contains(says), "{told}");
    }
}

/// Keys without `alg` are bound by their kind; two with one `kid` are one too many.
#[test]
fn a_set_binds_each_key_to_one_algorithm() {
    let rsa = Issuer::trusted("RS256").named("rsa");
    let mut bare = rsa.jwk();
    bare.as_object_mut().expect("an object").remove("alg");
    let set = with_set(&json!({"keys": [bare, Issuer::stranger("RS256").named("rsa").jwk()]}));
    let set = set.expect("good keys");
    verify(&set, &rsa.good()).expect("the usual one");
    verify(&set, &Issuer::trusted("PS256").named("rsa").good()).expect_err("not that one");
    verify(&set, &Issuer::stranger("RS256").named("rsa").good()).expect_err("the second");
}

/// Several PEM files: each token is verified with the keys of its algorithm, whatever `kid` it has.
#[test]
fn keys_of_several_files_are_used_together() {
    let folder = Folder::new();
    let (one, two) = (Issuer::trusted("RS256"), Issuer::stranger("RS256"));
    let (third, named) = (
        Issuer::trusted("EdDSA"),
        Issuer::trusted("ES384").named("es"),
    );
    let both = folder.file("both.pem", &format!("{}\n{}", one.pem(), two.pem()));
    let files = format!("{both}, {}", folder.file("ed.pem", &third.pem()));
    let set = folder.file("k.json", &key_set(&[&named]).to_string());
    let all = with(&[
        ("AUTH__JWT__PUBLIC_KEY_FILE", files),
        ("AUTH__JWT__JWKS_FILE", set),
    ]);
    let all = all.expect("good keys");
    for issuer in [&one, &two, &third, &named] {
        verify(&all, &issuer.good()).expect("accepted");
    }
    verify(&all, &Issuer::stranger("EdDSA").good()).expect_err("no key of ours");
    verify(&all, &Issuer::trusted("PS256").good()).expect_err("the key is for RS256");
}

/// Before anything is bound, and with `--check-config` too, a key that cannot be used stops the start.
#[test]
fn a_bad_key_stops_the_start_with_the_exit_code_of_bad_settings() {
    let folder = Folder::new();
    let path = folder.file("private.pem", &Issuer::trusted("RS256").private_pem());
    for arguments in [&["--check-config"][..], &[]] {
        let ended = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
            .args(arguments)
            .env_clear()
            .env("SLUICE__BROKER__MODE", "embedded")
            .env("SLUICE__AUTH__MODE", "jwt")
            .env("SLUICE__AUTH__JWT__PUBLIC_KEY_FILE", &path)
            .output()
            .expect("the node's binary");
        assert_eq!(ended.status.code(), Some(64));
        let told = String::from_utf8(ended.stderr).expect("UTF-8");
        assert!(
            told.contains("auth.jwt.public_key_file") && told.contains("private key"),
            "{told}"
        );
    }
}

/// With `auth.anonymous_subscribe` some channels need no token; a token that is bad is refused there all the same.
#[test]
fn callers_without_credentials_read_what_is_open_to_all_and_nothing_else() {
    let issuer = Issuer::trusted("HS256");
    let secret = issuer.secret();
    let node = Node::embedded(&[
        ("AUTH__MODE", "jwt"),
        ("AUTH__JWT__SECRET", &secret),
        ("AUTH__JWT__AUDIENCE", "sluice"),
        ("AUTH__ANONYMOUS_SUBSCRIBE", "public.**, status"),
    ])
    .ready();
    drop(node.stream("channel=public.news.eu&channel=status", &[]));
    let mut narrow = claims();
    narrow["sluice"] = json!({"subscribe": ["orders"]});
    let narrow = format!("Bearer {}", issuer.token(&narrow));
    let expired = {
        let mut old = claims();
        old["exp"] = json!(1_000_000_000);
        format!("Bearer {}", issuer.token(&old))
    };
    for (query, authorization, status, code) in [
        ("channel=orders", None, 401, "token_missing"),
        ("channel=status&channel=orders", None, 401, "token_missing"),
        ("channel=_probe.x", None, 400, "reserved_channel"),
        ("channel=status", Some("Bearer a.b.c"), 401, "invalid_token"),
        ("channel=status", Some(&*expired), 401, "token_expired"),
        ("channel=status", Some("Bearer"), 400, "bad_authorization"),
        ("channel=status", Some("Basic YTpi"), 401, "token_missing"),
        ("channel=status", Some(&*narrow), 403, "insufficient_scope"),
    ] {
        let headers: Vec<_> = authorization
            .map(|v| ("Authorization", v))
            .into_iter()
            .collect();
        let answer = node.get(&format!("/v1/events?{query}"), &headers);
        assert_eq!(
            (answer.status, &*answer.problem()),
            (status, code),
            "{query}"
        );
    }
    let answer = node.post("status", &[], b"x");
    assert_eq!((answer.status, &*answer.problem()), (401, "token_missing"));
}

/// What a range, a source or an address must be, told by its setting.
#[rstest]
#[case::none(&[], "auth.jwt.secret", "must be set")]
#[case::two(&[("SECRET", "0123456789abcdef0123456789abcdef"), ("JWKS_URL", "https://i")], "auth.jwt.jwks_url", "beside auth.jwt.secret")]
#[case::file_and_url(&[("JWKS_FILE", "k"), ("JWKS_URL", "https://i")], "auth.jwt.jwks_url", "beside auth.jwt.jwks_file")]
#[case::secret_and_pem(&[("SECRET", "0123456789abcdef0123456789abcdef"), ("PUBLIC_KEY_FILE", "k")], "auth.jwt.public_key_file", "beside auth.jwt.secret")]
#[case::short(&[("SECRET", "0123456789abcdef0123456789abcde")], "auth.jwt.secret", "31 bytes long; at least 32")]
#[case::short_384(&[("SECRET", "0123456789abcdef0123456789abcdef"), ("ALGORITHMS", "HS384")], "auth.jwt.secret", "at least 48")]
#[case::short_512(&[("SECRET", "0123456789abcdef0123456789abcdef0123456789abcdef"), ("ALGORITHMS", "HS512")], "auth.jwt.secret", "at least 64")]
#[case::two_algorithms(&[("SECRET", "0123456789abcdef0123456789abcdef"), ("ALGORITHMS", "HS256,HS512")], "auth.jwt.algorithms", "exactly one")]
#[case::secret_for_rsa(&[("SECRET", "0123456789abcdef0123456789abcdef"), ("ALGORITHMS", "RS256")], "auth.jwt.algorithms", "needs a public key")]
#[case::mac_with_pem(&[("PUBLIC_KEY_FILE", "k"), ("ALGORITHMS", "RS256,HS256")], "auth.jwt.algorithms", "HS256 needs auth.jwt.secret")]
#[case::mac_with_url(&[("JWKS_URL", "https://i"), ("ALGORITHMS", "HS512")], "auth.jwt.algorithms", "HS512 needs auth.jwt.secret")]
#[case::plain_http(&[("JWKS_URL", "http://issuer.example/keys")], "auth.jwt.jwks_url", "must begin with https://")]
#[case::near_loopback(&[("JWKS_URL", "http://127.0.0.1.example/keys")], "auth.jwt.jwks_url", "loopback")]
#[case::near_localhost(&[("JWKS_URL", "http://localhost.example/keys")], "auth.jwt.jwks_url", "loopback")]
#[case::private_network(&[("JWKS_URL", "http://10.0.0.1/keys")], "auth.jwt.jwks_url", "loopback")]
#[case::file_url(&[("JWKS_URL", "file:///dev/null")], "auth.jwt.jwks_url", "must begin with https://")]
#[case::password(&[("JWKS_URL", "https://a:canary@issuer.example")], "auth.jwt.jwks_url", "user or password")]
#[case::fragment(&[("JWKS_URL", "https://issuer.example/#k")], "auth.jwt.jwks_url", "after `#`")]
#[case::no_url(&[("JWKS_URL", "issuer")], "auth.jwt.jwks_url", "no URL")]
#[case::many_files(&[("PUBLIC_KEY_FILE", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q")], "auth.jwt.public_key_file", "more than 16")]
#[case::lifetime(&[("JWKS_URL", "https://i"), ("MAX_LIFETIME", "1s")], "auth.jwt.max_lifetime", "accepted: 1m to 365d")]
fn settings_of_keys_that_do_not_fit_are_named(
    #[case] jwt: &[(&str, &str)],
    #[case] key: &str,
    #[case] says: &str,
) {
    use sluice_gateway::config::{Args, Config, ConfigError};
    let mode = [("SLUICE__AUTH__MODE".to_owned(), "jwt".to_owned())];
    let jwt = jwt
        .iter()
        .map(|(key, value)| (format!("SLUICE__AUTH__JWT__{key}"), (*value).to_owned()));
    let args = Args {
        dev: true,
        ..Args::default()
    };
    let refused = Config::load(&args, mode.into_iter().chain(jwt)).expect_err("refused");
    let ConfigError::Invalid(problems) = refused else {
        panic!("{refused}");
    };
    let found = problems.iter().find(|problem| problem.key == key);
    let found = found.unwrap_or_else(|| panic!("{key} is not named in {problems:?}"));
    assert!(found.complaint.contains(says), "{found}");
    assert!(!found.to_string().contains("canary"), "{found}");
}

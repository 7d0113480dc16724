//! Keys of `sluice token`: those that OpenSSL makes are taken, those made here are taken by OpenSSL, and what one key has
//! signed no other verifies.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::run;
use crate::token::{SECRET, json_of, mint, ran, token};

/// Runs OpenSSL in `folder`.
fn openssl(folder: &Path, line: &str) {
    let mut command = Command::new("openssl");
    command.args(line.split(' ')).current_dir(folder);
    let ran = run(command);
    assert_eq!(ran.code, 0, "openssl {line}: {}", ran.stderr);
}

/// The command lines of docs/auth.md that make `key.pem`, and the algorithms that the key is for.
const KEYS: &[(&str, &[&str])] = &[
    (
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
        &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    ),
    (
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
        &["ES256"],
    ),
    (
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
        &["ES384"],
    ),
    ("genpkey -algorithm ED25519 -out key.pem", &["EdDSA"]),
    // The older forms.
    ("genrsa -traditional -out key.pem 2048", &["RS256"]),
    ("ecparam -genkey -name prime256v1 -out key.pem", &["ES256"]),
    (
        "ecparam -genkey -noout -name secp384r1 -out key.pem",
        &["ES384"],
    ),
];

fn verified(words: &[&str]) -> (i32, String) {
    let (code, told) = json_of(token(&[&["inspect", "--json"], words].concat()));
    (code, told["signature"].as_str().unwrap().to_owned())
}

/// Of each algorithm: minted with the private key, verified with the public one, the private one and the JWKS, and not with
/// another key or after a change.
#[test]
fn keys_of_openssl_sign_and_verify() {
    let mut pairs = 0;
    for (make, algorithms) in KEYS {
        let folder = tempfile::tempdir().unwrap();
        openssl(folder.path(), make);
        openssl(folder.path(), "pkey -in key.pem -pubout -out public.pem");
        openssl(
            folder.path(),
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem",
        );
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, public, other, set) = (
            path("key.pem"),
            path("public.pem"),
            path("other.pem"),
            path("set.json"),
        );
        for algorithm in *algorithms {
            let asked = ["--algorithm", algorithm];
            let jwks = ran(token(
                &[&["jwks", public.as_str(), "--kid", "k1"][..], &asked].concat(),
            ));
            assert_eq!((jwks.code, jwks.stderr.as_str()), (0, ""));
            std::fs::write(&set, &jwks.stdout).unwrap();
            let minted = mint(
                &[
                    &["--subscribe", "a", "--kid", "k1", "--key-file", &key][..],
                    &asked,
                ]
                .concat(),
            );
            for with in [
                ["--key-file", &public],
                ["--key-file", &key],
                ["--jwks-file", &set],
            ] {
                assert_eq!(
                    verified(&[&[minted.as_str()], &with[..]].concat()),
                    (0, "verified".into()),
                    "{make} {algorithm} {with:?}"
                );
            }
            // The claims of one token under the signature of another.
            let second = mint(
                &[
                    &["--subscribe", "b", "--kid", "k1", "--key-file", &key][..],
                    &asked,
                ]
                .concat(),
            );
            let (begin, _) = minted.rsplit_once('.').unwrap();
            let (_, signature) = second.rsplit_once('.').unwrap();
            let forged = format!("{begin}.{signature}");
            for (text, with) in [(&forged, &public), (&minted, &other)] {
                assert_eq!(
                    verified(&[text, "--key-file", with]),
                    (1, "not_verified".into()),
                    "{make} {algorithm}"
                );
            }
            pairs += 1;
        }
        // Without a word, what fits the key.
        let minted = mint(&["--subscribe", "a", "--key-file", &key]);
        let header = URL_SAFE_NO_PAD
            .decode(minted.split('.').next().unwrap())
            .unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["alg"], algorithms[0]);
    }
    assert_eq!(pairs, 12);
}

/// A public key is never taken for an HMAC secret, nor a secret for the key of another algorithm.
#[test]
fn a_key_of_one_kind_verifies_no_other() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
    );
    openssl(folder.path(), "pkey -in key.pem -pubout -out public.pem");
    let public = folder.path().join("public.pem").display().to_string();
    // Signed with the public key's text as if it were a secret, as forgers do.
    let forged = mint(&["--subscribe", "a", "--secret-file", &public]);
    let told = ran(token(&["inspect", &forged, "--key-file", &public]));
    assert_eq!(told.code, 1, "{told:?}");
    assert!(
        told.stdout
            .contains("NOT VERIFIED: the token says HS256, and the key given is an RSA key"),
        "{}",
        told.stdout
    );
    assert!(
        told.stderr
            .starts_with("error: the signature is NOT VERIFIED: "),
        "{}",
        told.stderr
    );
    let told = ran(token(&[
        "check",
        &forged,
        "--channel",
        "a",
        "--key-file",
        &public,
    ]));
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
}

/// The end of a line in a secret's file is no part of the secret; the environment's is the same.
#[test]
fn a_secret_comes_from_a_file_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let minted = mint(&["--subscribe", "a"]);
    for (name, text) in [
        ("plain", SECRET.to_owned()),
        ("line", format!("{SECRET}\n")),
        ("crlf", format!("{SECRET}\r\n")),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        assert_eq!(
            verified(&[&minted, "--secret-file", &file]),
            (0, "verified".into()),
            "{name}"
        );
        for algorithm in ["HS256", "HS384", "HS512"] {
            let of_file = mint(&[
                "--subscribe",
                "a",
                "--secret-file",
                &file,
                "--algorithm",
                algorithm,
            ]);
            assert_eq!(
                verified(&[&of_file]),
                (0, "verified".into()),
                "{name} {algorithm}"
            );
        }
    }
    let mut other = token(&["inspect", &minted, "--json"]);
    other.env(
        "SLUICE_TOKEN_SECRET",
        "another secret of at least thirty-two bytes",
    );
    let (code, told) = json_of(other);
    assert_eq!(
        (code, told["signature"].as_str()),
        (1, Some("not_verified"))
    );
}

/// The private key goes to a file that only its owner reads, never over another; OpenSSL takes both halves.
#[test]
fn keys_are_made() {
    for algorithm in ["RS256", "ES256", "ES384", "EdDSA"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (key, public) = (path("key.pem"), path("public.pem"));
        let file = key.display().to_string();
        let made = ran(token(&["keygen", "--algorithm", algorithm, "--out", &file]));
        assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
        assert!(!made.stdout.contains("PRIVATE"), "{}", made.stdout);
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        openssl(folder.path(), "pkey -in key.pem -check -noout");
        openssl(folder.path(), "pkey -in key.pem -pubout -out public.pem");
        assert_eq!(
            made.stdout,
            std::fs::read_to_string(&public).unwrap(),
            "{algorithm}"
        );
        let minted = mint(&["--subscribe", "a", "--key-file", &file]);
        let public = public.display().to_string();
        assert_eq!(
            verified(&[&minted, "--key-file", &public]),
            (0, "verified".into())
        );

        let before = std::fs::read(&key).unwrap();
        let again = ran(token(&["keygen", "--algorithm", algorithm, "--out", &file]));
        assert_eq!((again.code, again.stdout.as_str()), (1, ""));
        assert!(again.stderr.contains("File exists"), "{}", again.stderr);
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret").display().to_string();
    let made = ran(token(&["keygen", "--algorithm", "HS256", "--out", &file]));
    assert_eq!(
        (made.code, made.stdout.as_str(), made.stderr.as_str()),
        (0, "", "")
    );
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(secret.trim_end().len(), 64);
    let minted = mint(&["--subscribe", "a", "--secret-file", &file]);
    assert_eq!(
        verified(&[&minted, "--secret-file", &file]),
        (0, "verified".into())
    );
}

/// A folder with keys of three kinds, two of one, and the set of them.
fn set_of_keys() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let keys = [
        ("rsa", "RS256"),
        ("ec", "ES256"),
        ("ed", "EdDSA"),
        ("ec2", "ES256"),
    ];
    for (name, algorithm) in keys {
        let made = ran(token(&[
            "keygen",
            "--algorithm",
            algorithm,
            "--out",
            &file(name),
        ]));
        assert_eq!(made.code, 0, "{made:?}");
    }
    let files = keys.map(|(name, _)| file(name));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, set) = json_of(token(&[&["jwks"][..], &files].concat()));
    assert_eq!(code, 0);
    std::fs::write(file("set"), set.to_string()).unwrap();
    (folder, set)
}

/// A set names its keys by thumbprint unless told otherwise, and has no private part.
#[test]
fn a_set_of_keys_is_made_of_pem_files() {
    let (_folder, set) = set_of_keys();
    let keys = set["keys"].as_array().unwrap();
    let kinds: Vec<_> = keys
        .iter()
        .map(|key| ["kty", "alg", "use"].map(|name| key[name].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ["RSA", "RS256", "sig"],
            ["EC", "ES256", "sig"],
            ["OKP", "EdDSA", "sig"],
            ["EC", "ES256", "sig"]
        ]
    );
    let private = ["d", "p", "q", "dp", "dq", "qi", "k"];
    for key in keys {
        assert_eq!(key["kid"].as_str().unwrap().len(), 43, "{key}");
        assert!(private.iter().all(|name| key.get(name).is_none()), "{key}");
    }
}

/// A token is checked with the key that it names, if that is for its algorithm; without a name, with the only one that fits.
#[test]
fn a_token_finds_its_key_in_a_set() {
    let (folder, set) = set_of_keys();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let kid = set["keys"][1]["kid"].as_str().unwrap();
    let of = |key: &str, kid: &[&str]| {
        mint(&[&["--subscribe", "a", "--key-file", &file(key)][..], kid].concat())
    };
    for text in [of("ec", &["--kid", kid]), of("rsa", &[])] {
        assert_eq!(
            verified(&[&text, "--jwks-file", &file("set")]),
            (0, "verified".into())
        );
    }
    for (text, why) in [
        (
            of("ec", &[]),
            "the token names no key, and the JWKS has several for ES256",
        ),
        (
            of("ec", &["--kid", "other"]),
            "the JWKS has no key `other` for ES256",
        ),
        (of("ed", &["--kid", kid]), "for EdDSA"),
        (of("ec2", &["--kid", kid]), "was not made with this key"),
    ] {
        let told = ran(token(&["inspect", &text, "--jwks-file", &file("set")]));
        assert_eq!(told.code, 1);
        assert!(told.stderr.contains(why), "{why}: {}", told.stderr);
    }
}

/// Files that are no key, each with what to do about it.
#[test]
fn a_file_that_is_no_key_is_told_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    openssl(
        path,
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
    );
    openssl(path, "pkey -in key.pem -pubout -out public.pem");
    openssl(path, "rsa -in key.pem -RSAPublicKey_out -out old.pem");
    openssl(
        path,
        "pkey -in key.pem -aes256 -passout pass:x -out encrypted.pem",
    );
    openssl(
        path,
        "req -x509 -key key.pem -subj /CN=x -days 1 -out certificate.pem",
    );
    openssl(
        path,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.pem",
    );
    openssl(
        path,
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out small.pem",
    );
    std::fs::write(path.join("text.pem"), "canary").unwrap();
    std::fs::write(path.join("short"), "canary-too-short").unwrap();
    std::fs::write(path.join("bytes"), [0xff; 40]).unwrap();
    std::fs::write(path.join("large"), vec![b'x'; 300 * 1024]).unwrap();
    let mut all = String::new();
    for (flag, name) in [
        ("--key-file", "public.pem"),
        ("--key-file", "old.pem"),
        ("--key-file", "encrypted.pem"),
        ("--key-file", "certificate.pem"),
        ("--key-file", "p521.pem"),
        ("--key-file", "small.pem"),
        ("--key-file", "text.pem"),
        ("--key-file", "absent.pem"),
        ("--key-file", "large"),
        ("--secret-file", "short"),
        ("--secret-file", "bytes"),
    ] {
        let file = path.join(name).display().to_string();
        let told = ran(token(&[
            "mint",
            "--sub",
            "42",
            "--subscribe",
            "a",
            flag,
            &file,
        ]));
        assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{name}");
        assert!(!told.stderr.contains("canary"), "{}", told.stderr);
        all += &format!(
            "{}\n",
            told.stderr.replace(&format!("{}/", path.display()), "")
        );
    }
    insta::assert_snapshot!("token_no_key", all);
}

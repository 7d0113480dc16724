//! Forged and broken tokens against one key: what attackers send, and what careless issuers sign.

mod forms;
mod texts;

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ALGORITHMS, ISSUER, Issuer, b64, claims, mac, pem};

/// Tokens by what is wrong with them; none of them twice.
pub struct Forgeries {
    pub tokens: BTreeMap<String, String>,
    seen: HashSet<String>,
}

/// The parts of an honest token.
struct Parts {
    header: String,
    claims: String,
    signature: String,
    signed: Vec<u8>,
}

impl Parts {
    fn of(issuer: &Issuer) -> Parts {
        let token = issuer.good();
        let mut parts = token.split('.').map(str::to_owned);
        let mut part = || parts.next().expect("three parts");
        let (header, claims, signature) = (part(), part(), part());
        let signed = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(&signature)
            .expect("base64url");
        Parts {
            header,
            claims,
            signature,
            signed,
        }
    }

    fn message(&self) -> String {
        format!("{}.{}", self.header, self.claims)
    }

    fn with(&self, signature: impl AsRef<[u8]>) -> String {
        format!("{}.{}", self.message(), b64(signature))
    }
}

impl Forgeries {
    /// All of them against the trusted issuer. With `named` keys are found by `kid` only.
    pub fn against(trusted: &Issuer, stranger: &Issuer, named: bool) -> Forgeries {
        let mut all = Forgeries {
            tokens: BTreeMap::new(),
            seen: HashSet::new(),
        };
        let parts = Parts::of(trusted);
        all.unsigned(&parts);
        all.confused(trusted, &parts);
        all.other_algorithms(trusted, &parts);
        all.signatures(trusted, &parts);
        all.parts(trusted, &parts);
        all.flips(&parts);
        all.headers(trusted, stranger);
        all.claims(trusted);
        all.strangers(stranger, trusted);
        if named {
            all.names(trusted);
        }
        all
    }

    /// Adds a token, unless it is there under another name: a MAC key of a zero equals the empty one.
    fn add(&mut self, what: impl Into<String>, token: String) {
        let what = what.into();
        if self.seen.insert(token.clone()) {
            assert!(self.tokens.insert(what.clone(), token).is_none(), "{what}");
        }
    }

    /// `alg: none` in all its spellings.
    fn unsigned(&mut self, parts: &Parts) {
        let spellings = [
            json!("none"),
            json!("None"),
            json!("NONE"),
            json!("nOnE"),
            json!("none "),
            json!(" none"),
            json!("none\u{0}"),
            json!("ｎone"),
            json!(""),
            json!("null"),
            json!("undefined"),
            Value::Null,
            json!(0),
            json!(false),
            json!([]),
            json!(["none"]),
            json!({}),
        ];
        for alg in spellings {
            let header = b64(json!({"alg": alg, "typ": "JWT"}).to_string());
            for (how, signature) in [("empty", ""), ("ours", &*parts.signature), ("one", "AA")] {
                let token = format!("{header}.{}.{signature}", parts.claims);
                self.add(format!("alg {alg}, signature {how}"), token);
            }
        }
    }

    /// A MAC under what everyone may know.
    fn confused(&mut self, trusted: &Issuer, parts: &Parts) {
        let mut known: Vec<(&str, Vec<u8>)> = vec![
            ("empty", Vec::new()),
            ("a zero", vec![0]),
            ("secret", b"secret".to_vec()),
            ("name", trusted.name.clone().into_bytes()),
            ("issuer", ISSUER.as_bytes().to_vec()),
        ];
        let public = trusted.public();
        if trusted.is_symmetric() {
            known.push(("half of it", public[..public.len() / 2].to_vec()));
            known.push(("with newline", [&public[..], b"\n"].concat()));
            known.push(("base64 of it", STANDARD.encode(&public).into_bytes()));
        } else {
            let text = trusted.pem();
            known.push(("PEM", text.clone().into_bytes()));
            known.push(("PEM without its end", text.trim().as_bytes().to_vec()));
            known.push(("PEM CRLF", text.replace('\n', "\r\n").into_bytes()));
            known.push(("PKCS#1 PEM", pem("RSA PUBLIC KEY", &public).into_bytes()));
            known.push(("DER", trusted.der()));
            known.push(("bytes", public.clone()));
            known.push(("base64 of DER", STANDARD.encode(trusted.der()).into_bytes()));
            known.push(("JWK", trusted.jwk().to_string().into_bytes()));
            known.push(("n or x", member(&trusted.jwk()).into_bytes()));
        }
        for (what, secret) in known {
            for alg in ["HS256", "HS384", "HS512"] {
                let header = json!({"alg": alg, "typ": "JWT", "kid": trusted.name}).to_string();
                let message = format!("{}.{}", b64(header), parts.claims);
                let signature = b64(mac(alg, &secret, message.as_bytes()));
                self.add(
                    format!("{alg} with {what}"),
                    format!("{message}.{signature}"),
                );
            }
        }
    }

    /// The right key with another algorithm, and names that are none.
    fn other_algorithms(&mut self, trusted: &Issuer, parts: &Parts) {
        for alg in ALGORITHMS.iter().filter(|alg| **alg != trusted.algorithm) {
            let header = json!({"alg": alg, "typ": "JWT", "kid": trusted.name}).to_string();
            let message = format!("{}.{}", b64(&header), parts.claims);
            self.add(
                format!("{alg}, old signature"),
                format!("{message}.{}", parts.signature),
            );
            self.add(
                format!("{alg}, our signature"),
                trusted.seal(&header, claims().to_string()),
            );
            if trusted.abilities().contains(alg) {
                let signature = b64(trusted.sign_as(alg, message.as_bytes()));
                self.add(
                    format!("{alg}, its signature"),
                    format!("{message}.{signature}"),
                );
                // Signed in the other way under the right name.
                let signature = trusted.sign_as(alg, parts.message().as_bytes());
                self.add(format!("signed as {alg}"), parts.with(signature));
            }
        }
        let lower = trusted.algorithm.to_lowercase();
        for alg in [
            "ES512",
            "ES256K",
            "HS1",
            "RS1",
            "HS2048",
            "RSA-OAEP",
            "dir",
            "A128GCM",
            "Ed25519",
            "Ed448",
            "PBES2-HS256+A128KW",
            &lower,
            &format!("{} ", trusted.algorithm),
            &format!("{}\u{0}", trusted.algorithm),
            &format!("{0},{0}", trusted.algorithm),
        ] {
            let header = json!({"alg": alg, "typ": "JWT", "kid": trusted.name}).to_string();
            self.add(
                format!("unknown alg {alg:?}"),
                trusted.seal(header, claims().to_string()),
            );
        }
        let header = json!({"alg": [trusted.algorithm], "kid": trusted.name}).to_string();
        self.add("alg in a list", trusted.seal(header, claims().to_string()));
        let header = json!({"typ": "JWT", "kid": trusted.name}).to_string();
        self.add("no alg", trusted.seal(header, claims().to_string()));
    }

    /// Another issuer's key, whatever its tokens say.
    fn strangers(&mut self, stranger: &Issuer, trusted: &Issuer) {
        let own = if stranger.is_symmetric() {
            json!({"kty": "oct"})
        } else {
            stranger.jwk()
        };
        for (what, header) in [
            ("the same kid", trusted.header()),
            ("no kid", json!({"alg": trusted.algorithm})),
            (
                "another kid",
                json!({"alg": trusted.algorithm, "kid": "key-2"}),
            ),
            (
                "a path",
                json!({"alg": trusted.algorithm, "kid": "../../dev/null"}),
            ),
            (
                "a query",
                json!({"alg": trusted.algorithm, "kid": "x' UNION SELECT 'key"}),
            ),
            ("its own key", json!({"alg": trusted.algorithm, "jwk": own})),
            (
                "its own URL",
                json!({"alg": trusted.algorithm, "jku": "https://evil.example"}),
            ),
            (
                "access token",
                json!({"alg": trusted.algorithm, "typ": "at+jwt"}),
            ),
        ] {
            self.add(
                format!("stranger: {what}"),
                stranger.seal(header.to_string(), claims().to_string()),
            );
        }
    }

    /// Well signed, under the name of no key.
    fn names(&mut self, trusted: &Issuer) {
        let kid = &trusted.name;
        for name in [
            "key-2",
            "KEY-1",
            "key",
            "*",
            "../key-1",
            "./key-1",
            "/dev/null",
            "file:///dev/null",
            "http://127.0.0.1:9/key",
            "key-1/",
            "key-1%00",
            "key-1\u{0}",
            " key-1",
            "key-1 ",
            "' OR '1'='1",
            "key-1; id",
            "$(id)",
            "__proto__",
            "constructor",
            "0",
            "ｋey-1",
            &kid.repeat(2),
            &"x".repeat(128),
        ] {
            let header = json!({"alg": trusted.algorithm, "typ": "JWT", "kid": name}).to_string();
            self.add(
                format!("kid {name:?}"),
                trusted.seal(header, claims().to_string()),
            );
        }
    }
}

fn member(jwk: &Value) -> String {
    let text = jwk.get("n").or(jwk.get("x")).and_then(Value::as_str);
    text.expect("n or x").to_owned()
}

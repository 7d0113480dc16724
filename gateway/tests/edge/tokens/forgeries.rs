//! Forged and broken tokens against one key: what attackers send, and what careless issuers sign.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use super::{ALGORITHMS, ISSUER, Issuer, b64, claims, mac, now, pem};

/// Tokens by what is wrong with them; none of them twice.
pub struct Forgeries {
    pub tokens: BTreeMap<String, String>,
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

    fn add(&mut self, what: impl Into<String>, token: String) {
        let what = what.into();
        let other = self.tokens.values().any(|known| *known == token);
        assert!(!other, "{what} is there already");
        assert!(self.tokens.insert(what.clone(), token).is_none(), "{what}");
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

    fn signatures(&mut self, trusted: &Issuer, parts: &Parts) {
        let signed = &parts.signed;
        let length = signed.len();
        for left in [1, 2, length / 2, length - 8, length - 2, length - 1] {
            self.add(
                format!("signature of {left} bytes"),
                parts.with(&signed[..left]),
            );
        }
        for (what, bytes) in [
            ("zeros", vec![0; length]),
            ("ones", vec![0xff; length]),
            ("1", [&vec![0; length - 1][..], &[1]].concat()),
            ("reversed", signed.iter().rev().copied().collect()),
            ("twice", signed.repeat(2)),
            ("a zero before", [&[0], &signed[..]].concat()),
            ("a zero behind", [&signed[..], &[0]].concat()),
            (
                "halves swapped",
                [&signed[length / 2..], &signed[..length / 2]].concat(),
            ),
            ("random", (0..length).map(|_| rand::random()).collect()),
        ] {
            self.add(format!("signature: {what}"), parts.with(bytes));
        }
        let other = trusted.sign(b"another message");
        self.add("signature of another message", parts.with(other));
        let other = trusted.sign(parts.claims.as_bytes());
        self.add("signature of the claims alone", parts.with(other));
        if let Some(asn1) = trusted.sign_asn1(parts.message().as_bytes()) {
            self.add("signature in ASN.1", parts.with(asn1));
            let (zero, mut one) = (vec![0; length / 2], vec![0; length / 2]);
            one[length / 2 - 1] = 1;
            self.add("r = 1, s = 0", parts.with([&one[..], &zero].concat()));
            self.add("r = 1, s = 1", parts.with([&one[..], &one].concat()));
        }
        if trusted.algorithm == "EdDSA" {
            self.edwards(parts);
        }
    }

    /// Points of small order, and the scalar one group order further (RFC 8032, section 5.1.7).
    fn edwards(&mut self, parts: &Parts) {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut further = parts.signed.clone();
        let mut carry = 0;
        for (digit, order) in further[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*digit) + u16::from(order) + carry;
            (*digit, carry) = (sum as u8, sum >> 8);
        }
        self.add("s + L", parts.with(further));
        for first in [1, 0xec, 0xed, 0xee] {
            let mut point = if first == 1 { [0; 32] } else { [0xff; 32] };
            point[0] = first;
            point[31] &= 0x7f;
            self.add(
                format!("small order {first}, s = 0"),
                parts.with([point, [0; 32]].concat()),
            );
            let message = [&point[..], &parts.signed[32..]].concat();
            self.add(format!("small order {first}, our s"), parts.with(message));
        }
    }

    /// Wrong numbers of parts, other serialisations, other spellings of base64.
    fn parts(&mut self, trusted: &Issuer, parts: &Parts) {
        let Parts {
            header: h,
            claims: c,
            signature: s,
            ..
        } = parts;
        let whole = format!("{h}.{c}.{s}");
        for (what, token) in [
            ("nothing", String::new()),
            ("dots", "..".to_owned()),
            ("letters", "a.b.c".to_owned()),
            ("one part", h.clone()),
            ("two parts", format!("{h}.{c}")),
            ("no signature", format!("{h}.{c}.")),
            ("no header", format!(".{c}.{s}")),
            ("no claims", format!("{h}..{s}")),
            ("four parts", format!("{whole}.{s}")),
            ("dot before", format!(".{whole}")),
            ("dot behind", format!("{whole}.")),
            ("order hsc", format!("{h}.{s}.{c}")),
            ("order chs", format!("{c}.{h}.{s}")),
            ("order csh", format!("{c}.{s}.{h}")),
            ("order shc", format!("{s}.{h}.{c}")),
            ("order sch", format!("{s}.{c}.{h}")),
            ("claims as header", format!("{c}.{c}.{s}")),
            ("header as claims", format!("{h}.{h}.{s}")),
            (
                "five parts, as JWE",
                format!("{}.a.b.c.d", b64(r#"{"alg":"dir","enc":"A128GCM"}"#)),
            ),
            ("five parts, nested", format!("{h}.{c}.{s}.{c}.{s}")),
            (
                "flattened JSON",
                json!({"protected": h, "payload": c, "signature": s}).to_string(),
            ),
            (
                "general JSON",
                json!({"payload": c, "signatures": [{"protected": h, "signature": s}]}).to_string(),
            ),
            (
                "unprotected header",
                json!({"header": {"alg": "none"}, "payload": c, "signature": s}).to_string(),
            ),
            ("twice", format!("{whole},{whole}")),
            ("quoted", format!("\"{whole}\"")),
            ("percent", whole.replace('.', "%2E")),
            ("upper case", whole.to_uppercase()),
            ("padded signature", format!("{whole}=")),
            ("padded signature twice", format!("{whole}==")),
            ("padded header", format!("{h}=.{c}.{s}")),
            ("padded claims", format!("{h}.{c}==.{s}")),
            ("newline behind", format!("{whole}\n")),
            ("blank before", format!(" {whole}")),
            ("blank behind", format!("{whole} ")),
            ("tab inside", format!("{h}\t.{c}.{s}")),
            ("NUL behind", format!("{whole}\u{0}")),
            ("NUL inside", format!("{h}.{c}\u{0}.{s}")),
            ("a soft hyphen", format!("{h}.{c}.\u{ad}{s}")),
            ("a wide dot", format!("{h}\u{ff0e}{c}\u{ff0e}{s}")),
        ] {
            self.add(format!("form: {what}"), token);
        }
        let standard = format!("{h}.{c}.{}", STANDARD.encode(&parts.signed));
        if standard != format!("{whole}=") && standard != format!("{whole}==") && standard != whole
        {
            self.add("form: standard base64", standard);
        }
        let plain = STANDARD_NO_PAD.encode(r#"{"alg":"??>>","typ":"~~~"}"#);
        self.add(
            "form: standard base64 in the header",
            format!("{plain}.{c}.{s}"),
        );
        if let Some(loose) = loose(s) {
            self.add("form: bits after the signature", format!("{h}.{c}.{loose}"));
        }
        let mut long = claims();
        long["padding"] = "x".repeat(8 * 1024).into();
        self.add("form: too long", trusted.token(&long));
    }

    /// One bit off, anywhere.
    fn flips(&mut self, parts: &Parts) {
        let whole = format!("{}.{}", parts.message(), parts.signature);
        for step in 0..64 {
            let length = parts.signed.len();
            let mut signature = parts.signed.clone();
            signature[step * length / 64] ^= 1 << (step % 8);
            let token = parts.with(signature);
            if !self.tokens.values().any(|known| *known == token) {
                self.add(format!("flip {step} in the signature"), token);
            }
        }
        let message = parts.message();
        for step in 0..48 {
            let at = step * message.len() / 48;
            let mut token = whole.clone().into_bytes();
            if token[at] == b'.' {
                continue;
            }
            token[at] = if token[at] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(token).expect("ASCII");
            if token != whole {
                self.add(format!("letter {at} of the message"), token);
            }
        }
    }

    /// Headers that ask for what is not done; all well signed.
    fn headers(&mut self, trusted: &Issuer, stranger: &Issuer) {
        let own = if stranger.is_symmetric() {
            json!({"kty": "oct", "k": b64("x")})
        } else {
            stranger.jwk()
        };
        let url = "http://127.0.0.1:9/keys";
        for (name, value) in [
            ("jku", json!(url)),
            ("jku", json!("")),
            ("jku", Value::Null),
            ("jku", json!("https://issuer.example/keys")),
            ("x5u", json!(url)),
            ("x5u", json!("file:///dev/null")),
            ("x5c", json!(["MIIB"])),
            ("x5c", json!([])),
            ("jwk", own),
            ("jwk", json!({})),
            ("jwk", Value::Null),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("crit", json!(["b64"])),
            ("crit", json!("b64")),
            ("crit", Value::Null),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("enc", json!("A128GCM")),
            ("zip", json!("DEF")),
            ("cty", json!("JWT")),
            ("cty", json!("jwt")),
            ("epk", json!({})),
            ("p2c", json!(1_000_000)),
            ("typ", json!("JWE")),
            ("typ", json!("JOSE")),
            ("typ", json!("secevent+jwt")),
            ("typ", json!("logout+jwt")),
            ("typ", json!("dpop+jwt")),
            ("typ", json!("")),
            ("typ", json!("JWT ")),
            ("typ", json!(1)),
            ("typ", Value::Null),
            ("typ", json!(["JWT"])),
            ("kid", json!("")),
            ("kid", json!(1)),
            ("kid", Value::Null),
            ("kid", json!(["key-1"])),
            ("kid", json!({"kid": "key-1"})),
            ("kid", json!("x".repeat(129))),
            ("kid", json!("é".repeat(65))),
        ] {
            let mut header = trusted.header();
            header[name] = value.clone();
            self.add(
                format!("header {name}: {value}"),
                trusted.seal(header.to_string(), claims().to_string()),
            );
        }
        let (alg, kid) = (trusted.algorithm, &trusted.name);
        for (what, header) in [
            (
                "alg twice",
                format!(r#"{{"alg":"none","alg":"{alg}","kid":"{kid}"}}"#),
            ),
            (
                "alg twice, other order",
                format!(r#"{{"alg":"{alg}","kid":"{kid}","alg":"none"}}"#),
            ),
            (
                "alg twice, the same",
                format!(r#"{{"alg":"{alg}","alg":"{alg}","kid":"{kid}"}}"#),
            ),
            (
                "alg twice, escaped",
                format!(r#"{{"alg":"{alg}","\u0061lg":"{alg}","kid":"{kid}"}}"#),
            ),
            (
                "kid twice",
                format!(r#"{{"alg":"{alg}","kid":"{kid}","kid":"{kid}"}}"#),
            ),
            (
                "typ twice",
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"JWT","typ":"JWE"}}"#),
            ),
            (
                "something twice",
                format!(r#"{{"alg":"{alg}","kid":"{kid}","x":{{"y":1,"y":2}}}}"#),
            ),
            ("a list", format!(r#"[{{"alg":"{alg}","kid":"{kid}"}}]"#)),
            ("a text", format!(r#""{alg}""#)),
            ("a number", "1".to_owned()),
            ("null", "null".to_owned()),
            (
                "a comma too many",
                format!(r#"{{"alg":"{alg}","kid":"{kid}",}}"#),
            ),
            (
                "something behind",
                format!(r#"{{"alg":"{alg}","kid":"{kid}"}}{{}}"#),
            ),
            (
                "a comment",
                format!(r#"{{"alg":"{alg}"/*x*/,"kid":"{kid}"}}"#),
            ),
            ("single quotes", format!("{{'alg':'{alg}','kid':'{kid}'}}")),
            (
                "a mark before",
                format!("\u{feff}{{\"alg\":\"{alg}\",\"kid\":\"{kid}\"}}"),
            ),
            ("cut off", format!(r#"{{"alg":"{alg}","kid":"{kid}""#)),
            ("upper case", format!(r#"{{"ALG":"{alg}","kid":"{kid}"}}"#)),
            (
                "deep",
                format!(
                    r#"{{"alg":"{alg}","kid":"{kid}","x":{}{}}}"#,
                    "[".repeat(200),
                    "]".repeat(200)
                ),
            ),
            (
                "half a surrogate",
                format!(r#"{{"alg":"{alg}","kid":"{kid}","x":"\ud800"}}"#),
            ),
        ] {
            self.add(
                format!("header: {what}"),
                trusted.seal(header, claims().to_string()),
            );
        }
        let broken = [
            format!(r#"{{"alg":"{alg}","kid":"{kid}","x":""#).as_bytes(),
            b"\xff\"}",
        ]
        .concat();
        self.add(
            "header: not UTF-8",
            trusted.seal(broken, claims().to_string()),
        );
    }

    /// Claims that no token may have; all well signed.
    fn claims(&mut self, trusted: &Issuer) {
        let absent = json!("(absent)");
        let list = |count: usize| json!({"subscribe": vec!["a"; count]});
        for (name, value) in [
            ("exp", absent.clone()),
            ("exp", Value::Null),
            ("exp", json!("soon")),
            ("exp", json!((now() + 600).to_string())),
            ("exp", json!(true)),
            ("exp", json!([now() + 600])),
            ("exp", json!({})),
            ("exp", json!(-1)),
            ("exp", json!(0)),
            ("exp", json!(0.5)),
            ("exp", json!(1e300)),
            ("exp", json!(u64::MAX)),
            ("exp", json!(i64::MIN)),
            ("exp", json!(now() - 3_600)),
            ("exp", json!(now() - 10)),
            ("exp", json!(now() + 90_000)),
            ("exp", json!((now() + 600) * 1_000)),
            ("nbf", Value::Null),
            ("nbf", json!("now")),
            ("nbf", json!(now() + 600)),
            ("nbf", json!(-1)),
            ("nbf", json!([])),
            ("nbf", json!(1e300)),
            ("nbf", json!(true)),
            ("iat", Value::Null),
            ("iat", json!("now")),
            ("iat", json!(now() + 600)),
            ("iat", json!(-1)),
            ("iat", json!([])),
            ("iat", json!(1e300)),
            ("iat", json!(true)),
            ("iss", absent.clone()),
            ("iss", Value::Null),
            ("iss", json!("https://evil.example")),
            ("iss", json!(format!("{ISSUER}/"))),
            ("iss", json!(ISSUER.to_uppercase())),
            ("iss", json!([ISSUER])),
            ("iss", json!([ISSUER, "x"])),
            ("iss", json!(1)),
            ("iss", json!("")),
            ("iss", json!(format!("{ISSUER}\u{0}"))),
            ("iss", json!({})),
            ("aud", absent.clone()),
            ("aud", Value::Null),
            ("aud", json!("other")),
            ("aud", json!("Sluice")),
            ("aud", json!("sluice ")),
            ("aud", json!([])),
            ("aud", json!(["other", "another"])),
            ("aud", json!(1)),
            ("aud", json!({"sluice": true})),
            ("aud", json!([["sluice"]])),
            ("aud", json!("")),
            ("aud", json!("sluice\u{0}")),
            ("sub", absent.clone()),
            ("sub", Value::Null),
            ("sub", json!("")),
            ("sub", json!(42)),
            ("sub", json!(["ann"])),
            ("sub", json!({})),
            ("sub", json!(true)),
            ("sub", json!("x".repeat(257))),
            ("sub", json!("ann\u{0}")),
            ("sub", json!("ann\nroot")),
            ("sub", json!("\u{7f}")),
            ("sub", json!("é".repeat(129))),
            ("jti", Value::Null),
            ("jti", json!("")),
            ("jti", json!(1)),
            ("jti", json!("x".repeat(257))),
            ("jti", json!("a\r\nb")),
            ("jti", json!(["x"])),
            ("sluice", Value::Null),
            ("sluice", json!("**")),
            ("sluice", json!(["**"])),
            ("sluice", json!(true)),
            ("sluice", json!({"subscribe": "**"})),
            ("sluice", json!({"subscribe": [1]})),
            ("sluice", json!({"subscribe": null})),
            ("sluice", json!({"publish": {"**": true}})),
            ("sluice", list(129)),
            ("sluice", json!({"subscribe": ["a**"]})),
            ("sluice", json!({"subscribe": ["**.a"]})),
            ("sluice", json!({"subscribe": [""]})),
            ("sluice", json!({"subscribe": ["a..b"]})),
            ("sluice", json!({"subscribe": ["user-{sub}"]})),
            ("sluice", json!({"subscribe": ["{jti}"]})),
            ("sluice", json!({"subscribe": ["a b"]})),
            ("sluice", json!({"subscribe": ["a\u{0}"]})),
            ("sluice", json!({"subscribe": ["ａ"]})),
            ("sluice", json!({"publish": ["*a"]})),
        ] {
            let mut all = claims();
            let members = all.as_object_mut().expect("an object");
            if value == absent {
                members.remove(name);
            } else {
                members.insert(name.to_owned(), value.clone());
            }
            let short: String = value.to_string().chars().take(60).collect();
            self.add(format!("claim {name}: {short}"), trusted.token(&all));
        }
        self.texts(trusted);
    }

    /// Claims that are no good JSON.
    fn texts(&mut self, trusted: &Issuer) {
        let good = claims().to_string();
        let open = good.strip_suffix('}').expect("an object");
        for (what, text) in [
            ("exp twice", format!(r#"{open},"exp":99999999999}}"#)),
            ("sub twice", format!(r#"{open},"sub":"root"}}"#)),
            ("iss twice", format!(r#"{open},"iss":"{ISSUER}"}}"#)),
            ("aud twice", format!(r#"{open},"aud":"sluice"}}"#)),
            ("sluice twice", format!(r#"{open},"sluice":{{}}}}"#)),
            (
                "sub twice, escaped",
                format!(r#"{open},"\u0073ub":"root"}}"#),
            ),
            ("something twice", format!(r#"{open},"x":1,"x":1}}"#)),
            (
                "subscribe twice",
                format!(r#"{open},"y":{{"subscribe":[],"subscribe":["**"]}}}}"#),
            ),
            ("a list", format!("[{good}]")),
            ("a text", "\"ann\"".to_owned()),
            ("null", "null".to_owned()),
            ("a number", "1".to_owned()),
            ("nothing much", "{}".to_owned()),
            ("a comma too many", format!("{open},}}")),
            ("something behind", format!("{good} {good}")),
            ("a mark before", format!("\u{feff}{good}")),
            ("cut off", open.to_owned()),
            ("half a surrogate", format!(r#"{open},"x":"\udfff"}}"#)),
            ("not a number", format!(r#"{open},"x":NaN}}"#)),
            ("too large a number", format!(r#"{open},"x":1e999}}"#)),
            ("a raw newline", format!("{open},\"x\":\"\n\"}}")),
            (
                "deep",
                format!(r#"{open},"x":{}{}}}"#, "[".repeat(200), "]".repeat(200)),
            ),
            ("a token", trusted.good()),
        ] {
            self.add(
                format!("claims: {what}"),
                trusted.seal(trusted.header().to_string(), text),
            );
        }
        let broken = [open.as_bytes(), b",\"x\":\"\xc0\xaf\"}"].concat();
        self.add(
            "claims: overlong UTF-8",
            trusted.seal(trusted.header().to_string(), broken),
        );
        let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.add(
            "claims: UTF-16",
            trusted.seal(trusted.header().to_string(), wide),
        );
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

/// The same bytes with bits set that belong to none of them; nothing where there are no such bits.
fn loose(text: &str) -> Option<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if text.len() % 4 == 0 {
        return None;
    }
    let (rest, last) = text.split_at(text.len() - 1);
    let value = LETTERS
        .iter()
        .position(|letter| last.as_bytes() == [*letter])?;
    Some(format!("{rest}{}", char::from(LETTERS[value ^ 1])))
}

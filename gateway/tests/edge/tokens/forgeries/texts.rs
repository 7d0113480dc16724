//! Headers and claims that no good token has, all of them well signed: what a careless issuer may do, and what a thief of
//! its key may try.

use serde_json::{Value, json};

use super::super::{ISSUER, Issuer, claims, now};
use super::Forgeries;

/// Members of a header and their values in JSON. In these tables `{n*x}` is so many times that letter, `{+n}` and `{-n}` a
/// time so many seconds from now, `ISS` the issuer, and `absent` means that the member is not there.
const HEADERS: [(&str, &str); 40] = [
    ("jku", r#""http://127.0.0.1:9/keys""#),
    ("jku", r#""""#),
    ("jku", "null"),
    ("jku", r#""ISS/keys""#),
    ("x5u", r#""http://127.0.0.1:9/keys""#),
    ("x5u", r#""file:///dev/null""#),
    ("x5c", r#"["MIIB"]"#),
    ("x5c", "[]"),
    ("jwk", "{}"),
    ("jwk", "null"),
    ("crit", r#"["exp"]"#),
    ("crit", "[]"),
    ("crit", r#"["b64"]"#),
    ("crit", r#""b64""#),
    ("crit", "null"),
    ("b64", "false"),
    ("b64", "true"),
    ("enc", r#""A128GCM""#),
    ("zip", r#""DEF""#),
    ("cty", r#""JWT""#),
    ("cty", r#""jwt""#),
    ("epk", "{}"),
    ("p2c", "1000000"),
    ("typ", r#""JWE""#),
    ("typ", r#""JOSE""#),
    ("typ", r#""secevent+jwt""#),
    ("typ", r#""logout+jwt""#),
    ("typ", r#""dpop+jwt""#),
    ("typ", r#""""#),
    ("typ", r#""JWT ""#),
    ("typ", "1"),
    ("typ", "null"),
    ("typ", r#"["JWT"]"#),
    ("kid", r#""""#),
    ("kid", "1"),
    ("kid", "null"),
    ("kid", r#"["key-1"]"#),
    ("kid", r#"{"kid": "key-1"}"#),
    ("kid", r#""{129*x}""#),
    ("kid", r#""{65*é}""#),
];

/// Whole headers that are no header. `ALG` and `KID` are the right ones.
const BROKEN_HEADERS: [&str; 20] = [
    r#"{"alg":"none","alg":"ALG","kid":"KID"}"#,
    r#"{"alg":"ALG","kid":"KID","alg":"none"}"#,
    r#"{"alg":"ALG","alg":"ALG","kid":"KID"}"#,
    r#"{"alg":"ALG","\u0061lg":"ALG","kid":"KID"}"#,
    r#"{"alg":"ALG","kid":"KID","kid":"KID"}"#,
    r#"{"alg":"ALG","kid":"KID","typ":"JWT","typ":"JWE"}"#,
    r#"{"alg":"ALG","kid":"KID","x":{"y":1,"y":2}}"#,
    r#"[{"alg":"ALG","kid":"KID"}]"#,
    r#""ALG""#,
    "1",
    "null",
    r#"{"alg":"ALG","kid":"KID",}"#,
    r#"{"alg":"ALG","kid":"KID"}{}"#,
    r#"{"alg":"ALG"/*x*/,"kid":"KID"}"#,
    "{'alg':'ALG','kid':'KID'}",
    "\u{feff}{\"alg\":\"ALG\",\"kid\":\"KID\"}",
    r#"{"alg":"ALG","kid":"KID""#,
    r#"{"ALG":"ALG","kid":"KID"}"#,
    r#"{"alg":"ALG","kid":"KID","x":{200*[}{200*]}}"#,
    r#"{"alg":"ALG","kid":"KID","x":"\ud800"}"#,
];

const CLAIMS: [(&str, &str); 85] = [
    ("exp", "absent"),
    ("exp", "null"),
    ("exp", r#""soon""#),
    ("exp", r#""{+600}""#),
    ("exp", "true"),
    ("exp", "[{+600}]"),
    ("exp", "{}"),
    ("exp", "-1"),
    ("exp", "0"),
    ("exp", "0.5"),
    ("exp", "1e300"),
    ("exp", "18446744073709551615"),
    ("exp", "-9223372036854775808"),
    ("exp", "{-3600}"),
    ("exp", "{-10}"),
    ("exp", "{+90000}"),
    ("exp", "{+600}000"),
    ("nbf", "null"),
    ("nbf", r#""now""#),
    ("nbf", "{+600}"),
    ("nbf", "-1"),
    ("nbf", "[]"),
    ("nbf", "1e300"),
    ("nbf", "true"),
    ("iat", "null"),
    ("iat", r#""now""#),
    ("iat", "{+600}"),
    ("iat", "-1"),
    ("iat", "[]"),
    ("iat", "1e300"),
    ("iat", "true"),
    ("iss", "absent"),
    ("iss", "null"),
    ("iss", r#""https://evil.example""#),
    ("iss", r#""ISS/""#),
    ("iss", r#""HTTPS://ISSUER.EXAMPLE""#),
    ("iss", r#"["ISS"]"#),
    ("iss", r#"["ISS", "x"]"#),
    ("iss", "1"),
    ("iss", r#""""#),
    ("iss", r#""ISS\u0000""#),
    ("iss", "{}"),
    ("aud", "absent"),
    ("aud", "null"),
    ("aud", r#""other""#),
    ("aud", r#""Sluice""#),
    ("aud", r#""sluice ""#),
    ("aud", "[]"),
    ("aud", r#"["other", "another"]"#),
    ("aud", "1"),
    ("aud", r#"{"sluice": true}"#),
    ("aud", r#"[["sluice"]]"#),
    ("aud", r#""""#),
    ("aud", r#""sluice\u0000""#),
    ("sub", "absent"),
    ("sub", "null"),
    ("sub", r#""""#),
    ("sub", "42"),
    ("sub", r#"["ann"]"#),
    ("sub", "{}"),
    ("sub", "true"),
    ("sub", r#""{257*x}""#),
    ("sub", r#""ann\u0000""#),
    ("sub", r#""ann\nroot""#),
    ("sub", r#""\u007f""#),
    ("sub", r#""{129*é}""#),
    ("jti", "null"),
    ("jti", r#""""#),
    ("jti", "1"),
    ("jti", r#""{257*x}""#),
    ("jti", r#""a\r\nb""#),
    ("jti", r#"["x"]"#),
    ("sluice", "null"),
    ("sluice", r#""**""#),
    ("sluice", r#"["**"]"#),
    ("sluice", "true"),
    ("sluice", r#"{"subscribe": "**"}"#),
    ("sluice", r#"{"subscribe": [1]}"#),
    ("sluice", r#"{"subscribe": null}"#),
    ("sluice", r#"{"publish": {"**": true}}"#),
    ("sluice", r#"{"publish": [["**"]]}"#),
    ("sluice", r#"{"subscribe": ["a", null]}"#),
    ("sluice", r#"{"subscribe": {}}"#),
    ("sluice", r#"{"subscribe": 1}"#),
    ("sluice", "[]"),
];

/// Patterns that are none; one of them spoils the token.
const PATTERNS: [&str; 14] = [
    "a**",
    "**.a",
    "",
    "a..b",
    ".a",
    "a.",
    "user-{sub}",
    "{jti}",
    "{sub",
    "a b",
    "a\u{0}",
    "ａ",
    "*a",
    "a.***",
];

/// Claims that are no good JSON; `OPEN` is a good object without its end.
const BROKEN_CLAIMS: [&str; 22] = [
    r#"OPEN,"exp":99999999999}"#,
    r#"OPEN,"sub":"root"}"#,
    r#"OPEN,"iss":"ISS"}"#,
    r#"OPEN,"aud":"sluice"}"#,
    r#"OPEN,"sluice":{}}"#,
    r#"OPEN,"\u0073ub":"root"}"#,
    r#"OPEN,"x":1,"x":1}"#,
    r#"OPEN,"y":{"subscribe":[],"subscribe":["**"]}}"#,
    "[OPEN}]",
    r#""ann""#,
    "null",
    "1",
    "{}",
    "OPEN,}",
    "OPEN} OPEN}",
    "\u{feff}OPEN}",
    "OPEN",
    r#"OPEN,"x":"\udfff"}"#,
    r#"OPEN,"x":NaN}"#,
    r#"OPEN,"x":1e999}"#,
    "OPEN,\"x\":\"\n\"}",
    r#"OPEN,"x":{200*[}{200*]}}"#,
];

/// Fills in what a table leaves open.
fn filled(text: &str) -> String {
    let mut out = text.replace("ISS", ISSUER);
    for seconds in [600, -3_600, -10, 90_000] {
        let open = format!("{{{seconds:+}}}");
        out = out.replace(&open, &(now() + seconds).to_string());
    }
    for (count, letter) in [
        (129, "x"),
        (257, "x"),
        (65, "é"),
        (129, "é"),
        (200, "["),
        (200, "]"),
    ] {
        out = out.replace(&format!("{{{count}*{letter}}}"), &letter.repeat(count));
    }
    out
}

fn value(text: &str) -> Value {
    serde_json::from_str(&filled(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl Forgeries {
    /// Headers that ask for what is not done.
    pub(super) fn headers(&mut self, trusted: &Issuer, stranger: &Issuer) {
        for (name, text) in HEADERS {
            let mut header = trusted.header();
            header[name] = value(text);
            let token = trusted.seal(header.to_string(), claims().to_string());
            self.add(format!("header {name}: {text}"), token);
        }
        if !stranger.is_symmetric() {
            let mut header = trusted.header();
            header["jwk"] = stranger.jwk();
            let token = trusted.seal(header.to_string(), claims().to_string());
            self.add("header jwk: a stranger's", token);
        }
        let (alg, kid) = (trusted.algorithm, &trusted.name);
        for text in BROKEN_HEADERS {
            // A member called ALG must stay: only values are filled in.
            let text = filled(text).replace("\"ALG\"", &format!("{alg:?}"));
            let text = text
                .replace("'ALG'", &format!("'{alg}'"))
                .replace("KID", kid);
            let token = trusted.seal(&text, claims().to_string());
            self.add(format!("header: {text}"), token);
        }
        let open = format!(r#"{{"alg":"{alg}","kid":"{kid}","x":""#);
        let broken = [open.as_bytes(), b"\xff\"}"].concat();
        let token = trusted.seal(broken, claims().to_string());
        self.add("header: not UTF-8", token);
    }

    /// Claims that no token may have.
    pub(super) fn claims(&mut self, trusted: &Issuer) {
        for (name, text) in CLAIMS {
            let mut all = claims();
            let members = all.as_object_mut().expect("an object");
            if text == "absent" {
                members.remove(name);
            } else {
                members.insert(name.to_owned(), value(text));
            }
            self.add(format!("claim {name}: {text}"), trusted.token(&all));
        }
        for pattern in PATTERNS {
            for list in ["subscribe", "publish"] {
                let mut all = claims();
                all["sluice"][list] = json!(["good", pattern]);
                self.add(format!("{list}: {pattern:?}"), trusted.token(&all));
            }
        }
        let mut all = claims();
        all["sluice"]["subscribe"] = json!(vec!["a"; 129]);
        self.add("129 patterns", trusted.token(&all));
        self.broken_claims(trusted);
    }

    fn broken_claims(&mut self, trusted: &Issuer) {
        let header = trusted.header().to_string();
        let good = claims().to_string();
        let open = good.strip_suffix('}').expect("an object");
        for text in BROKEN_CLAIMS {
            let token = trusted.seal(&header, filled(text).replace("OPEN", open));
            self.add(format!("claims: {text}"), token);
        }
        self.add("claims: a token", trusted.seal(&header, trusted.good()));
        let broken = [open.as_bytes(), b",\"x\":\"\xc0\xaf\"}"].concat();
        self.add("claims: overlong UTF-8", trusted.seal(&header, broken));
        let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.add("claims: UTF-16", trusted.seal(&header, wide));
    }
}

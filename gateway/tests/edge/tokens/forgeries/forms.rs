//! Signatures and parts of a token that are not what they should be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use super::super::{Issuer, b64, claims};
use super::{Forgeries, Parts};

/// What may be made of a good token's header, claims and signature.
const FORMS: [&str; 34] = [
    "",
    "..",
    "a.b.c",
    "{h}",
    "{h}.{c}",
    "{h}.{c}.",
    ".{c}.{s}",
    "{h}..{s}",
    "{h}.{c}.{s}.{s}",
    ".{h}.{c}.{s}",
    "{h}.{c}.{s}.",
    "{h}.{s}.{c}",
    "{c}.{h}.{s}",
    "{c}.{s}.{h}",
    "{s}.{h}.{c}",
    "{s}.{c}.{h}",
    "{c}.{c}.{s}",
    "{h}.{h}.{s}",
    "{h}.{c}.{s}.{c}.{s}",
    "{h}.{c}.{s},{h}.{c}.{s}",
    "\"{h}.{c}.{s}\"",
    "{h}.{c}.{s}=",
    "{h}.{c}.{s}==",
    "{h}=.{c}.{s}",
    "{h}.{c}==.{s}",
    "{h}.{c}.{s}\n",
    " {h}.{c}.{s}",
    "{h}.{c}.{s} ",
    "{h}\t.{c}.{s}",
    "{h}.{c}.{s}\0",
    "{h}.{c}\0.{s}",
    "{h}.{c}.\u{ad}{s}",
    "{h}\u{ff0e}{c}\u{ff0e}{s}",
    "Bearer {h}.{c}.{s}",
];

/// Base64 of it has a `+` and a `/`, which base64url has not.
const ODD_HEADER: &str = r#"{"alg":"HS256","typ":"??>>~~~"}"#;

impl Forgeries {
    pub(super) fn signatures(&mut self, trusted: &Issuer, parts: &Parts) {
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
    pub(super) fn edwards(&mut self, parts: &Parts) {
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
    pub(super) fn parts(&mut self, trusted: &Issuer, parts: &Parts) {
        let Parts {
            header: h,
            claims: c,
            signature: s,
            ..
        } = parts;
        let whole = format!("{h}.{c}.{s}");
        for form in FORMS {
            let token = form.replace("{h}", h).replace("{c}", c).replace("{s}", s);
            self.add(format!("form: {form:?}"), token);
        }
        for (what, token) in [
            (
                "five parts, as JWE",
                format!("{}.a.b.c.d", b64(r#"{"alg":"dir","enc":"A128GCM"}"#)),
            ),
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
            ("percent", whole.replace('.', "%2E")),
            ("upper case", whole.to_uppercase()),
            (
                "standard base64",
                format!("{}.{c}.{s}", STANDARD_NO_PAD.encode(ODD_HEADER)),
            ),
        ] {
            self.add(format!("form: {what}"), token);
        }
        if let Some(loose) = loose(s) {
            self.add("form: bits after the signature", format!("{h}.{c}.{loose}"));
        }
        let mut long = claims();
        long["padding"] = "x".repeat(8 * 1024).into();
        self.add("form: too long", trusted.token(&long));
    }

    /// One bit off, anywhere.
    pub(super) fn flips(&mut self, parts: &Parts) {
        let whole = format!("{}.{}", parts.message(), parts.signature);
        for step in 0..64 {
            let length = parts.signed.len();
            let mut signature = parts.signed.clone();
            signature[step * length / 64] ^= 1 << (step % 8);
            let token = parts.with(signature);
            self.add(format!("flip {step} in the signature"), token);
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
}

/// The same bytes with bits set that belong to none of them; nothing where there are no such bits.
fn loose(text: &str) -> Option<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if text.len().is_multiple_of(4) {
        return None;
    }
    let (rest, last) = text.split_at(text.len() - 1);
    let value = LETTERS
        .iter()
        .position(|letter| last.as_bytes() == [*letter])?;
    Some(format!("{rest}{}", char::from(LETTERS[value ^ 1])))
}

//! `sluice token inspect` and `sluice token check`: what a token says and grants, and what is wrong with it.

use std::io::Read;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Kind};
use super::claims::{Complaint, TOKEN_BYTES_MOST, complaints};
use super::grants::{self, Answer, Grant, Grants};
use super::key::{Unverified, Verifying};
use super::parts::{Object, Parts};
use super::times::{distance, timestamp, unix};
use crate::args::{Action, Inspect, KeySource};
use crate::failure::{Failure, printable};
use crate::notice::Notice;
use crate::output::Output;

/// Most bytes of standard input; some more than a gateway takes, so that what is too long can be looked at.
const INPUT_BYTES_MOST: usize = 8 * TOKEN_BYTES_MOST;

/// A token and all that is told of it.
struct Report {
    parts: Parts,
    now: f64,
    subscribe: Grants,
    publish: Grants,
    complaints: Vec<Complaint>,
    signature: Signature,
    answer: Option<Answer>,
}

/// What is known of the signature.
#[derive(Debug, Eq, PartialEq)]
enum Signature {
    NotChecked,
    Verified(Algorithm),
    Wrong(String),
}

/// Prints all about the token.
///
/// # Errors
/// The token cannot be read, or its signature was checked and is not right.
pub fn inspect(job: &Inspect) -> Result<(), Failure> {
    let report = report(job)?;
    let mut output = Output::new();
    if job.json {
        output.line(report.json().as_bytes())?;
    } else {
        for line in report.lines() {
            output.line(printable(&line).as_bytes())?;
        }
    }
    output.flush()?;
    match report.signature {
        Signature::Wrong(why) => Err(unverified(&why)),
        Signature::NotChecked | Signature::Verified(_) => Ok(()),
    }
}

/// Prints whether the token allows the channel.
///
/// # Errors
/// It does not, or a gateway would refuse it whatever it allows.
pub fn check(job: &Inspect) -> Result<(), Failure> {
    let report = report(job)?;
    let answer = report
        .answer
        .as_ref()
        .ok_or_else(|| Failure::failed("no channel to check"))?;
    let (action, channel) = (job.ask.as_ref()).map_or(("use", ""), |(channel, action)| {
        (action.words(), channel.as_str())
    });
    let mut output = Output::new();
    if job.json {
        output.line(report.json().as_bytes())?;
    } else if answer.allowed && report.is_good() {
        output.line(format!("allowed to {action} {channel}: {}", answer.why).as_bytes())?;
    }
    output.flush()?;
    if let Signature::Wrong(why) = &report.signature {
        return Err(unverified(why));
    }
    let not_allowed = |why: String, hint: &str| Failure::Failed {
        what: format!("not allowed to {action} {channel}: {why}"),
        hint: Some(hint.to_owned()),
    };
    if let Some(first) = report.complaints.first() {
        return Err(not_allowed(
            format!("gateways refuse the token: {}", first.detail),
            "`sluice token inspect` tells all about it",
        ));
    }
    if !answer.allowed {
        return Err(not_allowed(
            answer.why.clone(),
            "mint a token whose patterns stand for the channel; `*` is one segment, `**` the rest",
        ));
    }
    if report.signature == Signature::NotChecked {
        Notice::Note(NOT_CHECKED.to_owned()).tell(job.json);
    }
    Ok(())
}

const NOT_CHECKED: &str =
    "the signature was NOT CHECKED: give --secret-file, --key-file or --jwks-file";

fn unverified(why: &str) -> Failure {
    Failure::Failed {
        what: format!("the signature is NOT VERIFIED: {why}"),
        hint: Some("trust nothing that this token says, unless the wrong key was given".into()),
    }
}

fn report(job: &Inspect) -> Result<Report, Failure> {
    let text = match &job.token {
        Some(token) => token.expose().to_owned(),
        None => standard_input()?,
    };
    let parts = Parts::of(text.trim()).map_err(|why| Failure::Failed {
        what: format!("this is no token: {why}"),
        hint: Some("give the token as issued, without `Bearer`".into()),
    })?;
    let now = unix(SystemTime::now());
    let subject = parts.claims.get("sub").and_then(Value::as_str);
    let subject = subject.unwrap_or_default();
    let grants = |action| {
        let texts = grants::texts(&parts.claims, action);
        Grants::of(texts.unwrap_or_default(), subject)
    };
    let (subscribe, publish) = (grants(Action::Subscribe), grants(Action::Publish));
    let answer = job.ask.as_ref().map(|(channel, action)| match action {
        Action::Subscribe => subscribe.answer(*action, channel),
        Action::Publish => publish.answer(*action, channel),
    });
    Ok(Report {
        complaints: complaints(&parts, now),
        signature: signature(&parts, job.key.as_ref())?,
        parts,
        now,
        subscribe,
        publish,
        answer,
    })
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin()
        .take(INPUT_BYTES_MOST as u64 + 1)
        .read_to_string(&mut text);
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if text.len() > INPUT_BYTES_MOST {
        return Err(Failure::Failed {
            what: format!("standard input holds more than {INPUT_BYTES_MOST} bytes"),
            hint: Some("write one token to it".into()),
        });
    }
    Ok(text)
}

fn signature(parts: &Parts, source: Option<&KeySource>) -> Result<Signature, Failure> {
    let Some(source) = source else {
        return Ok(Signature::NotChecked);
    };
    let algorithm = parts.header_text("alg").and_then(Algorithm::of_name);
    // The environment's secret is of no use for other kinds of token, and nobody asked for it here.
    let is_of_environment = matches!(source, KeySource::Secret(_));
    if is_of_environment && algorithm.is_none_or(|algorithm| algorithm.kind() != Kind::Secret) {
        return Ok(Signature::NotChecked);
    }
    let key = Verifying::read(source)?;
    let Some(algorithm) = algorithm else {
        return Ok(Signature::Wrong("`alg` names no signature".into()));
    };
    let kid = parts.header_text("kid");
    let checked = key.check(algorithm, kid, &parts.message, &parts.signature);
    Ok(match checked {
        Ok(()) => Signature::Verified(algorithm),
        Err(why @ (Unverified::Wrong | Unverified::OtherKind(_) | Unverified::NoKey(_))) => {
            Signature::Wrong(why.to_string())
        }
    })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    header: &'a Object,
    claims: &'a Object,
    signature: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<f64>,
    subscribe: Vec<&'a Grant>,
    publish: Vec<&'a Grant>,
    complaints: &'a [Complaint],
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Answer>,
}

impl Report {
    /// Whether a gateway with this key would take the token.
    fn is_good(&self) -> bool {
        self.complaints.is_empty() && !matches!(self.signature, Signature::Wrong(_))
    }

    fn json(&self) -> String {
        let expires = self.parts.claims.get("exp").and_then(Value::as_f64);
        let json = Json {
            header: &self.parts.header,
            claims: &self.parts.claims,
            signature: match self.signature {
                Signature::NotChecked => "not_checked",
                Signature::Verified(_) => "verified",
                Signature::Wrong(_) => "not_verified",
            },
            expires_at: expires.and_then(timestamp),
            expires_in_seconds: expires.map(|at| (at - self.now).round()),
            subscribe: self.subscribe.iter().collect(),
            publish: self.publish.iter().collect(),
            complaints: &self.complaints,
            channel: self.answer.as_ref(),
        };
        serde_json::to_string(&json).unwrap_or_default()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["header".to_owned()];
        lines.extend(members(&self.parts.header, |_, value| text(value)));
        lines.push("claims".to_owned());
        lines.extend(members(&self.parts.claims, |name, value| {
            self.claim(name, value)
        }));
        for (name, grants) in [("subscribe", &self.subscribe), ("publish", &self.publish)] {
            lines.push(format!("may {name}"));
            if grants.is_empty() {
                lines.push("  nothing".to_owned());
            }
            lines.extend(grants.iter().map(|grant| format!("  {}", told(grant))));
        }
        lines.push("signature".to_owned());
        lines.push(match &self.signature {
            Signature::NotChecked => {
                "  NOT CHECKED: give --secret-file, --key-file or --jwks-file".to_owned()
            }
            Signature::Verified(algorithm) => format!("  verified, {}", algorithm.name()),
            Signature::Wrong(why) => format!("  NOT VERIFIED: {why}"),
        });
        lines.push("what gateways say".to_owned());
        if self.complaints.is_empty() {
            lines.push("  nothing against it".to_owned());
        }
        let complaints = self.complaints.iter();
        lines.extend(complaints.map(|complaint| format!("  refused: {}", complaint.detail)));
        if let Some(answer) = &self.answer {
            lines.push(format!("{} {}", answer.action, answer.channel));
            let allowed = if answer.allowed {
                "allowed"
            } else {
                "NOT ALLOWED"
            };
            lines.push(format!("  {allowed}: {}", answer.why));
        }
        lines
    }

    /// A claim's value, and what it means where that is a time.
    fn claim(&self, name: &str, value: &Value) -> String {
        let is_time = ["exp", "nbf", "iat"].contains(&name);
        let seconds = value.as_f64().filter(|_| is_time);
        let Some((seconds, moment)) = seconds.and_then(|at| Some((at, timestamp(at)?))) else {
            return text(value);
        };
        let distance = distance(seconds, self.now);
        let verb = match (name, seconds > self.now) {
            ("exp", true) => "expires ",
            ("exp", false) => "expired ",
            ("nbf", true) => "holds ",
            _ => "",
        };
        format!("{moment}, {verb}{distance}")
    }
}

/// A line per member, names in a column.
fn members(object: &Object, told: impl Fn(&str, &Value) -> String) -> Vec<String> {
    let width = object.keys().map(String::len).max().unwrap_or_default();
    let members = object.iter();
    members
        .map(|(name, value)| format!("  {name:width$}  {}", told(name, value)))
        .collect()
}

fn told(grant: &Grant) -> String {
    match (&grant.stands_for, grant.stands_for_none) {
        (_, Some(why)) => format!("{}  (no channel: {why})", grant.pattern),
        (Some(filled), None) => format!("{}  (that is {filled})", grant.pattern),
        (None, None) => grant.pattern.clone(),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

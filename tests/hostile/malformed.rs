//! Requests that are wrong, one connection each: refused in order, and felt by nobody else.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use sluice_e2e::{
    lab::{self, Weight},
    node::NodeSettings,
};

use crate::{
    cases::{self, Case, Expect, Listener, REFUSED, SMUGGLED},
    exchange::{Answer, Heard, answer, exchange},
    frames::Said,
    ground::{Ground, MIB},
};

/// What the issue asks for; there are more.
const LEAST: usize = 500;
/// Below the batches that a node takes at once, so that nothing here is turned away for lack of room.
const AT_ONCE: usize = 24;
/// What all of them together may cost. The largest heads and bodies here have 6 MiB, and some stand side by side.
const CAP: u64 = 96 * MIB;
const SHOWN: usize = 40;

/// At least 500 malformed requests over every documented route: no server error, no hang, nothing stored, nothing smuggled.
#[tokio::test]
async fn malformed_requests_are_refused_and_harm_nobody() {
    lab::run(Weight::Heavy, Duration::from_secs(120), async |lab| {
        let settings = NodeSettings::default()
            .with("SLUICE__HTTP__HEAD_TIMEOUT", "1s")
            .with("SLUICE__HTTP__KEEP_ALIVE", "1s");
        let ground = Ground::new(lab, &settings).await?;
        let cases = cases::all(include_str!("../../docs/http.md"))?;
        let distinct: HashSet<_> = cases.iter().map(|case| (case.to, &case.bytes)).collect();
        ensure!(
            distinct.len() >= LEAST,
            "{} distinct requests are too few",
            distinct.len()
        );
        let (distinct, count) = (distinct.len(), cases.len());
        let admin = ground.node().admin();
        let verdicts: Vec<_> = stream::iter(cases)
            .map(|case| {
                let addr = match case.to {
                    Listener::Public => ground.http(),
                    Listener::Admin => admin,
                };
                tried(Arc::new(case), addr)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut outcomes = BTreeMap::<String, usize>::new();
        let mut complaints = Vec::new();
        for verdict in verdicts {
            match verdict {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints.sort();
        ensure!(
            complaints.is_empty(),
            "{} of {count} were not met as they should be:\n{}",
            complaints.len(),
            complaints[..complaints.len().min(SHOWN)].join("\n")
        );
        let channels = [REFUSED.to_owned(), SMUGGLED.to_owned()];
        let heads = ground.stage.publisher.heads(&channels).await?;
        ensure!(
            heads.values().all(|head| head.starts_with("0-0.")),
            "something wrong was published: {heads:?}"
        );
        let cost = ground.finish(lab, CAP).await?;
        println!("{count} malformed requests, {distinct} distinct: {outcomes:?}; {cost}");
        Ok(())
    })
    .await;
}

/// One case from connection to verdict: what became of it, or what should not have.
async fn tried(case: Arc<Case>, addr: std::net::SocketAddr) -> Result<String, String> {
    let head_only = case.bytes.starts_with(b"HEAD ");
    let done = |bytes: &[u8]| match case.expect.is_http2() {
        true => has_said_enough(case.expect, &Said::read(bytes)),
        false => has_answered(case.expect, bytes, head_only),
    };
    let heard = exchange(addr, &case.bytes, done).await;
    let verdict = heard.and_then(|heard| match case.expect.is_http2() {
        true => judge_frames(case.expect, &heard),
        false => judge(&case, &heard, head_only),
    });
    verdict.map_err(|error| format!("  {}: {error:#}", case.name))
}

/// Whether an HTTP/1 answer has come as far as it is wanted.
fn has_answered(expect: Expect, bytes: &[u8], head_only: bool) -> bool {
    match (expect, answer(bytes, head_only)) {
        // Whatever comes behind the first answer would be the second one.
        (Expect::RefusedAndClosed, _) => false,
        (_, Err(_)) => true,
        (_, Ok(None)) => false,
        (Expect::Holds(text), Ok(Some(answer))) => answer.complete || answer.body.contains(text),
        (_, Ok(Some(answer))) => answer.complete || answer.body.contains("sluice.open"),
    }
}

fn judge(case: &Case, heard: &Heard, head_only: bool) -> Result<String> {
    let Some(answer) = answer(&heard.bytes, head_only)? else {
        ensure!(
            heard.bytes.is_empty(),
            "half an answer: {}",
            heard.bytes.escape_ascii()
        );
        return match case.expect {
            Expect::Refused | Expect::RefusedAndClosed | Expect::NoFault => Ok("closed".to_owned()),
            Expect::Code(_)
            | Expect::Holds(_)
            | Expect::EveryLine
            | Expect::Ended
            | Expect::StreamRefused
            | Expect::Survived => bail!("closed without an answer instead of {:?}", case.expect),
        };
    };
    let status = answer.head.status;
    ensure!(status < 500, "a server error: {status} {}", answer.body);
    let is_refused = (400..500).contains(&status);
    let body: String = answer.body.chars().take(200).collect();
    if is_refused && !head_only {
        check_form(&answer)?;
    }
    match case.expect {
        Expect::NoFault => {}
        Expect::Refused => ensure!(is_refused, "{status} {body}"),
        Expect::RefusedAndClosed => ensure!(is_refused && heard.closed, "{status} {body}"),
        Expect::Code(code) => {
            let told = format!("\"code\":\"{code}\"");
            ensure!(
                is_refused && answer.body.contains(&told),
                "{status} instead of {code}: {body}"
            );
        }
        Expect::Holds(text) => ensure!(
            (200..300).contains(&status) && answer.body.contains(text),
            "{status} without {text}: {body}"
        ),
        Expect::EveryLine => {
            let every = answer.body.lines().all(|line| line.contains("\"error\":{"));
            ensure!(
                status == 200 && every && !answer.body.is_empty(),
                "{status} {body}"
            );
        }
        Expect::Ended | Expect::StreamRefused | Expect::Survived => bail!("not an HTTP/2 exchange"),
    }
    Ok(status.to_string())
}

/// A refusal is a problem document of the same status; where no route was reached, a bare status.
fn check_form(answer: &Answer) -> Result<()> {
    if answer.body.is_empty() {
        return Ok(());
    }
    let media_type = answer.head.header("content-type").unwrap_or_default();
    ensure!(
        media_type == "application/problem+json",
        "a refusal as {media_type:?}: {}",
        answer.body
    );
    let problem: Value = serde_json::from_str(&answer.body)?;
    ensure!(
        problem["status"] == answer.head.status && problem["code"].is_string(),
        "a refusal that says otherwise: {problem}"
    );
    ensure!(
        answer.body.len() < 4_096,
        "a refusal of {} bytes",
        answer.body.len()
    );
    Ok(())
}

/// Whether the gateway's frames decide the case; its ending the connection always does.
fn has_said_enough(expect: Expect, said: &Said) -> bool {
    match expect {
        Expect::StreamRefused => !said.statuses.is_empty() || said.resets > 0,
        Expect::Survived => said.pong,
        // Only the end of the connection does.
        Expect::Ended
        | Expect::NoFault
        | Expect::Refused
        | Expect::RefusedAndClosed
        | Expect::Code(_)
        | Expect::Holds(_)
        | Expect::EveryLine => false,
    }
}

fn judge_frames(expect: Expect, heard: &Heard) -> Result<String> {
    let said = Said::read(&heard.bytes);
    for status in &said.statuses {
        ensure!(
            status.is_none_or(|status| status < 500),
            "a server error: {status:?}"
        );
        ensure!(
            status.is_some(),
            "a status that cannot be read: {}",
            heard.bytes.escape_ascii()
        );
    }
    let is_served = said.statuses.iter().flatten().any(|status| *status < 400);
    if matches!(expect, Expect::Ended) {
        ensure!(heard.closed && !is_served, "{said:?}");
    }
    if matches!(expect, Expect::StreamRefused) {
        ensure!(!is_served, "{said:?}");
    }
    Ok(match (heard.closed, said.resets) {
        (true, _) => "HTTP/2 connection ended",
        (false, 0) => "HTTP/2 answered",
        (false, _) => "HTTP/2 stream reset",
    }
    .to_owned())
}

//! `POST /admin/revoke`: takes tokens back, on all nodes, until none of them can live any more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Obeyed, millis, name};
use crate::http::problem::{Code, Problem};
use crate::orders::{Lasting, Order, Revocation};
use crate::reasons::AdminCommand;

const EXAMPLE: &str =
    r#"{"jti":"…"}, {"sub":"…"}, {"sub":"…","issued_before":…} or {"issued_before":…}"#;
/// How far ahead `issued_before` may lie: an issuer's clock may be ahead of Redis's.
const AHEAD: Duration = Duration::from_secs(60);
/// How far ahead `expires` may lie.
const EXPIRES_AHEAD: Duration = Duration::from_secs(10 * 366 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    jti: Option<String>,
    sub: Option<String>,
    issued_before: Option<Value>,
    expires: Option<Value>,
}

/// The command, by Redis's clock.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    revocation: Revocation,
    /// In Unix milliseconds.
    until: u64,
}

/// `POST /admin/revoke` with one of `{"jti"}`, `{"sub"}`, `{"sub","issued_before"}` and `{"issued_before"}`; `expires`
/// says when the last of the tokens does, where that is known.
///
/// # Errors
/// A [`Problem`]: 400, 401, 408 and 413; 503 where Redis or the limit does not take it.
pub(super) async fn post(
    request: HttpRequest,
    payload: web::Payload,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Problem> {
    let obey = async {
        let wanted: Wanted = admin.body(payload, EXAMPLE).await?;
        let now = admin.now().await?;
        let command = understand(
            wanted,
            now,
            admin.limits.token_lifetime,
            admin.limits.leeway,
        )?;
        let order = Lasting::Revoke(command.revocation);
        let about = Order::from(order.clone()).to_json();
        let id = admin.order(order, now, command.until).await?;
        let until = UNIX_EPOCH + Duration::from_millis(command.until);
        let until = humantime::format_rfc3339_seconds(until).to_string();
        Ok(Obeyed {
            about,
            answer: json!({ "id": id, "until": until }),
        })
    };
    admin.command(AdminCommand::Revoke, &request, obey).await
}

fn understand(
    wanted: Wanted,
    now: u64,
    token_lifetime: Duration,
    leeway: Duration,
) -> Result<Command, Problem> {
    let bad = |detail: &str| Err(Problem::new(Code::BadBody, detail));
    if wanted.jti.is_some() && (wanted.sub.is_some() || wanted.issued_before.is_some()) {
        return bad("`jti` names one token; leave `sub` and `issued_before` out");
    }
    let issued_before = wanted.issued_before.as_ref();
    let issued_before = issued_before
        .map(|value| seconds("issued_before", value))
        .transpose()?;
    if let Some(before) = issued_before
        && before > (now + millis(AHEAD)) / 1_000
    {
        let detail = "lies more than a minute ahead: it would refuse tokens that do not exist yet (Unix seconds are meant, not milliseconds)";
        let problem = Problem::new(Code::BadParameter, format!("`issued_before` {detail}"));
        return Err(problem.at("issued_before", &before.to_string()));
    }
    let until = match &wanted.expires {
        None => now.saturating_add(millis(token_lifetime)),
        Some(value) => expires(value, now)?.saturating_add(millis(leeway)),
    };
    let revocation = Revocation {
        token_id: wanted.jti.map(|jti| name("jti", jti)).transpose()?,
        // Tokens of this very second are out, too.
        issued_before: issued_before.or(wanted.sub.is_some().then_some(now / 1_000 + 1)),
        subject: wanted.sub.map(|sub| name("sub", sub)).transpose()?,
    };
    if revocation == Revocation::default() {
        return bad("say which tokens: by `jti`, `sub`, `issued_before`, or the last two");
    }
    Ok(Command { revocation, until })
}

/// In Unix milliseconds.
fn expires(value: &Value, now: u64) -> Result<u64, Problem> {
    let at = seconds("expires", value)?.saturating_mul(1_000);
    if at <= now || at - now > millis(EXPIRES_AHEAD) {
        let detail = "`expires` is when the last of the tokens expires: ahead, and by no more than ten years (Unix seconds are meant, not milliseconds)";
        return Err(Problem::new(Code::BadParameter, detail).at("expires", &value.to_string()));
    }
    Ok(at)
}

/// A time in Unix seconds, a fraction rounded up.
fn seconds(parameter: &str, value: &Value) -> Result<u64, Problem> {
    let read = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => humantime::parse_rfc3339(text).ok().and_then(rounded_up),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.ok_or_else(|| {
        let detail = format!(
            "`{parameter}` is a time such as \"2025-11-20T22:00:00Z\", or whole Unix seconds"
        );
        Problem::new(Code::BadParameter, detail).at(parameter, &value.to_string())
    })
}

fn rounded_up(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs() + u64::from(since.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: u64 = 1_763_676_000_123;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn read(body: &Value) -> Result<Command, Problem> {
        let wanted = serde_json::from_value(body.clone())
            .map_err(|error| Problem::new(Code::BadBody, error.to_string()))?;
        understand(wanted, NOW, HOUR, Duration::from_secs(60))
    }

    fn revocation(jti: Option<&str>, sub: Option<&str>, before: Option<u64>) -> Revocation {
        Revocation {
            token_id: jti.map(str::to_owned),
            subject: sub.map(str::to_owned),
            issued_before: before,
        }
    }

    #[rstest]
    #[case::one(json!({"jti": "t"}), revocation(Some("t"), None, None))]
    #[case::this_second_too(json!({"sub": "ann"}), revocation(None, Some("ann"), Some(1_763_676_001)))]
    #[case::before(json!({"sub": "ann", "issued_before": 7}), revocation(None, Some("ann"), Some(7)))]
    #[case::everybody(json!({"issued_before": "1970-01-01T00:00:07Z"}), revocation(None, None, Some(7)))]
    #[case::rounded_up(json!({"issued_before": "1970-01-01T00:00:06.001Z"}), revocation(None, None, Some(7)))]
    #[case::a_minute_ahead(json!({"issued_before": 1_763_676_060}), revocation(None, None, Some(1_763_676_060)))]
    #[case::nulls_are_left_out(json!({"jti": "t", "sub": null, "expires": null}), revocation(Some("t"), None, None))]
    fn commands_are_understood(#[case] body: Value, #[case] wanted: Revocation) {
        let command = read(&body).expect("understood");
        assert_eq!(command.revocation, wanted);
        assert_eq!(command.until, NOW + 3_600_000);
    }

    /// A token is accepted for the leeway after it has expired.
    #[test]
    fn a_known_end_bounds_the_revocation() {
        let command = read(&json!({"jti": "t", "expires": 1_763_676_010})).expect("understood");
        assert_eq!(command.until, 1_763_676_070_000);
    }

    #[rstest]
    #[case::nothing(json!({}))]
    #[case::only_an_end(json!({"expires": 1_763_676_010}))]
    #[case::two(json!({"jti": "t", "sub": "ann"}))]
    #[case::two_more(json!({"jti": "t", "issued_before": 7}))]
    #[case::empty(json!({"jti": ""}))]
    #[case::long(json!({"sub": "x".repeat(257)}))]
    #[case::unknown(json!({"jti": "t", "user": "ann"}))]
    #[case::misspelt(json!({"sub": "ann", "issuedBefore": 7}))]
    #[case::number(json!({"sub": 42}))]
    #[case::milliseconds(json!({"sub": "ann", "issued_before": NOW}))]
    #[case::ahead(json!({"sub": "ann", "issued_before": 1_763_676_061}))]
    #[case::negative(json!({"sub": "ann", "issued_before": -1}))]
    #[case::fraction(json!({"sub": "ann", "issued_before": 1.5}))]
    #[case::no_time(json!({"sub": "ann", "issued_before": "yesterday"}))]
    #[case::no_text(json!({"sub": "ann", "issued_before": [7]}))]
    #[case::expired(json!({"jti": "t", "expires": 1_763_676_000}))]
    #[case::never(json!({"jti": "t", "expires": u64::MAX}))]
    #[case::array(json!(["jti"]))]
    fn what_is_no_command_is_refused(#[case] body: Value) {
        let problem = read(&body).expect_err("refused");
        assert!(
            [Code::BadBody, Code::BadParameter].contains(&problem.code()),
            "{problem}"
        );
    }
}

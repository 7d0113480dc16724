//! `POST /admin/explain`: why a token may or may not use a channel, and why a stream did or did not get an event.
//! For operators. It never repeats a token.

mod token;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;

use super::{Admin, Obeyed};
use crate::auth::Action;
use crate::connection::{ConnectionId, blocks};
use crate::http::body;
use crate::http::problem::{Code, Problem};
use crate::http::routes::Public;
use crate::orders::Order;
use crate::orders::asking::Finding;
use crate::orders::explain::{Question, Why};
use crate::reasons::AdminCommand;

/// Either question, as it came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    token: Option<String>,
    action: Option<String>,
    channel: Option<String>,
    connection: Option<String>,
    id: Option<String>,
}

const FORMS: &str = "ask {\"token\",\"channel\",\"action\":\"subscribe\"|\"publish\"} or {\"connection\",\"channel\",\"id\"}";

/// `POST /admin/explain`.
///
/// # Errors
/// 400, 401, 408 and 413 for the request, 404 when no node knows the stream, 503 when the nodes cannot be asked.
pub(super) async fn post(
    request: HttpRequest,
    payload: web::Payload,
    admin: web::Data<Admin>,
    public: web::Data<Public>,
) -> Result<HttpResponse, Problem> {
    let explained = async {
        let answer = answer(payload, &public).await?;
        // Not what was asked: that may be a token.
        let about = String::new();
        Ok(Obeyed { about, answer })
    };
    admin
        .command(AdminCommand::Explain, &request, explained)
        .await
}

async fn answer(payload: web::Payload, public: &Public) -> Result<serde_json::Value, Problem> {
    let limits = public.limits;
    let body = body::read(payload, limits.body_bytes, limits.body_wait).await?;
    // The parser's own words may quote a value, and that may be a token.
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        bad(&format!("the body is not as expected at {at}; {FORMS}"))
    })?;
    let channel = wanted.channel.as_deref().ok_or_else(|| bad(FORMS))?;
    let channel = Channel::parse(channel)
        .map_err(|error| Problem::new(Code::BadChannel, error.to_string()))?;
    let answer = match (&wanted.connection, &wanted.id) {
        (None, None) => {
            let action = action(wanted.action.as_deref())?;
            token::explain(public, wanted.token.as_deref(), action, &channel).await
        }
        (Some(connection), Some(id)) if wanted.token.is_none() && wanted.action.is_none() => {
            event(public, connection, channel, id).await?
        }
        (Some(_), _) | (None, Some(_)) => return Err(bad(FORMS)),
    };
    Ok(answer)
}

fn bad(detail: &str) -> Problem {
    Problem::new(Code::BadBody, detail)
}

fn action(text: Option<&str>) -> Result<Action, Problem> {
    match text {
        None | Some("subscribe") => Ok(Action::Subscribe),
        Some("publish") => Ok(Action::Publish),
        Some(_) => Err(bad("`action` is `subscribe` or `publish`")),
    }
}

/// Asks all nodes what became of an event on a stream.
async fn event(
    public: &Public,
    connection: &str,
    channel: Channel,
    id: &str,
) -> Result<serde_json::Value, Problem> {
    let connection: ConnectionId = connection
        .parse()
        .map_err(|error| bad(&format!("`connection`: {error}")))?;
    let position: Position = id.parse().map_err(|error| bad(&format!("`id`: {error}")))?;
    let question = |nonce| {
        Order::Explain(Question {
            nonce,
            connection,
            channel: channel.to_string(),
            id: position.to_string(),
        })
    };
    let Finding::Why(why) = public.asks.ask(question).await? else {
        let detail = "another question was answered";
        return Err(Problem::new(Code::Internal, detail));
    };
    let Why {
        node,
        verdict,
        detail,
        place,
        opened_at,
        ended_at,
        close_reason,
    } = *why;
    Ok(json!({
        "connection": connection,
        "channel": channel.as_str(),
        "id": position.to_string(),
        "verdict": verdict,
        "detail": detail,
        "node": node,
        "place": place,
        "opened_at": blocks::rfc3339(opened_at),
        "ended_at": ended_at.map(blocks::rfc3339),
        "close_reason": close_reason,
    }))
}

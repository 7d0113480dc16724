//! `POST /admin/disconnect`: ends streams, on all nodes; their clients may come back.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use sluice_wire::channel::Channel;

use super::{Admin, Obeyed, millis, name};
use crate::connection::ConnectionId;
use crate::http::problem::{Code, Problem};
use crate::orders::{Lasting, Order, Whom};
use crate::reasons::AdminCommand;

const EXAMPLE: &str =
    r#"{"sub":"…"}, {"channel":"…"}, {"node":"…"}, {"connection":"…"} or {"all":true}"#;
/// How long a node that was cut off obeys all the same.
const HOLDS: Duration = Duration::from_secs(60);
/// Longest name of a node, as in the settings with room for a default one.
const NODE_BYTES: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    sub: Option<String>,
    channel: Option<String>,
    node: Option<String>,
    connection: Option<String>,
    all: Option<bool>,
}

/// `POST /admin/disconnect` with any of `sub`, `channel`, `node` and `connection`, all of which must fit; or with
/// `{"all":true}`.
///
/// # Errors
/// A [`Problem`]: 400, 401, 408 and 413; 503 where Redis or the limit does not take it.
pub(super) async fn post(
    request: HttpRequest,
    payload: web::Payload,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Problem> {
    let obey = async {
        let whom = understand(admin.body(payload, EXAMPLE).await?)?;
        let now = admin.now().await?;
        let order = Lasting::Disconnect(whom);
        let about = Order::from(order.clone()).to_json();
        let id = admin
            .order(order, now, now.saturating_add(millis(HOLDS)))
            .await?;
        Ok(Obeyed {
            about,
            answer: json!({ "id": id }),
        })
    };
    admin
        .command(AdminCommand::Disconnect, &request, obey)
        .await
}

fn understand(wanted: Wanted) -> Result<Whom, Problem> {
    let Wanted {
        sub,
        channel,
        node,
        connection,
        all,
    } = wanted;
    if let Some(channel) = &channel
        && let Err(error) = Channel::parse(channel)
    {
        let problem = Problem::new(Code::BadChannel, error.to_string());
        return Err(problem.at("channel", channel));
    }
    if let Some(node) = node.as_ref()
        && (node.is_empty() || node.len() > NODE_BYTES)
    {
        let detail = "`node` is a node's name, as `sluice.open` tells it";
        return Err(Problem::new(Code::BadParameter, detail).at("node", node));
    }
    let parse = |text: String| {
        let id = text.parse::<ConnectionId>();
        id.map_err(|error| {
            Problem::new(Code::BadParameter, error.to_string()).at("connection", &text)
        })
    };
    let whom = Whom {
        subject: sub.map(|sub| name("sub", sub)).transpose()?,
        channel,
        node,
        connection: connection.map(parse).transpose()?,
        opened_before: None,
    };
    let everybody = whom == Whom::default();
    match all.unwrap_or(false) {
        true if !everybody => {
            let detail = "`all` means every stream; leave the other criteria out, or `all`";
            Err(Problem::new(Code::BadBody, detail))
        }
        false if everybody => {
            let detail = format!("say which streams: {EXAMPLE}");
            Err(Problem::new(Code::BadBody, detail))
        }
        true | false => Ok(whom),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    fn read(body: Value) -> Result<Whom, Problem> {
        let wanted = serde_json::from_value(body)
            .map_err(|error| Problem::new(Code::BadBody, error.to_string()))?;
        understand(wanted)
    }

    #[test]
    fn criteria_are_taken_together_and_everybody_has_to_be_meant() {
        let whom = read(json!({"sub": "ann", "channel": "a.b", "node": "n:1"})).expect("read");
        assert_eq!(whom.subject.as_deref(), Some("ann"));
        assert_eq!(whom.channel.as_deref(), Some("a.b"));
        assert_eq!(whom.node.as_deref(), Some("n:1"));
        let id = ConnectionId::from_bytes([7; 16]);
        let whom = read(json!({"connection": id.to_string()})).expect("read");
        assert_eq!(whom.connection, Some(id));
        assert_eq!(read(json!({"all": true})).expect("read"), Whom::default());
    }

    #[rstest]
    #[case::nothing(json!({}))]
    #[case::not_all(json!({"all": false}))]
    #[case::nulls(json!({"sub": null, "channel": null}))]
    #[case::all_and_one(json!({"all": true, "sub": "ann"}))]
    #[case::unknown(json!({"subject": "ann"}))]
    #[case::empty_sub(json!({"sub": ""}))]
    #[case::bad_channel(json!({"channel": "a b"}))]
    #[case::empty_node(json!({"node": ""}))]
    #[case::bad_connection(json!({"connection": "x"}))]
    #[case::text(json!({"all": "true"}))]
    fn what_is_no_command_is_refused(#[case] body: Value) {
        let problem = read(body).expect_err("refused");
        assert_eq!(problem.code().status(), 400, "{problem}");
    }
}

//! Admin commands, and the tokens that they take back.

use serde_json::Value;

use super::http::{Answer, call};
use super::node::Node;
use super::tokens::{SECRET, bearer_of, claims};

/// The admin token of such a node.
pub const ADMIN: &str = "an-admin-token-for-tests";

/// A node that takes tokens, and commands from [`command`].
pub const SETTINGS: &[(&str, &str)] = &[
    ("AUTH__MODE", "jwt"),
    ("AUTH__JWT__SECRET", SECRET),
    ("AUTH__JWT__LEEWAY", "0s"),
    ("ADMIN__TOKEN", ADMIN),
    ("REDIS__BACKOFF_MIN", "10ms"),
    ("REDIS__BACKOFF_MAX", "100ms"),
];

/// The value of `Authorization` for a subject who may read and publish everywhere, with further claims.
pub fn bearer(subject: &str, more: &Value) -> String {
    let mut claims = claims(subject, &["**"], &["**"], 600);
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    bearer_of(&claims)
}

/// Gives an admin command.
pub fn command(node: &Node, route: &str, body: &Value) -> Answer {
    let token = format!("Bearer {ADMIN}");
    let headers = [("Authorization", token.as_str())];
    let body = body.to_string();
    call(node.admin, "POST", route, &headers, body.as_bytes())
}

/// Gives one that must be obeyed, and its answer.
pub fn commanded(node: &Node, route: &str, body: &Value) -> Value {
    let answer = command(node, route, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

/// The status, and the code where it is a refusal, of one look at a channel's history.
pub fn look(node: &Node, bearer: &str) -> (u16, String) {
    let headers = [("Authorization", bearer)];
    let answer = node.get("/v1/channels/a/events", &headers);
    let code = (answer.status != 200).then(|| answer.problem());
    (answer.status, code.unwrap_or_default())
}

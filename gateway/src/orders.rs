//! What one node tells all nodes, itself included: the closed set of orders and their JSON form, one object a message.
//! A node that does not know an order skips it, so that nodes of two versions can run side by side.

pub mod asking;
pub mod explain;
pub mod renewal;

use serde::{Deserialize, Serialize};

use crate::connection::ConnectionId;
use asking::Answer;
use explain::Question;
use renewal::{Fresh, Renewal};

/// Something that every node has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// End the streams that fit, with `disconnected`.
    Disconnect(Whom),
    /// Let one stream go on with a new token, and answer if it is here.
    Renew(Renewal),
    /// The same for every stream of the browser session that is the holder's. Nobody answers.
    RenewSession(Fresh),
    /// Say why a stream did or did not get an event, if it is here or was.
    Explain(Question),
    /// For whoever asked.
    Answer(Answer),
}

/// Which streams are meant: those that fit everything given. Nothing given means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whom {
    /// `sub` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Read, maybe among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The node's name, as `sluice.open` tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
}

impl Order {
    /// As it crosses Redis.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and numbers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what another node has sent.
    ///
    /// # Errors
    /// It is no order that this version knows.
    pub fn from_json(text: &[u8]) -> Result<Order, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_read_back() {
        use crate::auth::patterns::Patterns;
        use crate::holder::Holder;
        use asking::{Finding, Nonce};

        let nonce = Nonce::from_bytes([7; 16]);
        let fresh = Fresh {
            holder: Holder {
                subject: Some("42".to_owned()),
                ..Holder::default()
            },
            expires_at: 1,
            subscribe: Patterns::parse(&["user.{sub}".to_owned()], "42").expect("patterns"),
        };
        let connection = ConnectionId::from_bytes([9; 16]);
        for order in [
            Order::RenewSession(fresh.clone()),
            Order::Renew(Renewal {
                nonce,
                connection,
                fresh,
            }),
            Order::Explain(Question {
                nonce,
                connection,
                channel: "a".to_owned(),
                id: "1-0.00000001".to_owned(),
            }),
            Order::Answer(Answer {
                nonce,
                finding: Finding::Renewed,
            }),
            Order::Answer(Answer {
                nonce,
                finding: Finding::MissingChannel {
                    channel: "a".to_owned(),
                },
            }),
        ] {
            let text = order.to_json();
            let back = Order::from_json(text.as_bytes());
            assert_eq!(back.expect("reads"), order, "{text}");
        }
    }

    #[test]
    fn an_order_reads_back_and_what_is_none_does_not() {
        let order = Order::Disconnect(Whom {
            subject: Some("42".to_owned()),
            connection: Some(ConnectionId::from_bytes([7; 16])),
            ..Whom::default()
        });
        let text = order.to_json();
        assert_eq!(
            text,
            r#"{"order":"disconnect","subject":"42","connection":"BwcHBwcHBwcHBwcHBwcHBw"}"#
        );
        assert_eq!(Order::from_json(text.as_bytes()).expect("reads"), order);
        for foreign in [
            "",
            "{}",
            r#"{"order":"dance"}"#,
            "[]",
            r#"{"order":"disconnect","connection":"x"}"#,
        ] {
            assert!(Order::from_json(foreign.as_bytes()).is_err(), "{foreign}");
        }
    }
}

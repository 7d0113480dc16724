//! What one node tells all nodes, itself included: the closed set of orders and their JSON form, one object a message.
//! A node that does not know an order skips it, so that nodes of two versions can run side by side.

use serde::{Deserialize, Serialize};

/// How orders name a stream.
pub use crate::connection::ConnectionId;

/// Something that every node has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// End the streams that fit, with `disconnected`.
    Disconnect(Whom),
    /// End this stream, with `limit`: its subject has opened one too many elsewhere.
    Evict { connection: ConnectionId },
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
        let connection = ConnectionId::from_bytes([7; 16]);
        let order = Order::Evict { connection };
        let text = order.to_json();
        assert_eq!(
            text,
            r#"{"order":"evict","connection":"BwcHBwcHBwcHBwcHBwcHBw"}"#
        );
        assert_eq!(Order::from_json(text.as_bytes()).expect("reads"), order);
        for foreign in [
            "",
            "{}",
            r#"{"order":"dance"}"#,
            "[]",
            r#"{"order":"disconnect","connection":"x"}"#,
            r#"{"order":"evict"}"#,
        ] {
            assert!(Order::from_json(foreign.as_bytes()).is_err(), "{foreign}");
        }
    }
}

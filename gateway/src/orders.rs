//! What one node tells all nodes, itself included: the closed set of orders and their JSON form, one object a message.
//! A node that does not know an order skips it, so that nodes of two versions can run side by side.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How orders name a stream.
pub use crate::connection::ConnectionId;
use crate::holder::Holder;
pub mod asking;
pub mod explain;
pub mod renewal;

use asking::Answer;
use explain::Question;
use renewal::{Fresh, Renewal};

/// Something that every node has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// End the streams that fit, with `disconnected`.
    Disconnect(Whom),
    /// Take no token that fits any more, and end its streams with `revoked`.
    Revoke(Revocation),
    /// Let one stream go on with a new token, and answer if it is here.
    Renew(Renewal),
    /// The same for every stream of the browser session that is the holder's. Nobody answers.
    RenewSession(Fresh),
    /// Say why a stream did or did not get an event, if it is here or was.
    Explain(Question),
    /// For whoever asked.
    Answer(Answer),
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
    /// On this node's clock: a node that hears of the order late spares who has come since.
    #[serde(skip)]
    pub opened_before: Option<Duration>,
}

/// Which tokens are meant: that one; or those of a subject, or of everybody, that were issued before some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// `jti` of the one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// `sub` of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Unix seconds. Tokens that do not say when they were issued are always meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<u64>,
}

/// An order that holds for a while: who was away when it was given obeys it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Tells it from every other.
    pub id: String,
    /// When it was given, in Unix milliseconds by the broker's clock.
    pub at: u64,
    /// Until when it holds.
    pub until: u64,
    #[serde(flatten)]
    pub order: Lasting,
}

/// The orders that can hold for a while. They read as the orders of the same names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Lasting {
    Disconnect(Whom),
    Revoke(Revocation),
}

impl From<Lasting> for Order {
    fn from(lasting: Lasting) -> Order {
        match lasting {
            Lasting::Disconnect(whom) => Order::Disconnect(whom),
            Lasting::Revoke(revocation) => Order::Revoke(revocation),
        }
    }
}

/// No order that this version knows.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error("a revocation without any criterion")]
    Empty,
    #[error("an order of more than {LONGEST} bytes")]
    TooLong,
}

/// Longest order, in bytes of JSON: what the largest token allows, its subject filled in everywhere.
const LONGEST: usize = 64 * 1_024;

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
    pub fn from_json(text: &[u8]) -> Result<Order, OrderError> {
        let order: Order = read(text)?;
        if let Order::Revoke(revocation) = &order {
            revocation.prove()?;
        }
        Ok(order)
    }
}

impl Standing {
    /// A new order under an id of its own.
    #[must_use]
    pub fn new(order: Lasting, at: u64, until: u64, id: [u8; 16]) -> Standing {
        Standing {
            id: URL_SAFE_NO_PAD.encode(id),
            at,
            until,
            order,
        }
    }

    /// As it crosses Redis, and stands there.
    #[must_use]
    pub fn to_json(&self) -> String {
        // As above.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what a node has written.
    ///
    /// # Errors
    /// It is no standing order that this version knows.
    pub fn from_json(text: &[u8]) -> Result<Standing, OrderError> {
        let standing: Standing = read(text)?;
        if let Lasting::Revoke(revocation) = &standing.order {
            revocation.prove()?;
        }
        Ok(standing)
    }
}

impl Revocation {
    /// Without any criterion it would mean everybody.
    fn prove(&self) -> Result<(), OrderError> {
        if *self == Revocation::default() {
            return Err(OrderError::Empty);
        }
        Ok(())
    }

    /// Whether the bearer's token is one of those meant. Nobody's is not.
    #[must_use]
    pub fn concerns(&self, holder: &Holder) -> bool {
        if holder.is_anonymous() {
            return false;
        }
        if self.token_id.is_some() {
            return self.token_id == holder.token_id;
        }
        let older = self.issued_before.is_none_or(|before| {
            let issued = holder.issued_at;
            issued.is_none_or(|issued| issued < before)
        });
        let named = self
            .subject
            .as_ref()
            .is_none_or(|subject| holder.subject.as_ref() == Some(subject));
        named && older && *self != Revocation::default()
    }
}

fn read<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, OrderError> {
    if text.len() > LONGEST {
        return Err(OrderError::TooLong);
    }
    Ok(serde_json::from_slice(text)?)
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
            r#"{"order":"revoke"}"#,
            r#"{"order":"revoke","issued_before":-1}"#,
            r#"{"order":"evict"}"#,
        ] {
            assert!(Order::from_json(foreign.as_bytes()).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_standing_order_reads_back_and_a_passing_one_is_none() {
        let order = Lasting::Revoke(Revocation {
            subject: Some("a\"\u{7}b".to_owned()),
            issued_before: Some(7),
            ..Revocation::default()
        });
        let standing = Standing::new(order, 1, 2, [7; 16]);
        let text = standing.to_json();
        assert_eq!(
            text,
            r#"{"id":"BwcHBwcHBwcHBwcHBwcHBw","at":1,"until":2,"order":"revoke","subject":"a\"\u0007b","issued_before":7}"#
        );
        let read = Standing::from_json(text.as_bytes()).expect("reads");
        assert_eq!(read, standing);
        for foreign in [
            r#"{"order":"disconnect","subject":"42"}"#.to_owned(),
            r#"{"id":"x","at":1,"until":2,"order":"revoke"}"#.to_owned(),
            r#"{"id":"x","at":1,"until":2,"order":"evict","connection":"BwcHBwcHBwcHBwcHBwcHBw"}"#
                .to_owned(),
            format!(
                r#"{{"id":"{}","at":1,"until":2,"order":"disconnect"}}"#,
                "x".repeat(LONGEST)
            ),
        ] {
            assert!(
                Standing::from_json(foreign.as_bytes()).is_err(),
                "{foreign}"
            );
        }
    }

    fn holder(subject: &str, token_id: Option<&str>, issued_at: Option<u64>) -> Holder {
        Holder {
            subject: Some(subject.to_owned()),
            token_id: token_id.map(str::to_owned),
            issued_at,
            session: None,
        }
    }

    #[test]
    fn a_revocation_concerns_what_it_names_and_nobody_else() {
        let one = Revocation {
            token_id: Some("t1".to_owned()),
            ..Revocation::default()
        };
        assert!(one.concerns(&holder("ann", Some("t1"), Some(5))));
        assert!(!one.concerns(&holder("ann", Some("t2"), Some(5))));
        assert!(!one.concerns(&holder("ann", None, None)));
        let hers = Revocation {
            subject: Some("ann".to_owned()),
            issued_before: Some(10),
            ..Revocation::default()
        };
        assert!(hers.concerns(&holder("ann", None, Some(9))));
        assert!(!hers.concerns(&holder("ann", None, Some(10))));
        assert!(hers.concerns(&holder("ann", None, None)), "no iat");
        assert!(!hers.concerns(&holder("bob", None, Some(9))));
        let everybodys = Revocation {
            issued_before: Some(10),
            ..Revocation::default()
        };
        assert!(everybodys.concerns(&holder("bob", None, Some(9))));
        assert!(!everybodys.concerns(&holder("bob", None, Some(10))));
        for revocation in [one, hers, everybodys, Revocation::default()] {
            assert!(!revocation.concerns(&Holder::default()), "nobody's");
        }
    }
}

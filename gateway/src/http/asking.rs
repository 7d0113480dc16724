//! Questions to all nodes, over the topic of orders: whoever has the stream in question answers, and silence means that
//! nobody has it.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::problem::{Code, Problem};
use crate::broker::Broker;
use crate::broker::control::TellError;
use crate::orders::Order;
use crate::orders::asking::{Finding, Nonce};

/// Questions of this node that may wait for their answers at the same time; one more is told to come again.
const ASKS_AT_ONCE: usize = 256;
/// How long an answer may take. A node that is alive answers in milliseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Wait that a caller is told when it cannot be asked for now.
const RETRY: Duration = Duration::from_secs(1);

/// A node's way to ask.
pub struct Asks {
    broker: Broker,
    permits: Semaphore,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("too many such requests wait for other nodes")]
    Busy,
    #[error("the other nodes cannot be asked now")]
    Away,
    #[error("no node has a stream of this name, or it has none with a token")]
    Nobody,
}

impl Asks {
    #[must_use]
    pub fn new(broker: Broker) -> Asks {
        Asks {
            broker,
            permits: Semaphore::new(ASKS_AT_ONCE),
        }
    }

    /// Asks all nodes, this one included, and gives the answer of the one that has it.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask(&self, question: impl FnOnce(Nonce) -> Order) -> Result<Finding, Unanswered> {
        let _permit = self.permits.try_acquire().map_err(|_| Unanswered::Busy)?;
        let connected = self.broker.connected();
        if !*connected.borrow() {
            return Err(Unanswered::Away);
        }
        let nonce = Nonce::from_bytes(rand::random());
        // Before the question, so that its answer cannot come too early.
        let mut orders = self.broker.orders();
        let mut told = false;
        let asking = async {
            self.broker.tell(&question(nonce)).await.map_err(away)?;
            told = true;
            loop {
                match orders.recv().await.as_deref() {
                    Ok(Order::Answer(answer)) if answer.nonce == nonce => {
                        return Ok(answer.finding.clone());
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Unanswered::Away),
                }
            }
        };
        let answer = tokio::time::timeout(ANSWER_WAIT, asking).await;
        let is_heard = told && *connected.borrow();
        answer.unwrap_or(Err(if is_heard {
            Unanswered::Nobody
        } else {
            Unanswered::Away
        }))
    }
}

fn away(error: TellError) -> Unanswered {
    tracing::debug!(%error, "a question to all nodes was not sent");
    Unanswered::Away
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Problem {
        let detail = why.to_string();
        match why {
            Unanswered::Busy => Problem::new(Code::Overloaded, detail).retry_after(RETRY),
            Unanswered::Away => Problem::new(Code::BrokerUnavailable, detail).retry_after(RETRY),
            Unanswered::Nobody => Problem::new(Code::UnknownConnection, detail),
        }
    }
}

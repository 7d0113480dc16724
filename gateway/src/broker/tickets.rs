//! Tickets while they wait for their one use: what they grant, by the digest of each, where every node finds it. What
//! is kept says nothing of the ticket itself, and is opaque here.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Broker, Command};

/// Tickets that the embedded broker keeps at once; one more is refused until some are used or expire.
const EMBEDDED_TICKETS: usize = 10_000;

/// Why a ticket could not be kept or looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("the event broker is unavailable")]
    Unavailable,
    #[error("as many tickets wait for their use as are kept")]
    Full,
}

/// Whether a ticket is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeem {
    /// Gone afterwards, on all nodes.
    Use,
    /// Left as it is: for HEAD.
    Look,
}

/// What to do with a ticket.
#[derive(Debug)]
pub(super) enum Errand {
    Keep {
        digest: String,
        grant: String,
        lasting: Duration,
        reply: oneshot::Sender<Result<(), TicketError>>,
    },
    Redeem {
        digest: String,
        redeem: Redeem,
        reply: oneshot::Sender<Result<Option<Vec<u8>>, TicketError>>,
    },
}

impl Errand {
    /// Answers for a broker that cannot be asked. A caller who has gone does not need it.
    pub(super) fn refuse(self) {
        match self {
            Errand::Keep { reply, .. } => {
                reply.send(Err(TicketError::Unavailable)).ok();
            }
            Errand::Redeem { reply, .. } => {
                reply.send(Err(TicketError::Unavailable)).ok();
            }
        }
    }
}

impl Broker {
    /// Keeps what a ticket grants for so long, under the digest of the ticket.
    ///
    /// # Errors
    /// [`TicketError`]; it may have been kept if the broker's answer was lost.
    pub async fn keep_ticket(
        &self,
        digest: String,
        grant: String,
        lasting: Duration,
    ) -> Result<(), TicketError> {
        let (reply, answer) = oneshot::channel();
        let errand = Errand::Keep {
            digest,
            grant,
            lasting,
            reply,
        };
        self.commands
            .try_send(Command::Ticket(errand))
            .map_err(|_| TicketError::Unavailable)?;
        answer.await.unwrap_or(Err(TicketError::Unavailable))
    }

    /// What the ticket with this digest grants; nothing when it is unknown, used or expired. Of several who use one
    /// ticket at the same moment, on whatever nodes, one gets it.
    ///
    /// # Errors
    /// [`TicketError::Unavailable`]; a ticket may be spent if the broker's answer was lost.
    pub async fn redeem_ticket(
        &self,
        digest: String,
        redeem: Redeem,
    ) -> Result<Option<Vec<u8>>, TicketError> {
        let (reply, answer) = oneshot::channel();
        let errand = Errand::Redeem {
            digest,
            redeem,
            reply,
        };
        self.commands
            .try_send(Command::Ticket(errand))
            .map_err(|_| TicketError::Unavailable)?;
        answer.await.unwrap_or(Err(TicketError::Unavailable))
    }
}

/// The tickets of the embedded broker.
#[derive(Default)]
pub(super) struct EmbeddedTickets(HashMap<String, Waiting>);

struct Waiting {
    grant: String,
    /// By the node's monotonic clock.
    until: Duration,
}

impl EmbeddedTickets {
    pub(super) fn run(&mut self, errand: Errand, now: Duration) {
        match errand {
            Errand::Keep {
                digest,
                grant,
                lasting,
                reply,
            } => {
                let until = now.saturating_add(lasting);
                reply.send(self.keep(digest, grant, until, now)).ok();
            }
            Errand::Redeem {
                digest,
                redeem,
                reply,
            } => {
                reply.send(Ok(self.redeem(&digest, redeem, now))).ok();
            }
        }
    }

    fn keep(
        &mut self,
        digest: String,
        grant: String,
        until: Duration,
        now: Duration,
    ) -> Result<(), TicketError> {
        if self.0.len() >= EMBEDDED_TICKETS {
            self.0.retain(|_, waiting| waiting.until > now);
        }
        if self.0.len() >= EMBEDDED_TICKETS {
            return Err(TicketError::Full);
        }
        self.0.insert(digest, Waiting { grant, until });
        Ok(())
    }

    fn redeem(&mut self, digest: &str, redeem: Redeem, now: Duration) -> Option<Vec<u8>> {
        let grant = match redeem {
            Redeem::Look => {
                let waiting = self.0.get(digest)?;
                (waiting.until > now).then(|| waiting.grant.clone())
            }
            Redeem::Use => {
                let waiting = self.0.remove(digest)?;
                (waiting.until > now).then_some(waiting.grant)
            }
        };
        grant.map(String::into_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ticket_is_good_once_and_for_its_time() {
        let mut tickets = EmbeddedTickets::default();
        let mut keep = |name: &str, until| tickets.keep(name.into(), name.into(), until, SECOND);
        assert_eq!(keep("a", SECOND * 3), Ok(()));
        assert_eq!(keep("b", SECOND * 3), Ok(()));
        assert_eq!(
            tickets.redeem("a", Redeem::Look, SECOND),
            Some(b"a".to_vec())
        );
        assert_eq!(
            tickets.redeem("a", Redeem::Use, SECOND),
            Some(b"a".to_vec())
        );
        assert_eq!(tickets.redeem("a", Redeem::Use, SECOND), None);
        assert_eq!(tickets.redeem("b", Redeem::Look, SECOND * 3), None);
        assert_eq!(tickets.redeem("b", Redeem::Use, SECOND * 3), None);
    }

    #[test]
    fn the_last_place_is_taken_and_expired_tickets_make_room() {
        let mut tickets = EmbeddedTickets::default();
        let mut keep =
            |name: usize, now| tickets.keep(name.to_string(), String::new(), now + SECOND, now);
        for name in 0..EMBEDDED_TICKETS {
            assert_eq!(keep(name, SECOND), Ok(()), "{name}");
        }
        assert_eq!(keep(EMBEDDED_TICKETS, SECOND), Err(TicketError::Full));
        assert_eq!(keep(EMBEDDED_TICKETS, SECOND * 2), Ok(()));
        assert_eq!(tickets.0.len(), 1);
    }
}

//! Tickets in Redis: a key each, that expires by itself and is taken away by the one who uses it.

use std::time::Duration;

use super::data::{DataError, DataLink};
use crate::broker::tickets::{Errand, Redeem, TicketError};
use crate::reasons::RedisCommand;

impl DataLink {
    pub(in crate::broker) async fn ticket(&self, errand: Errand) {
        // A caller who has gone does not need the answer.
        match errand {
            Errand::Keep {
                digest,
                grant,
                lasting,
                reply,
            } => {
                let kept = self.keep_ticket(&digest, &grant, lasting).await;
                reply.send(self.tell_of_failure(kept)).ok();
            }
            Errand::Redeem {
                digest,
                redeem,
                reply,
            } => {
                let found = self.redeem_ticket(&digest, redeem).await;
                reply.send(self.tell_of_failure(found)).ok();
            }
        }
    }

    async fn keep_ticket(
        &self,
        digest: &str,
        grant: &str,
        lasting: Duration,
    ) -> Result<(), DataError> {
        let ms = u64::try_from(lasting.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let mut set = redis::cmd("SET");
        set.arg(self.keys.ticket(digest))
            .arg(grant)
            .arg("PX")
            .arg(ms);
        self.run(RedisCommand::Ticket, async |connection| {
            set.exec_async(connection).await
        })
        .await
    }

    async fn redeem_ticket(
        &self,
        digest: &str,
        redeem: Redeem,
    ) -> Result<Option<Vec<u8>>, DataError> {
        let mut get = redis::cmd(match redeem {
            Redeem::Use => "GETDEL",
            Redeem::Look => "GET",
        });
        get.arg(self.keys.ticket(digest));
        self.run(RedisCommand::Ticket, async |connection| {
            get.query_async(connection).await
        })
        .await
    }

    fn tell_of_failure<T>(&self, result: Result<T, DataError>) -> Result<T, TicketError> {
        result.map_err(|error| {
            if let Some(left_out) = self.failed_tickets.due() {
                tracing::warn!(%error, left_out, "a ticket could not be kept or looked up; told once a minute");
            }
            TicketError::Unavailable
        })
    }
}

//! Many events of one channel, in order: in pieces that are one call each, and not on past one that may have to be
//! tried again.

use std::time::Instant;

use sluice_wire::position::Position;
use tokio::sync::oneshot;

use super::{Broker, Command, Publication, PublishError};

/// Most events of one call.
const PIECE_EVENTS: usize = 64;
/// Bytes of data of one call, or a single event: no call may hold up the others in Redis.
const PIECE_BYTES: usize = 128 * 1_024;

pub(super) type Outcome = Result<Position, PublishError>;

impl Broker {
    /// Publishes events of one channel in their order and gives an outcome for each. A refused event holds up nothing;
    /// after any other failure the rest is [`PublishError::NotTried`]. What has not begun at `until` is unavailable.
    pub async fn publish_all(
        &self,
        publications: Vec<Publication>,
        until: Instant,
    ) -> Vec<Outcome> {
        let count = publications.len();
        let mut outcomes = Vec::with_capacity(count);
        let mut rest = publications;
        while !rest.is_empty() {
            if Instant::now() >= until {
                outcomes.push(Err(PublishError::Unavailable));
                break;
            }
            let later = rest.split_off(piece(&rest));
            outcomes.extend(self.publish_piece(rest).await);
            if outcomes.iter().rev().take(PIECE_EVENTS).any(will_pass) {
                break;
            }
            rest = later;
        }
        outcomes.resize_with(count, || Err(PublishError::NotTried));
        outcomes
    }

    async fn publish_piece(&self, piece: Vec<Publication>) -> Vec<Outcome> {
        let count = piece.len();
        let all = |error: &PublishError| vec![Err(error.clone()); count];
        let (reply, answer) = oneshot::channel();
        if self
            .commands
            .try_send(Command::PublishAll(piece, reply))
            .is_err()
        {
            return all(&PublishError::Unavailable);
        }
        answer.await.unwrap_or_else(|_| all(&PublishError::Unknown))
    }
}

/// How many of these make the next call; at least one.
fn piece(publications: &[Publication]) -> usize {
    let mut bytes = 0;
    let fitting = publications
        .iter()
        .take(PIECE_EVENTS)
        .take_while(|publication| {
            bytes += publication.data.len();
            bytes <= PIECE_BYTES
        });
    fitting.count().clamp(1, publications.len().max(1))
}

/// Whether the event may be published when it is sent again as it is.
pub(super) fn will_pass(outcome: &Outcome) -> bool {
    match outcome {
        Ok(_) | Err(PublishError::Refused(_)) => false,
        Err(PublishError::Unavailable | PublishError::Unknown | PublishError::NotTried) => true,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sluice_wire::channel::Channel;

    use super::*;

    fn check(sizes: &[usize], expected: usize) {
        let publications: Vec<Publication> = sizes
            .iter()
            .map(|size| Publication {
                channel: Channel::parse("a").expect("valid"),
                event_type: None,
                event_id: None,
                traceparent: None,
                data: Bytes::from(vec![b'x'; *size]),
            })
            .collect();
        assert_eq!(piece(&publications), expected, "{sizes:?}");
    }

    #[test]
    fn a_piece_is_bounded_in_events_and_bytes_and_never_empty() {
        check(&[1; 200], PIECE_EVENTS);
        check(&[1; 3], 3);
        check(&[PIECE_BYTES / 2; 5], 2);
        check(&[PIECE_BYTES * 2, 1], 1);
        check(&[1, PIECE_BYTES * 2], 1);
    }
}

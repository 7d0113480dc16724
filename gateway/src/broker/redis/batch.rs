//! Publishing many events of one channel in one call.

use sluice_wire::batch::{self, Failure};
use sluice_wire::position::Position;
use sluice_wire::publish::Publish;

use super::data::DataLink;
use super::publish::Publisher;
use crate::broker::batch::Outcome;
use crate::broker::{Publication, PublishError};

impl DataLink {
    /// An outcome for each event. What breaks a rule is not sent; after a failure that will pass, nothing is tried.
    pub(in crate::broker) async fn publish_all(&self, piece: &[Publication]) -> Vec<Outcome> {
        let events = piece.iter().map(|publication| Publish {
            tag: Some(rand::random()),
            ..publication.as_publish()
        });
        let checked = events.map(|event| event.check(self.events.event_bytes).map(|()| event));
        let checked: Vec<_> = checked.collect();
        let sound: Vec<Publish<'_>> = checked.iter().flatten().copied().collect();
        let mut outcomes = self.publish_sound(&sound).await.into_iter();
        checked
            .into_iter()
            .map(|checked| {
                checked?;
                outcomes.next().unwrap_or(Err(PublishError::NotTried))
            })
            .collect()
    }

    async fn publish_sound(&self, events: &[Publish<'_>]) -> Vec<Outcome> {
        if events.is_empty() {
            return Vec::new();
        }
        let (keys, args) = (batch::keys(events, &self.keys), batch::args(events));
        let repeatable = events.iter().all(|event| event.event_id.is_some());
        let publisher = Publisher {
            script: &self.publish_all,
            failures: Some(&self.failed_publishes),
        };
        let replies: Result<Vec<Vec<u8>>, PublishError> =
            self.attempt(publisher, &keys, &args, repeatable).await;
        match replies {
            Ok(replies) => replies
                .iter()
                .map(|reply| outcome(publisher, reply))
                .collect(),
            Err(error) => vec![Err(error); events.len()],
        }
    }
}

fn outcome(publisher: Publisher<'_>, reply: &[u8]) -> Result<Position, PublishError> {
    batch::read_reply(reply).map_err(|failure| match failure {
        Failure::Refused(refusal) => refusal.into(),
        Failure::Failed(error) => {
            publisher.tell_failed(&error);
            PublishError::Unavailable
        }
    })
}

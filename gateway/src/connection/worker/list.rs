//! The streams of a worker, for people who ask which there are.

use std::sync::Arc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::position::Position;

use super::obey::fits;
use super::{Bystander, Worker};
use crate::connection::{ConnectionId, Transport};
use crate::holder::Holder;
use crate::orders::Whom;

/// A stream, as others may see it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub key: usize,
    pub id: ConnectionId,
    pub holder: Arc<Holder>,
    pub age: Duration,
    pub events: u64,
    pub bytes: u64,
    /// Each with where the reader stands.
    pub channels: Vec<(Channel, Option<Position>)>,
}

impl<T: Transport> Worker<T> {
    /// The first `limit` streams that fit, and the number of all that do.
    #[must_use]
    pub fn list(&self, whom: &Whom, limit: usize, now: Duration) -> (Vec<Listed>, usize) {
        let mut listed = Vec::new();
        let mut count = 0;
        for (key, stream) in self.streams.iter().filter(|(_, stream)| !stream.own) {
            let bystander = Bystander {
                id: stream.id,
                holder: &stream.holder,
                opened_at: stream.opened_at,
                seats: &stream.seats,
                channels: &self.channels,
            };
            if !fits(whom, &bystander) {
                continue;
            }
            count += 1;
            if listed.len() == limit {
                continue;
            }
            let places = stream.seats.iter().filter_map(|seat| {
                let channel = self.channels.get(seat.channel)?;
                Some((channel.name.clone(), seat.place))
            });
            listed.push(Listed {
                key,
                id: stream.id,
                holder: Arc::clone(&stream.holder),
                age: now.saturating_sub(stream.opened_at),
                events: stream.events,
                bytes: stream.bytes,
                channels: places.collect(),
            });
        }
        (listed, count)
    }
}

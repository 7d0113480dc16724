//! How many streams a worker has, and of what: those of users, without the node's own.

use sluice_wire::channel::Channel;

use super::lag::Lag;
use super::{LocalChannel, Worker};
use crate::connection::Transport;

impl<T: Transport> Worker<T> {
    /// Cuts the connection of every stream, as a failing network would, and gives their number.
    pub fn cut(&mut self) -> usize {
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.own) {
            stream.transport.abort();
        }
        self.streams()
    }

    /// Streams of users here.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len() - self.own
    }

    /// Seats here: one per stream and channel.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.users_channels().map(|local| local.members.len()).sum()
    }

    /// How far streams are behind, at most a round of sweeps ago.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.lag.last
    }

    /// How many seats each channel here has.
    #[must_use]
    pub fn subscribers(&self) -> Vec<(Channel, usize)> {
        self.users_channels()
            .map(|local| (local.name.clone(), local.members.len()))
            .collect()
    }

    fn users_channels(&self) -> impl Iterator<Item = &LocalChannel> {
        let channels = self.channels.iter().map(|(_, local)| local);
        channels.filter(|local| !local.name.is_reserved())
    }
}

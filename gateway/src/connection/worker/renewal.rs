//! New tokens for streams of this worker. A stream keeps its channels: a token that does not allow all of them changes
//! nothing, and the stream ends with the token that it has.

use std::time::Duration;

use sluice_wire::channel::Channel;

use super::{LocalChannel, Worker};
use crate::connection::seat::Seat;
use crate::connection::{ConnectionId, Expiry, Transport};
use crate::orders::asking::Finding;
use crate::orders::renewal::Fresh;
use slab::Slab;

impl<T: Transport> Worker<T> {
    /// Gives the stream of this name a new token, and says what came of it; nothing where there is no such stream with
    /// a token, or none any more.
    pub fn renew(
        &mut self,
        id: ConnectionId,
        fresh: &Fresh,
        expiry: Expiry,
        now: Duration,
    ) -> Option<Finding> {
        let key = self.index.named(id).filter(|_| self.has(id))?;
        self.renew_key(key, fresh, expiry, now)
    }

    /// Whether a stream with a token has this name.
    #[must_use]
    pub fn has(&self, id: ConnectionId) -> bool {
        let key = self.index.named(id);
        key.and_then(|key| self.streams.get(key))
            .is_some_and(|stream| stream.id == id)
    }

    /// Gives every stream of the holder's session the new token, where it allows their channels; their number.
    pub fn renew_session(&mut self, fresh: &Fresh, expiry: Expiry, now: Duration) -> usize {
        let Some(session) = &fresh.holder.session else {
            return 0;
        };
        let mut renewed = 0;
        for key in self.index.of_session(session) {
            let stream = self.streams.get(key);
            if stream.is_some_and(|stream| stream.holder.session.as_ref() == Some(session))
                && self.renew_key(key, fresh, expiry, now) == Some(Finding::Renewed)
            {
                renewed += 1;
            }
        }
        renewed
    }

    fn renew_key(
        &mut self,
        key: usize,
        fresh: &Fresh,
        expiry: Expiry,
        now: Duration,
    ) -> Option<Finding> {
        let stream = self.streams.get_mut(key)?;
        if stream.close.is_some() || stream.has_expired(now) {
            // It is ending, and its client is about to come back by itself.
            return None;
        }
        if stream.holder.subject.is_none() || stream.holder.subject != fresh.holder.subject {
            return Some(Finding::OtherSubject);
        }
        if let Some(missing) = missing(&stream.seats, &self.channels, fresh) {
            let channel = missing.to_string();
            return Some(Finding::MissingChannel { channel });
        }
        stream.renew(&fresh.holder, expiry);
        Some(Finding::Renewed)
    }
}

/// The first channel of these seats that the new token does not allow.
fn missing<'a>(
    seats: &[Seat],
    channels: &'a Slab<LocalChannel>,
    fresh: &Fresh,
) -> Option<&'a Channel> {
    let names = seats.iter().filter_map(|seat| channels.get(seat.channel));
    let mut names = names.map(|local| &local.name);
    names.find(|name| name.is_reserved() || !fresh.subscribe.allow(name))
}

//! The token during the stream: the end of the right to read, the word ahead of it, and a new token.
//! Comparisons of clocks; nothing is verified here.

use std::sync::Arc;
use std::time::Duration;

use super::Stream;
use crate::connection::blocks;
use crate::connection::shapes::{Shape, Sheet};
use crate::connection::{Expiry, Transport};
use crate::holder::Holder;
use crate::hub::sabotage::{Mutant, sabotaged};
use crate::reasons::CloseReason;

impl<T: Transport> Stream<T> {
    /// Whether its token is good no more.
    pub(in crate::connection) fn has_expired(&self, now: Duration) -> bool {
        self.expiry.is_some_and(|expiry| expiry.at <= now)
    }

    /// Why the stream is to end now without anybody having ended it: of its own end and its token's, the earlier one.
    pub(in crate::connection) fn over(
        &self,
        now: Duration,
        open_wait: Duration,
    ) -> Option<CloseReason> {
        let (at, reason) = self.end_at;
        let by_itself = match self.shape {
            Shape::EventStream { .. } | Shape::Ndjson => at <= now,
            Shape::Poll(_) => self.poll_is_over(now, open_wait),
        };
        match self.expiry.filter(|expiry| expiry.at <= now) {
            Some(expiry) if !by_itself || expiry.at < at => Some(CloseReason::TokenExpired),
            Some(_) | None => by_itself.then_some(reason),
        }
    }

    /// Whether the reader is to be told that its token is about to expire. After `sluice.open`, once per expiry.
    pub(in crate::connection) fn warning_is_due(&self, now: Duration, lead: Duration) -> bool {
        let near = |expiry: Expiry| expiry.at <= now + lead;
        self.opened
            && !self.warned
            && !lead.is_zero()
            && self.close.is_none()
            && self.expiry.is_some_and(near)
    }

    pub(super) fn write_warning(&mut self, now: Duration, sheet: &mut Sheet) {
        let Some(expiry) = self.expiry else { return };
        self.warned = true;
        let left = expiry.at.saturating_sub(now);
        let cursor = self.cursor();
        sheet.notice(&blocks::expiring(expiry.unix_ms, left), &cursor);
    }

    /// Goes on with a new token. The session of the old one stays: it is what carries the stream.
    pub(in crate::connection) fn renew(&mut self, holder: &Holder, expiry: Expiry) {
        if sabotaged(Mutant::KeepOldExpiry) {
            return;
        }
        self.holder = Arc::new(Holder {
            session: self.holder.session.clone(),
            ..holder.clone()
        });
        self.expiry = Some(expiry);
        self.warned = false;
    }
}

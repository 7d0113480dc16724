//! Streams with a token by name and by browser session, so that a renewal need not look at all of them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use smallvec::SmallVec;

use crate::connection::ConnectionId;
use crate::holder::Holder;

/// Keys of streams. What it gives is only likely to fit: whoever asks compares.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the first bytes of the name, which is random.
    names: HashMap<[u8; 8], u32>,
    /// By the session's hash.
    sessions: HashMap<u64, SmallVec<[u32; 2]>>,
    hasher: RandomState,
}

impl Index {
    pub(super) fn add(&mut self, id: ConnectionId, holder: &Holder, key: usize) {
        let Ok(key) = u32::try_from(key) else { return };
        self.names.insert(id.start(), key);
        if let Some(session) = &holder.session {
            let hash = self.hasher.hash_one(session);
            self.sessions.entry(hash).or_default().push(key);
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId, holder: &Holder, key: usize) {
        let Ok(key) = u32::try_from(key) else { return };
        if self.names.get(&id.start()) == Some(&key) {
            self.names.remove(&id.start());
        }
        if let Some(session) = &holder.session {
            let hash = self.hasher.hash_one(session);
            if let Some(keys) = self.sessions.get_mut(&hash) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.sessions.remove(&hash);
                }
            }
        }
    }

    pub(super) fn named(&self, id: ConnectionId) -> Option<usize> {
        let key = self.names.get(&id.start())?;
        usize::try_from(*key).ok()
    }

    pub(super) fn of_session(&self, session: &str) -> SmallVec<[usize; 2]> {
        let keys = self.sessions.get(&self.hasher.hash_one(session));
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| usize::try_from(*key).ok()).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.sessions.is_empty()
    }
}

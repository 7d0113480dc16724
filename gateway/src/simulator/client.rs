//! A browser tab in the simulation: it keeps `lastEventId`, reads what it is
//! sent at its own speed, and comes back by its own cursor.

use std::cell::Cell;
use std::rc::Rc;

use super::checker::Reader;
use super::lines::Body;
use super::past::Time;
use crate::hub::frame::Format;

/// How a tab starts when it has no cursor.
#[derive(Clone, Copy, Debug)]
pub enum Fresh {
    Live,
    /// So many milliseconds back.
    Since(u64),
    Last(u32),
}

pub struct Client {
    pub channels: Vec<usize>,
    pub format: Format,
    pub fresh: Fresh,
    pub last_event_id: String,
    pub body: Body,
    pub session: Option<Session>,
    pub stalled_until: Time,
    /// Microseconds between two reads of its socket.
    pub lag: Time,
    /// Counts dials; an earlier dial or session is void.
    pub dials: u32,
    pub reader: Reader,
}

/// The client's stream at a node.
#[derive(Clone)]
pub struct Session {
    pub gateway: usize,
    pub life: u32,
    pub worker: usize,
    pub key: usize,
    pub pulling: bool,
    pub aborted: Rc<Cell<bool>>,
}

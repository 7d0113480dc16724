//! A client's log taken apart into visits: from asking the balancer to the end of that stream.

use std::time::Instant;

use serde_json::Value;

use crate::client::{End, Log, Seen};

/// One stream of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    pub asked: Instant,
    /// When `sluice.open` came, and from which node.
    pub opened: Option<(Instant, String)>,
    /// When `sluice.close` came, and its reason.
    pub closed: Option<(Instant, String)>,
    /// When and how it ended; none while it is open.
    pub ended: Option<(Instant, Ended)>,
}

/// How a visit ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    InOrder,
    Cut,
    Refused(u16),
}

impl Visit {
    /// The node that served it.
    pub fn node(&self) -> Option<&str> {
        self.opened.as_ref().map(|(_, node)| node.as_str())
    }

    /// Whether the node had told that it leaves, and ended the stream in order.
    pub fn is_drained(&self) -> bool {
        let told = self
            .closed
            .as_ref()
            .is_some_and(|(_, reason)| reason == "drain");
        told && self
            .ended
            .as_ref()
            .is_some_and(|(_, ended)| *ended == Ended::InOrder)
    }
}

/// The client's visits in order.
pub fn visits(log: &Log) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for (when, seen) in &log.seen {
        if seen.asked().is_some() {
            visits.push(Visit {
                asked: *when,
                opened: None,
                closed: None,
                ended: None,
            });
        } else if let Some(visit) = visits.last_mut() {
            note(visit, *when, seen);
        }
    }
    visits
}

fn note(visit: &mut Visit, when: Instant, seen: &Seen) {
    match seen {
        Seen::Event(block) if block.event == "sluice.open" && visit.opened.is_none() => {
            visit.opened = Some((when, text(&block.data, "node")));
        }
        Seen::Event(block) if block.event == "sluice.close" => {
            visit.closed = Some((when, text(&block.data, "reason")));
        }
        Seen::Refused(status) => visit.ended = Some((when, Ended::Refused(*status))),
        Seen::Ended(End::Complete) => visit.ended = Some((when, Ended::InOrder)),
        Seen::Ended(End::Broken(_) | End::Left) => visit.ended = Some((when, Ended::Cut)),
        Seen::Event(_) | Seen::EmptyBlock | Seen::Retry(_) | Seen::Asked { .. } => {}
    }
}

/// The text member `name` of a control block; empty when there is none.
fn text(data: &str, name: &str) -> String {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    data[name].as_str().unwrap_or_default().to_owned()
}

//! The workers that follow one channel, and which of them know where it stands.

use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::position::Position;

use super::exchange::{Entry, Note, ToWorker, WorkerId, World};
use super::sabotage::{Mutant, sabotaged};

/// Workers with at least one connection on the channel.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    worker: WorkerId,
    /// It knows where the chain stands; what is emitted may go to it.
    stands: bool,
}

impl Listeners {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the worker is new.
    pub fn join(&mut self, worker: WorkerId) -> bool {
        let is_new = self.0.iter().all(|listener| listener.worker != worker);
        if is_new {
            self.0.push(Listener {
                worker,
                stands: false,
            });
        }
        is_new
    }

    pub fn leave(&mut self, worker: WorkerId) {
        self.0.retain(|listener| listener.worker != worker);
    }

    /// Whether somebody does not know where the chain stands.
    pub fn owe_a_stand(&self) -> bool {
        self.0.iter().any(|listener| !listener.stands)
    }

    /// Tells those who do not know where the chain stands.
    pub fn stand<W: World>(&mut self, channel: &Channel, at: Position, world: &mut W) {
        for listener in self.0.iter_mut().filter(|listener| !listener.stands) {
            let message = ToWorker::Stand {
                channel: channel.clone(),
                at,
            };
            listener.stands = world.send(listener.worker, message).is_ok();
        }
    }

    /// Hands an entry to everyone who stands; one whose queue is full stands
    /// no longer and is told its place anew when there is room.
    pub fn tell<W: World>(
        &mut self,
        channel: &Channel,
        entry: &Entry,
        at: Duration,
        world: &mut W,
    ) {
        for listener in self.0.iter_mut().filter(|listener| listener.stands) {
            let message = ToWorker::Next {
                channel: channel.clone(),
                entry: entry.clone(),
                at,
            };
            if let Entry::Event(frame) = entry {
                frame.expect_one();
            }
            if world.send(listener.worker, message).is_err() {
                if let Entry::Event(frame) = entry {
                    // Never the last: who made the frame comes after all of these.
                    let _not_yet = frame.handed_to(0);
                }
                world.note(Note::WorkerOverflow);
                listener.stands = sabotaged(Mutant::FullHopDropped);
            }
        }
    }
}

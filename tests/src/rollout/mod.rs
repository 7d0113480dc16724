//! A rolling deploy as Kubernetes does it, on real parts: Redis, nodes, a balancer before them, clients on native terms,
//! a steady flow of events, and each node in turn replaced by one of the new version (`maxSurge: 1`): the new one is up
//! and ready, the balancer knows it, then the balancer forgets the old one, which is told to go and drains.

mod figures;
mod flow;
mod judge;
mod meter;
mod nginx;
mod plot;
mod roll;
mod visit;

pub use figures::Figures;
pub use judge::{Drained, Evidence, Findings, Published, judge};
pub use meter::Part;
pub use nginx::Nginx;
pub use plot::plot;
pub use roll::{Drill, run};
pub use visit::{Ended, Visit, visits};

use std::{path::PathBuf, time::Duration};

/// What is rolled, under which load, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: usize,
    /// Clients and events are spread evenly over so many.
    pub channels: usize,
    /// Events per second over all channels.
    pub rate: u32,
    pub nodes: usize,
    /// `drain.deadline` and `drain.readiness_lead` of every node.
    pub deadline: Duration,
    pub lead: Duration,
    /// From the moment the balancer is told to the node's SIGTERM: Kubernetes' `preStop`.
    pub pre_stop: Duration,
    /// Under load before the roll, and after it.
    pub calm: Duration,
    /// The program of the old version; the same as the new one's unless set.
    pub old_program: Option<PathBuf>,
    /// What is broken on purpose, for tests of the judge.
    pub sabotage: Option<Sabotage>,
}

/// Ways to break a roll that the judge must see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sabotage {
    /// The nodes' drain windows are a tenth of a second, whatever was promised.
    DrainAtOnce,
    /// Clients come back without their place.
    ForgottenPlaces,
    /// The publisher takes twice the time that it has between two events.
    IdlePublisher,
    /// The balancer goes on sending clients to a node that leaves, and takes its first word for it.
    BalancerNotTold,
}

impl Plan {
    /// The time over which a node's streams end.
    pub fn window(&self) -> Duration {
        self.deadline.saturating_sub(self.lead)
    }
}

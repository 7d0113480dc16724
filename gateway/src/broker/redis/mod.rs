//! Redis as the broker: data commands through a pool, and one subscriber
//! connection under a supervisor of our own.

mod batch;
mod canary;
mod control;
mod data;
mod glance;
mod leases;
mod parse;
mod publish;
mod reads;
mod report;
mod standing;
mod subscriber;
mod tickets;
mod timed;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use sluice_wire::channel::Channel;
use sluice_wire::keys::Keys;
use tokio::sync::{mpsc, watch};

pub(super) use data::DataLink;
pub(super) use standing::Mark;
pub(super) use subscriber::Subscriber;
pub use topology::{Certificates, Topology};

use self::subscriber::Wishes;
use self::timed::Timed;
use super::clock::Clock;
use super::reports::ReportSettings;
use super::{BrokerSettings, Push};
use crate::metrics::{BrokerMetrics, LimitMetrics};

/// How to reach Redis and how long to wait for it.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    pub topology: Topology,
    pub keys: Keys,
    /// Connections for data commands.
    pub pool: usize,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    /// Silence of the subscriber connection before it is probed.
    pub probe_interval: Duration,
    /// Silence before it is replaced.
    pub probe_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Load the function library where it is absent or older.
    pub install_functions: bool,
    /// How this node reports about itself; nothing when it does not.
    pub reports: Option<ReportSettings>,
}

/// The backend as the node's loop uses it.
pub(super) struct Redis {
    keys: Keys,
    data: Arc<DataLink>,
    wishes: Arc<Wishes>,
}

impl Redis {
    /// Prepares the pool and the subscriber; nothing is connected until its
    /// [`Subscriber::run`] is driven.
    pub(super) fn new(
        settings: &RedisSettings,
        broker: &BrokerSettings,
        clock: Clock,
        outlets: Outlets,
    ) -> Result<(Redis, Subscriber), redis::RedisError> {
        let data = Arc::new(DataLink::new(
            settings,
            (broker.events, broker.canary),
            broker.new_heads_per_second,
            (outlets.limits.clone(), Timed::new(outlets.metrics.clone())),
            clock,
        )?);
        let wishes = Arc::new(Wishes::default());
        let subscriber = Subscriber::new(
            settings.clone(),
            Arc::clone(&data),
            Arc::clone(&wishes),
            outlets,
        )?;
        Ok((
            Redis {
                keys: settings.keys.clone(),
                data,
                wishes,
            },
            subscriber,
        ))
    }

    pub(super) fn data(&self) -> Arc<DataLink> {
        Arc::clone(&self.data)
    }

    pub(super) fn topic(&self, channel: &Channel) -> String {
        self.keys.topic(channel)
    }

    pub(super) fn want(&self, channel: &Channel) {
        self.wishes.want(&self.keys.topic(channel), channel);
    }

    pub(super) fn unwant(&self, channel: &Channel) {
        self.wishes.unwant(&self.keys.topic(channel));
    }

    /// Whether pushes were lost on the way to the node since this was last asked.
    pub(super) fn has_overflowed(&self) -> bool {
        self.wishes.take_overflow()
    }
}

/// Where the subscriber puts what it learns.
pub(super) struct Outlets {
    pub pushes: mpsc::Sender<Push>,
    pub connected: watch::Sender<bool>,
    pub metrics: BrokerMetrics,
    pub limits: LimitMetrics,
}

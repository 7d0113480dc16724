//! What the node counts, registered on an injected registry so that two gateways fit in one process. A metric is declared
//! once, in the file of its concern: its HELP is the doc comment, its labels come from enums, all its values begin at 0.

mod broker;
mod canary;
mod connections;
mod control;
mod http;
mod hub;
mod keys;
mod kinds;
mod limits;
mod node;
mod process;
mod runtime;
mod transport;

use prometheus::{Encoder as _, Registry, TextEncoder};

pub use broker::BrokerMetrics;
pub use canary::CanaryMetrics;
pub use connections::ConnectionMetrics;
pub use control::ControlMetrics;
pub use http::HttpMetrics;
pub use hub::HubMetrics;
pub use keys::KeyMetrics;
pub use kinds::{Counters, Family, Gauges, Histograms, Part};
pub use limits::LimitMetrics;
pub use node::NodeMetrics;
pub use runtime::{LagWatch, Runtimes};
pub use transport::{TlsMetrics, TransportMetrics};

use kinds::Place;
use node::MemoryMetrics;
use process::ProcessMetrics;
use runtime::RuntimeMetrics;

/// Delivery latency, publish to socket write, in seconds.
const LATENCIES: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Round trips to Redis, in seconds: on one machine to over an ocean, and waits that are given up.
const ROUND_TRIPS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// From one thread to another, and to all of a worker's streams, in seconds.
const HAND_OVERS: [f64; 14] = [
    0.000_01, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0,
];
/// Age of a stream at its end, in seconds: from a failed try to a day.
const AGES: [f64; 10] = [
    0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// All of the node's metrics. Components take their part; clones share the values.
#[derive(Clone)]
pub struct Metrics {
    place: Place,
    pub connections: ConnectionMetrics,
    pub hub: HubMetrics,
    pub broker: BrokerMetrics,
    pub http: HttpMetrics,
    pub transport: TransportMetrics,
    pub tls: TlsMetrics,
    pub control: ControlMetrics,
    pub limits: LimitMetrics,
    pub keys: KeyMetrics,
    pub canary: CanaryMetrics,
    pub node: NodeMetrics,
    pub runtimes: Runtimes,
}

impl Metrics {
    /// Registers everything on `registry`.
    ///
    /// # Errors
    /// When one of the names is taken there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let place = Place::new(registry);
        let process = ProcessMetrics::register(&place)?;
        let memory = MemoryMetrics::register(&place)?;
        let runtime = RuntimeMetrics::register(&place)?;
        let metrics = Metrics {
            connections: ConnectionMetrics::register(&place)?,
            hub: HubMetrics::register(&place)?,
            broker: BrokerMetrics::register(&place)?,
            http: HttpMetrics::register(&place)?,
            transport: TransportMetrics::register(&place)?,
            tls: TlsMetrics::register(&place)?,
            control: ControlMetrics::register(&place)?,
            limits: LimitMetrics::register(&place)?,
            keys: KeyMetrics::register(&place)?,
            canary: CanaryMetrics::register(&place)?,
            node: NodeMetrics::register(&place)?,
            runtimes: Runtimes::new(&runtime),
            place,
        };
        let runtimes = metrics.runtimes.clone();
        metrics.at_scrape(move || {
            process.read();
            memory.read();
            runtimes.read(&runtime);
        });
        Ok(metrics)
    }

    /// Reads something at each scrape, for figures that somebody else keeps. It must not wait.
    pub fn at_scrape(&self, read: impl Fn() + Send + 'static) {
        self.place.at_scrape(read);
    }

    /// All metrics as Prometheus text (version 0.0.4).
    ///
    /// # Errors
    /// When a collector gives something that the format cannot carry.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        self.place.read();
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.place.registry.gather(), &mut out)?;
        Ok(out)
    }

    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";
}

#[cfg(test)]
mod tests;

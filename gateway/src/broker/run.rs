//! The broker thread: one loop that feeds the node core with questions,
//! pushes, answers and time, and never waits for any of them alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use sluice_wire::event::decode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::clock::Clock;
use super::control::Orders;
use super::embedded::Embedded;
use super::keeper::Keeper;
use super::leases::Leases;
use super::outside::{Backend, Done, LoopMetrics, Outside};
use super::redis::{DataLink, Outlets, Redis};
use super::reports::{self, Counters, Reporter};
use super::standing::Shelf;
use super::{BackendSettings, Broker, BrokerSettings, Command, Push, TICK, WorkerPort, used};
use crate::hub::exchange::ToWorker;
use crate::hub::node::Node;
use crate::metrics::Metrics;
use crate::orders::{ConnectionId, Order};
use crate::reasons::{DropReason, SyncCause, ThreadClass};

/// Messages taken from one queue before the others have their turn.
const BATCH: usize = 256;
/// How long the thread may take to end.
const END_WAIT: Duration = Duration::from_secs(1);

/// The thread that runs the node; dropping it ends the thread.
pub struct BrokerThread {
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Why the broker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the broker thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("redis.url: {0}")]
    Redis(#[from] redis::RedisError),
}

/// Starts the broker for so many workers.
///
/// # Errors
/// [`StartError`]; an unreachable Redis is none, it is tried until it answers.
pub fn start(
    settings: BrokerSettings,
    workers: usize,
    metrics: &Metrics,
) -> Result<(Broker, Vec<WorkerPort>, BrokerThread), StartError> {
    let clock = Clock::start();
    let (commands, asked) = mpsc::channel(settings.queue);
    let embedded = matches!(settings.backend, BackendSettings::Embedded(_));
    let (connected, is_connected) = watch::channel(embedded);
    let (counters, ends) = reports::counters(workers);
    let (queues, ports) = ports(ends, settings.worker_queue);
    let (stop, stopped) = watch::channel(false);
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let keys = match &settings.backend {
        BackendSettings::Embedded(_) => None,
        BackendSettings::Redis(redis) => Some(redis.keys.clone()),
    };
    let runtimes = metrics.runtimes.clone();
    used::set(&settings, &metrics.limits);
    let leases = Leases::new(settings.leases, keys, metrics.limits.clone());
    let orders = orders(&settings, &clock, metrics);
    let broker = Broker {
        commands,
        leases: leases.clone(),
        shelf: Arc::clone(orders.shelf()),
        connected: is_connected.clone(),
        clock: clock.clone(),
        look_events: super::history::look_events(settings.events.event_bytes),
    };
    let metrics = LoopMetrics {
        hub: metrics.hub.clone(),
        broker: metrics.broker.clone(),
        limits: metrics.limits.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("sluice-broker".into())
        .spawn(move || {
            let _guard = runtime.enter();
            let _watch = runtimes.watch_this(ThreadClass::Broker);
            match Loop::new(
                &settings,
                (queues, asked, orders, leases),
                metrics,
                connected,
                clock,
            ) {
                Ok((turn, subscriber)) => {
                    drop(ready.send(Ok(())));
                    let reporter = turn.reporter(&settings, counters);
                    let keeper = turn.keeper(is_connected);
                    runtime.block_on(turn.run(subscriber, (reporter, keeper), stopped));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
            runtime.shutdown_timeout(END_WAIT);
        })?;
    match started.recv() {
        Ok(Ok(())) => Ok((
            broker,
            ports,
            BrokerThread {
                stop,
                thread: Some(thread),
            },
        )),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(std::io::Error::other("it ended at once").into()),
    }
}

/// A queue to each worker, and the workers' ends.
fn ports(
    counters: Vec<reports::Counter>,
    most: usize,
) -> (Vec<mpsc::Sender<ToWorker>>, Vec<WorkerPort>) {
    let counters = counters.into_iter().enumerate();
    counters
        .map(|(worker, counter)| {
            let (queue, messages) = mpsc::channel(most);
            let port = WorkerPort {
                worker,
                messages,
                counter,
            };
            (queue, port)
        })
        .unzip()
}

/// Without other nodes there is no topic, and nothing to be read before orders are known.
fn orders(settings: &BrokerSettings, clock: &Clock, metrics: &Metrics) -> Orders {
    let topic = match &settings.backend {
        BackendSettings::Embedded(_) => None,
        BackendSettings::Redis(redis) => Some(redis.keys.orders_topic()),
    };
    let count = metrics.control.standing_orders.clone();
    let limit = settings.standing_orders;
    let shelf = Shelf::new(topic.is_none(), limit, clock.clone(), count);
    Orders::new(topic, Arc::new(shelf))
}

impl Drop for BrokerThread {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the broker thread has panicked");
        }
    }
}

struct Loop {
    node: Node,
    outside: Outside,
    commands: mpsc::Receiver<Command>,
    pushes: mpsc::Receiver<Push>,
    orders: Orders,
    event_bytes: usize,
    /// Kept so that the embedded broker stays connected for as long as it runs.
    _connected: Option<watch::Sender<bool>>,
}

type Queues = (
    Vec<mpsc::Sender<ToWorker>>,
    mpsc::Receiver<Command>,
    Orders,
    Leases,
);

impl Loop {
    fn new(
        settings: &BrokerSettings,
        (workers, commands, orders, leases): Queues,
        metrics: LoopMetrics,
        connected: watch::Sender<bool>,
        clock: Clock,
    ) -> Result<(Loop, Option<super::redis::Subscriber>), redis::RedisError> {
        let (sender, pushes) = mpsc::channel(settings.queue);
        let (backend, subscriber, connected) = match &settings.backend {
            BackendSettings::Embedded(embedded) => {
                metrics.broker.connected.set(1);
                let embedded = Embedded::new(*embedded, settings.events, settings.canary);
                (Backend::Embedded(Box::new(embedded)), None, Some(connected))
            }
            BackendSettings::Redis(redis) => {
                let outlets = Outlets {
                    pushes: sender,
                    connected,
                    metrics: metrics.broker.clone(),
                    limits: metrics.limits.clone(),
                };
                let (redis, subscriber) = Redis::new(redis, settings, clock.clone(), outlets)?;
                (Backend::Redis(redis), Some(subscriber), None)
            }
        };
        let node = Node::new(workers.len(), settings.node);
        let turn = Loop {
            node,
            outside: Outside::new(backend, workers, metrics, leases, clock),
            commands,
            pushes,
            orders,
            event_bytes: settings.events.event_bytes,
            _connected: connected,
        };
        Ok((turn, subscriber))
    }

    /// Nothing where nobody else could read a report, or none is wanted.
    fn reporter(&self, settings: &BrokerSettings, counters: Counters) -> Option<Reporter> {
        match (&settings.backend, &self.outside.backend) {
            (BackendSettings::Redis(settings), Backend::Redis(redis)) => {
                let reports = settings.reports.clone()?;
                Some(Reporter::new(reports, counters, redis.data()))
            }
            (BackendSettings::Redis(_) | BackendSettings::Embedded(_), _) => None,
        }
    }

    /// Nothing where no other node gives orders.
    fn keeper(&self, connected: watch::Receiver<bool>) -> Option<Keeper> {
        match &self.outside.backend {
            Backend::Embedded(_) => None,
            Backend::Redis(redis) => {
                let shelf = Arc::clone(self.orders.shelf());
                Some(Keeper::new(shelf, redis.data(), connected))
            }
        }
    }

    fn data(&self) -> Option<Arc<DataLink>> {
        match &self.outside.backend {
            Backend::Redis(redis) => Some(redis.data()),
            Backend::Embedded(_) => None,
        }
    }

    async fn run(
        self,
        subscriber: Option<super::redis::Subscriber>,
        (mut reporter, mut keeper): (Option<Reporter>, Option<Keeper>),
        mut stop: watch::Receiver<bool>,
    ) {
        let report = async {
            match &mut reporter {
                Some(reporter) => reporter.run().await,
                None => std::future::pending().await,
            }
        };
        let keep = async {
            match &mut keeper {
                Some(keeper) => keeper.run().await,
                None => std::future::pending().await,
            }
        };
        let (leases, data) = (self.outside.leases.clone(), self.data());
        let hold = async {
            match &data {
                Some(data) => leases.run(data).await,
                None => std::future::pending().await,
            }
        };
        let supervise = async {
            match subscriber {
                Some(subscriber) => subscriber.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.turns() => {}
            () = supervise => {}
            () = report => {}
            () = keep => {}
            () = hold => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        if let Some(reporter) = reporter {
            reporter.leave().await;
        }
        if let Some(data) = &data {
            leases.leave(data).await;
        }
    }

    async fn turns(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commands = Vec::with_capacity(BATCH);
        let mut pushes = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = self.commands.recv_many(&mut commands, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    commands.drain(..).for_each(|command| self.command(command));
                }
                count = self.pushes.recv_many(&mut pushes, BATCH), if !self.pushes.is_closed() => {
                    if count > 0 {
                        pushes.drain(..).for_each(|push| self.push(push));
                    }
                }
                Some(done) = self.outside.pending.next(), if !self.outside.pending.is_empty() => {
                    self.done(done);
                }
                _ = tick.tick() => self.tick(),
            }
            self.hear_embedded();
            self.outside.flush_reads();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ask(worker, question) => {
                let now = self.outside.clock.now();
                self.node.ask(worker, question, &mut self.outside, now);
            }
            Command::Publish(publication, reply) => self.outside.publish(publication, reply),
            Command::PublishAll(piece, reply) => self.outside.publish_all(piece, reply),
            Command::Look(glance, reply) => self.outside.look(glance, reply),
            Command::Time(reply) => self.outside.time(reply),
            Command::Ticket(errand) => self.outside.ticket(errand),
            Command::Tell(order, reply) => {
                if let Some(order) = self.outside.tell(order, reply) {
                    self.orders.hear(order.as_bytes());
                }
            }
            Command::Stand(standing, reply) => {
                let shelf = Arc::clone(self.orders.shelf());
                self.outside.stand(standing, shelf, reply);
            }
            Command::Lease(wish, reply) => {
                let evicted = self.outside.lease(wish, reply);
                self.evict(evicted);
            }
        }
    }

    fn push(&mut self, push: Push) {
        let now = self.outside.clock.now();
        match push {
            Push::Confirmed(channel) => self.node.confirmed(&channel, &mut self.outside, now),
            Push::Unconfirmed(channel) => self.node.unconfirmed(&channel),
            Push::Disconnected => self.node.disconnected(),
            Push::Ready(channel, message) => {
                self.node.message(&channel, message, &mut self.outside, now);
            }
            Push::Raw { topic, payload } if self.orders.is_topic(&topic) => {
                self.orders.hear(&payload);
            }
            Push::Raw { topic, payload } => {
                let Some(channel) = self.outside.channel_of(&topic) else {
                    self.outside
                        .hub
                        .dropped
                        .of(DropReason::UnknownChannel)
                        .inc();
                    return;
                };
                let ephemeral = !payload.starts_with(b"sluice/");
                match decode(payload, self.event_bytes) {
                    Ok(message) => {
                        self.node.message(&channel, message, &mut self.outside, now);
                    }
                    Err(error) => {
                        self.outside.hub.dropped.of(DropReason::from(&error)).inc();
                        if !ephemeral {
                            let cause = SyncCause::Gap;
                            self.node.doubt(&channel, cause, &mut self.outside, now);
                        }
                    }
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.outside.clock.now();
        match done {
            Done::Published => self.outside.published(),
            Done::Looked => self.outside.looked(),
            Done::Leased(evicted) => {
                self.outside.leased();
                self.evict(evicted);
            }
            Done::Heads(heads) => self.node.audited(heads, &mut self.outside, now),
            Done::Reads(reads) => {
                for (id, channel, reading) in reads {
                    self.node
                        .read(id, &channel, reading, &mut self.outside, now);
                }
            }
        }
    }

    /// Ends streams wherever they are. One that is not reached goes on, and holds its place again with its next renewal.
    fn evict(&mut self, connections: Vec<ConnectionId>) {
        for connection in connections {
            self.outside.count_eviction();
            let (reply, answer) = oneshot::channel();
            drop(answer);
            self.command(Command::Tell(Order::Evict { connection }.to_json(), reply));
        }
    }

    fn tick(&mut self) {
        let now = self.outside.clock.now();
        self.outside.count_limits();
        let waiting = self.commands.len().max(self.pushes.len());
        self.outside.tell_limits(waiting, self.node.backfills());
        if let Backend::Redis(redis) = &self.outside.backend
            && redis.has_overflowed()
        {
            self.outside.hub.dropped.of(DropReason::Overflow).inc();
            self.node
                .doubt_all(SyncCause::Overflow, &mut self.outside, now);
        }
        self.node.tick(&mut self.outside, now);
        self.outside
            .hub
            .channels
            .set(i64::try_from(self.node.channels()).unwrap_or(i64::MAX));
    }

    fn hear_embedded(&mut self) {
        while let Backend::Embedded(embedded) = &mut self.outside.backend
            && let Some(push) = embedded.next_push()
        {
            self.push(push);
        }
    }
}

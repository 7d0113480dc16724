//! The composition root: from a configuration and bound listeners to a
//! running node, and back out of it by way of a drain.

mod canary;
mod limits;
mod settings;
pub mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_server::ServerBuilder;
use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use prometheus::Registry;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::auth::Authenticator;
use crate::broker::run::{BrokerThread, StartError};
use crate::broker::{Broker, WorkerPort};
use crate::canary::{Pass, Surroundings};
use crate::config::{AuthMode, BrokerMode, Config};
use crate::health::Health;
use crate::http::admin;
use crate::http::admin::connections::Roll;
use crate::http::admission::{self, Gate};
use crate::http::asking::Asks;
use crate::http::cors::{self, Cors};
use crate::http::dev::Cuts;
use crate::http::framing;
use crate::http::head;
use crate::http::page;
use crate::http::probes::Probes;
use crate::http::request_id;
use crate::http::routes::{self, Public};
use crate::http::streams::LocalStreams;
use crate::http::transport::{Transport, listen::listen};
use crate::lifecycle::{Admission, Drain};
use crate::metrics::{LagWatch, Metrics};
use crate::reasons::ThreadClass;
use crate::version;

/// Bound sockets: tests bind port 0, and nothing is bound before the configuration is proved.
pub struct Listeners {
    pub public: TcpListener,
    pub admin: TcpListener,
}

/// Why a node could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error(transparent)]
    Broker(#[from] StartError),
    #[error("a metric could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the broker thread has ended; please report this")]
    BrokerEnded,
    #[error("a listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// How long workers may take to end once their streams have.
const STOP_SECONDS: u64 = 1;
/// How often a draining node looks whether its streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Proves what is not in the settings themselves: the files that they name.
///
/// # Errors
/// Which setting, which file, and what is wrong with it.
pub fn check(config: &Config) -> Result<(), String> {
    tls::check(&config.tls).map_err(|error| error.to_string())?;
    Authenticator::from_config(&config.auth).map_err(|error| error.to_string())?;
    settings::broker(config).map(|_| ())
}

/// Runs a node until `shutdown` is there, then drains it.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let metrics = Metrics::register(&Registry::new())?;
    let certificate = tls::Certificate::load(&config.tls, metrics.tls.clone())?;
    let authenticator = Authenticator::from_config(&config.auth);
    let authenticator = authenticator.map_err(|error| RunError::Settings(error.to_string()))?;
    let authenticator = Arc::new(authenticator);
    announce(&config, &listeners)?;
    let health = Health::new(&config.health);
    let pass = canary::pass(&config).map_err(RunError::Settings)?;
    let bound = listeners.public.local_addr()?;
    let workers = settings::workers(&config);
    let broker = settings::broker(&config).map_err(RunError::Settings)?;
    let (broker, ports, thread) = crate::broker::run::start(broker, workers, &metrics)?;
    let admission = Admission::new(settings::connections(&config));
    let most = i64::try_from(admission.limit()).unwrap_or(i64::MAX);
    metrics.connections.limit.set(most);
    let (drain, draining) = watch::channel(None);
    let roll = Roll::new(settings::streams(&config).node);
    let parts = (&broker, &admission, &metrics);
    let seats = WorkerSeats::new(&config, bound, (ports, draining), parts, &roll);
    let watch = seats.draining.clone();
    let told = (&health, pass.clone());
    let shared = shared(&config, told, &seats, Arc::clone(&authenticator));
    let tls = certificate.as_ref().map(tls::Certificate::server_config);
    let transport = |entry| settings::transport(&config, entry, &metrics);
    let entry = (tls.transpose()?, pass.clone());
    let public = (listeners.public, transport(entry));
    let sockets = (&public.1.open, settings::sockets(&admission, workers));
    limits::follow(&config, &metrics, (&admission, sockets), shared.clone());
    let public = public_server(&config, public, workers, shared.clone(), seats)?;
    let admin = (listeners.admin, transport((None, None)));
    let _watch = metrics.runtimes.watch_this(ThreadClass::Main);
    let told = (&health, &metrics);
    let admin = admin_server(&config, admin, (&broker, roll), told, shared)?;
    let keys = metrics.keys.clone();
    let canary = pass.map(|pass| (pass, Surroundings::new(&broker, &health, &metrics)));
    let canary = canary::canary(&config, (bound, certificate.as_ref()), canary)?;
    let node = Node {
        handles: [public.handle(), admin.handle()],
        health,
        metrics,
        admission,
        drain,
        _broker: thread,
    };
    let mut running = std::pin::pin!(async {
        tokio::select! {
            ended = async { tokio::try_join!(public, admin) } => ended.map(|_| ()),
            never = authenticator.follow_keys(&keys) => match never {},
            never = canary::run(canary, watch) => match never {},
        }
    });
    let outcome = tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = tls::follow(certificate) => Ok(()),
        () = node.follow(&broker, config.auth.mode == AuthMode::Jwt) => Err(RunError::BrokerEnded),
        () = shutdown => Ok(()),
    };
    tokio::join!(node.leave(&config), &mut running).1?;
    outcome
}

/// Says where the node listens, and loudly what must not be in production.
fn announce(config: &Config, listeners: &Listeners) -> std::io::Result<()> {
    let public = listeners.public.local_addr()?;
    let admin = listeners.admin.local_addr()?;
    let tls = config.tls.certificate_file.is_some();
    let node = settings::node_name(config);
    let (version, commit) = (version::VERSION, version::COMMIT);
    tracing::info!(node, version, commit, %public, tls, %admin, "listening");
    let limits = &config.limits;
    let of_one_client = [
        limits.sockets_per_ip,
        limits.connections_per_ip,
        limits.attempts_per_ip_per_second as usize,
    ];
    if !public.ip().is_loopback() && of_one_client == [0; 3] {
        tracing::warn!(
            "one client may take every place here: no limit of a single address is set (docs/limits.md has values to begin with)"
        );
    }
    match config.broker.mode {
        BrokerMode::Embedded => tracing::warn!(
            "the embedded broker keeps history in this process only: one node, and all of it gone at its end; \
             set redis.url for production"
        ),
        BrokerMode::Redis => {}
    }
    Ok(())
}

/// What worker threads take when they start.
struct WorkerSeats {
    ports: Mutex<Vec<WorkerPort>>,
    broker: Broker,
    admission: Admission,
    metrics: Metrics,
    draining: watch::Receiver<Option<Drain>>,
    roll: Roll,
    cuts: web::Data<Cuts>,
    page: web::Data<page::Index>,
}

impl WorkerSeats {
    fn new(
        config: &Config,
        bound: SocketAddr,
        (ports, draining): (Vec<WorkerPort>, watch::Receiver<Option<Drain>>),
        (broker, admission, metrics): (&Broker, &Admission, &Metrics),
        roll: &Roll,
    ) -> Arc<WorkerSeats> {
        Arc::new(WorkerSeats {
            roll: roll.clone(),
            ports: Mutex::new(ports),
            broker: broker.clone(),
            admission: admission.clone(),
            metrics: metrics.clone(),
            draining,
            cuts: web::Data::new(Cuts::new(settings::streams(config).node)),
            page: web::Data::new(settings::page(config, bound)),
        })
    }

    /// The streams of the calling worker thread; `None` when every worker has its own.
    fn take(&self, config: &Config) -> Option<(LocalStreams, LagWatch)> {
        let port = self
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()?;
        let watch = self.metrics.runtimes.watch_this(ThreadClass::Worker);
        let streams = LocalStreams::start(
            port,
            self.broker.clone(),
            settings::streams(config),
            (
                self.metrics.connections.clone(),
                self.metrics.hub.clone(),
                self.metrics.limits.clone(),
            ),
            self.draining.clone(),
            (self.cuts.orders(), self.roll.questions()),
        );
        Some((streams, watch))
    }
}

/// What the routes of both listeners need.
fn shared(
    config: &Config,
    (health, canary): (&Health, Option<Pass>),
    seats: &WorkerSeats,
    authenticator: Arc<Authenticator>,
) -> web::Data<Public> {
    web::Data::new(Public {
        authenticator,
        revocations: settings::revocations(&seats.broker),
        asks: Asks::new(seats.broker.clone()),
        carriers: settings::carriers(config),
        broker: seats.broker.clone(),
        health: health.clone(),
        limits: settings::public(config),
        batches: Semaphore::new(config.limits.batches_at_once),
        http: seats.metrics.http.clone(),
        connections: seats.metrics.connections.clone(),
        resets_told: seats.metrics.hub.resets_told.clone(),
        gate: Gate::new(&settings::gate(config), seats.admission.clone()),
        limit_metrics: seats.metrics.limits.clone(),
        canary,
    })
}

fn public_server(
    config: &Config,
    (listener, transport): (TcpListener, Transport),
    workers: usize,
    public: web::Data<Public>,
    seats: Arc<WorkerSeats>,
) -> Result<Server, RunError> {
    let cors = web::Data::new(Cors::new(&config.http.cors_origins, config.dev));
    let head = web::Data::new(head::HeadBytes(config.http.head_bytes.get()));
    let per_worker = settings::sockets_per_worker(seats.admission.limit(), workers);
    let config = config.clone();
    let builder = ServerBuilder::new()
        .workers(workers)
        .max_concurrent_connections(per_worker)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS);
    let server = listen(builder, ("public", listener), transport, move || {
        let streams = seats.take(&config);
        let dev = config.dev;
        App::new()
            .app_data(public.clone())
            .app_data(cors.clone())
            .app_data(head.clone())
            .configure(|app| {
                if let Some((streams, watch)) = streams {
                    app.app_data(web::Data::new(streams)).app_data(watch);
                }
                if dev {
                    app.app_data(seats.cuts.clone())
                        .app_data(seats.page.clone());
                }
                routes::add(app, dev);
            })
            .wrap(from_fn(admission::layer))
            .wrap(from_fn(cors::layer))
            .wrap(from_fn(framing::layer))
            .wrap(from_fn(head::layer))
            .wrap(from_fn(request_id::layer))
    });
    Ok(server?.run())
}

fn admin_server(
    config: &Config,
    (listener, transport): (TcpListener, Transport),
    (broker, roll): (&Broker, Roll),
    (health, metrics): (&Health, &Metrics),
    public: web::Data<Public>,
) -> Result<Server, RunError> {
    let commands = settings::admin(config, listener.local_addr()?, broker, roll, metrics);
    let commands = web::Data::new(commands);
    let revocations = broker.revocations().clone();
    let probes = Probes::new(health.clone(), metrics.clone(), revocations);
    let runtimes = metrics.runtimes.clone();
    let head = web::Data::new(head::HeadBytes(config.http.head_bytes.get()));
    let builder = ServerBuilder::new()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS);
    let server = listen(builder, ("admin", listener), transport, move || {
        App::new()
            .app_data(runtimes.watch_this(ThreadClass::Admin))
            .app_data(public.clone())
            .app_data(head.clone())
            .configure(|app| admin::routes(&commands, app))
            .configure(|app| probes.routes(app))
            .wrap(from_fn(head::layer))
            .wrap(from_fn(request_id::layer))
    });
    Ok(server?.run())
}

/// A running node, as far as leaving is concerned.
struct Node {
    handles: [ServerHandle; 2],
    health: Health,
    metrics: Metrics,
    admission: Admission,
    drain: watch::Sender<Option<Drain>>,
    _broker: BrokerThread,
}

impl Node {
    /// Tells health what the broker says about its connection, for as long as there is a broker. A node that takes
    /// tokens has started once it knows which are revoked.
    async fn follow(&self, broker: &Broker, takes_tokens: bool) {
        let mut connected = broker.connected();
        let mut known = broker.revocations().known();
        loop {
            let may_serve = *known.borrow_and_update() || !takes_tokens;
            match *connected.borrow_and_update() {
                true if may_serve => self.health.broker_connected(),
                true => {}
                false => self.health.broker_away(),
            }
            let changed = tokio::select! {
                changed = connected.changed() => changed,
                changed = known.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Readiness falls first; streams end spread over the window; then the listeners close.
    async fn leave(&self, config: &Config) {
        let Drain { lead, window } = settings::drain(config);
        tracing::info!(
            lead_seconds = lead.as_secs_f64(),
            window_seconds = window.as_secs_f64(),
            streams = self.admission.open(),
            "draining"
        );
        self.health.drain();
        self.metrics.node.draining.set(1);
        self.drain.send_replace(Some(Drain { lead, window }));
        let end = Instant::now() + lead + window;
        let remaining = &self.metrics.node.drain_remaining;
        remaining.until(end.into_std());
        let until = end + Duration::from_secs(1);
        // New callers are told to go elsewhere for as long as the load balancer may send them.
        sleep(lead).await;
        while self.admission.open() > 0 && Instant::now() < until {
            sleep(DRAIN_POLL).await;
        }
        tracing::info!(cut = self.admission.open(), "drained");
        for handle in &self.handles {
            handle.stop(true).await;
        }
    }
}

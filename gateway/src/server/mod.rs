//! The composition root: from a configuration and bound listeners to a
//! running node, and back out of it by way of a drain.

mod settings;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use prometheus::Registry;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::auth::Authenticator;
use crate::broker::run::{BrokerThread, StartError};
use crate::broker::{Broker, WorkerPort};
use crate::config::{BrokerMode, Config};
use crate::health::Health;
use crate::http::cors::{self, Cors};
use crate::http::dev::Cuts;
use crate::http::framing;
use crate::http::page;
use crate::http::peer;
use crate::http::probes::Probes;
use crate::http::routes::{self, Public};
use crate::http::streams::LocalStreams;
use crate::lifecycle::{Admission, Drain};
use crate::metrics::Metrics;

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
    announce(&config, &listeners)?;
    let health = Health::new(&config.health);
    let workers = settings::workers(&config);
    let broker = settings::broker(&config).map_err(RunError::Settings)?;
    let (broker, ports, thread) = crate::broker::run::start(broker, workers, &metrics)?;
    let admission = Admission::new(settings::connections(&config));
    metrics
        .connections
        .limit
        .set(i64::try_from(admission.limit()).unwrap_or(i64::MAX));
    let (drain, draining) = watch::channel(None);
    let seats = Arc::new(WorkerSeats {
        ports: Mutex::new(ports),
        broker: broker.clone(),
        admission: admission.clone(),
        metrics: metrics.clone(),
        draining,
        cuts: web::Data::new(Cuts::new(settings::streams(&config).node)),
        page: web::Data::new(settings::page(&config, listeners.public.local_addr()?)),
    });
    let public = public_server(&config, listeners.public, workers, &health, seats)?;
    let admin = admin_server(listeners.admin, &health, &metrics)?;
    let node = Node {
        handles: [public.handle(), admin.handle()],
        health,
        metrics,
        admission,
        drain,
        _broker: thread,
    };
    let mut running = std::pin::pin!(async { tokio::try_join!(public, admin).map(|_| ()) });
    let outcome = tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = node.follow(&broker) => Err(RunError::BrokerEnded),
        () = shutdown => Ok(()),
    };
    tokio::join!(node.leave(&config), &mut running).1?;
    outcome
}

/// Says where the node listens, and loudly what must not be in production.
fn announce(config: &Config, listeners: &Listeners) -> std::io::Result<()> {
    let public = listeners.public.local_addr()?;
    let admin = listeners.admin.local_addr()?;
    tracing::info!(%public, %admin, "listening");
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
    cuts: web::Data<Cuts>,
    page: web::Data<page::Index>,
}

impl WorkerSeats {
    /// The streams of the calling worker thread; `None` when every worker has its own.
    fn take(&self, config: &Config) -> Option<LocalStreams> {
        let port = self
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()?;
        Some(LocalStreams::start(
            port,
            self.broker.clone(),
            settings::streams(config),
            self.admission.clone(),
            (self.metrics.connections.clone(), self.metrics.hub.clone()),
            self.draining.clone(),
            self.cuts.orders(),
        ))
    }
}

fn public_server(
    config: &Config,
    listener: TcpListener,
    workers: usize,
    health: &Health,
    seats: Arc<WorkerSeats>,
) -> Result<Server, RunError> {
    let authenticator = Authenticator::from_config(&config.auth)
        .map_err(|key| RunError::Settings(format!("{key} is missing")))?;
    let public = web::Data::new(Public {
        authenticator,
        carriers: settings::carriers(config),
        broker: seats.broker.clone(),
        health: health.clone(),
        limits: settings::public(config),
        batches: Semaphore::new(config.limits.batches_at_once),
        http: seats.metrics.http.clone(),
        connections: seats.metrics.connections.clone(),
        resets_told: seats.metrics.hub.resets_told.clone(),
    });
    let cors = web::Data::new(Cors::new(&config.http.cors_origins, config.dev));
    let options = settings::sockets(config);
    let per_worker = settings::sockets_per_worker(seats.admission.limit(), workers);
    let http = config.http.clone();
    let config = config.clone();
    let server = HttpServer::new(move || {
        let streams = seats.take(&config);
        let dev = config.dev;
        App::new()
            .app_data(public.clone())
            .app_data(cors.clone())
            .configure(|app| {
                if let Some(streams) = streams {
                    app.app_data(web::Data::new(streams));
                }
                if dev {
                    app.app_data(seats.cuts.clone())
                        .app_data(seats.page.clone());
                }
                routes::add(app, dev);
            })
            .wrap(from_fn(cors::layer))
            .wrap(from_fn(framing::layer))
    });
    Ok(server
        .workers(workers)
        .max_connections(per_worker)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS)
        // A client that has closed its half is gone; otherwise nobody notices before the next event.
        .h1_allow_half_closed(false)
        .keep_alive(http.keep_alive)
        .client_request_timeout(http.head_timeout)
        .on_connect(move |io, data| peer::accept(io, data, options))
        .listen_auto_h2c(listener)?
        .run())
}

fn admin_server(
    listener: TcpListener,
    health: &Health,
    metrics: &Metrics,
) -> Result<Server, RunError> {
    let probes = Probes::new(health.clone(), metrics.clone());
    let server = HttpServer::new(move || App::new().configure(|app| probes.routes(app)));
    let server = server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS);
    Ok(server.listen(listener)?.run())
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
    /// Tells health what the broker says about its connection, for as long as there is a broker.
    async fn follow(&self, broker: &Broker) {
        let mut connected = broker.connected();
        loop {
            if *connected.borrow_and_update() {
                self.health.broker_connected();
            } else {
                self.health.broker_away();
            }
            if connected.changed().await.is_err() {
                return;
            }
        }
    }

    /// Readiness falls first; streams end spread over the window; then the listeners close.
    async fn leave(&self, config: &Config) {
        let Drain { lead, window } = settings::drain(config);
        tracing::info!(?lead, ?window, streams = self.admission.open(), "draining");
        self.health.drain();
        self.metrics.draining.set(1);
        self.drain.send_replace(Some(Drain { lead, window }));
        let until = Instant::now() + lead + window + Duration::from_secs(1);
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

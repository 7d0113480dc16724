//! `sluice-gateway`: configuration, logging, listeners, run, exit code.

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser;
use sluice_gateway::config::{
    Args, Config, ConfigError, LogConfig, LogFormat, process_environment,
};
use sluice_gateway::descriptors;
use sluice_gateway::healthcheck;
use sluice_gateway::server::{self, Listeners};
use socket2::SockRef;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Connections that may wait to be accepted; the kernel has a limit of its own (`net.core.somaxconn`). With the 128 of the
/// standard library, of clients that all come back at once some believe for ever that they are connected.
const BACKLOG: i32 = 4_096;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.healthcheck {
        return healthcheck(&args);
    }
    let config = match Config::load(&args, process_environment()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("sluice-gateway: {error}");
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
    };
    if args.print_config {
        return print(&config);
    }
    // Nothing is bound before the files that settings name are proved.
    if let Err(complaint) = server::check(&config) {
        eprintln!("sluice-gateway: {complaint}");
        return ExitCode::from(ConfigError::EXIT_CODE);
    }
    if args.check_config {
        println!("ok");
        return ExitCode::SUCCESS;
    }
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the node that runs already: for images that hold nothing but this binary.
fn healthcheck(args: &Args) -> ExitCode {
    let asked = Config::admin_bind(args, process_environment())
        .map_err(|error| error.to_string())
        .and_then(|bind| healthcheck::ask(bind).map_err(|error| error.to_string()));
    match asked {
        Ok(()) => {
            println!("alive");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sluice-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(config: &Config) -> ExitCode {
    match config.to_toml() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sluice-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    log(&config.log)?;
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit of file descriptors could not be raised");
    }
    let listeners = Listeners {
        public: bind(config.http.bind, "http.bind")?,
        admin: bind(config.admin.bind, "admin.bind")?,
    };
    let system = actix_web::rt::System::new();
    system.block_on(async {
        let shutdown = termination()?;
        server::run(config, listeners, shutdown).await?;
        Ok(())
    })
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok(listener)
    });
    listener.map_err(|error| anyhow::anyhow!("{key}: {address} cannot be bound: {error}"))
}

/// SIGTERM or SIGINT.
fn termination() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What reads requests byte by byte, and quotes what it cannot take: a header's value may be a token. Their own words help
/// nobody who runs a gateway, so the filter cannot ask for them.
const READS_REQUESTS: [&str; 5] = ["actix_http", "actix_web", "actix_router", "h2", "rustls"];

fn log(config: &LogConfig) -> anyhow::Result<()> {
    let wanted = EnvFilter::try_new(&config.filter)?;
    // No more than is wanted, or each line that is not would be looked up: the most of both filters counts.
    let most = wanted.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let heard = Targets::new()
        .with_default(most)
        .with_targets(READS_REQUESTS.map(|target| (target, most.min(LevelFilter::INFO))));
    let log = tracing_subscriber::registry().with(wanted).with(heard);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.format {
        LogFormat::Human => log.with(lines).try_init()?,
        // Flat: no field is to be looked for in another.
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.with_current_span(false).with_span_list(false);
            log.with(lines).try_init()?;
        }
    }
    Ok(())
}

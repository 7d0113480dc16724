//! `sluice-gateway`: configuration, logging, listeners, run, exit code.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser;
use sluice_gateway::auth::Authenticator;
use sluice_gateway::config::{
    Args, Config, ConfigError, LogConfig, LogFormat, process_environment,
};
use sluice_gateway::server::{self, Listeners, tls};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
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
    if let Err(error) = tls::check(&config.tls) {
        eprintln!("sluice-gateway: {error}");
        return ExitCode::from(ConfigError::EXIT_CODE);
    }
    // Nothing is bound before the keys are proved.
    if let Err(error) = Authenticator::from_config(&config.auth) {
        eprintln!("sluice-gateway: {error}");
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
    TcpListener::bind(address)
        .map_err(|error| anyhow::anyhow!("{key}: {address} cannot be bound: {error}"))
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

fn log(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

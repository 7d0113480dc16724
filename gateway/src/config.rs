//! Settings: embedded defaults, then the file, the environment and the flags, validated into [`Config`] before
//! anything starts. The only reader of the process environment; no other module may look there.

mod checks;
mod findings;
mod forms;
mod kinds;
mod layers;
mod network;
pub(crate) mod origin;
mod sections;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use kinds::{RedisUrl, Secret, Size};
pub use network::Network;
pub use sections::{
    AdminConfig, AuthConfig, AuthMode, BrokerConfig, BrokerMode, CanaryConfig, DrainConfig,
    ForwardedHeader, Functions, HealthConfig, HistoryConfig, HttpConfig, JwtAlgorithm, JwtConfig,
    LimitsConfig, LogConfig, LogFormat, NodeConfig, PollConfig, RedisConfig, RedisMode, SameSite,
    SessionConfig, StreamConfig, SubjectPolicy, TicketsConfig, TlsConfig,
};

use layers::{Layer, Reference};

/// The reference: every key with its default and meaning.
pub const REFERENCE: &str = include_str!("defaults.toml");

/// The command line.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(
    name = "sluice-gateway",
    version = crate::version::LINE.as_str(),
    about = "Streams events from Redis to browsers as Server-Sent Events"
)]
pub struct Args {
    /// Try Sluice: anonymous access, a demo page at `/`, and an in-process broker when no Redis is set
    #[arg(long)]
    pub dev: bool,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the settings, print `ok` and leave
    #[arg(long)]
    pub check_config: bool,
    /// Print the settings in effect as TOML, without secrets, and leave
    #[arg(long)]
    pub print_config: bool,
    /// Ask the node at the configured admin address whether it lives, and leave: 0 when it does, else 1
    #[arg(long)]
    pub healthcheck: bool,
}

/// The whole validated configuration. Only the composition root sees it; components get their section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `--dev` was given.
    #[serde(skip)]
    pub dev: bool,
    pub node: NodeConfig,
    pub http: HttpConfig,
    pub tls: TlsConfig,
    pub admin: AdminConfig,
    pub broker: BrokerConfig,
    pub redis: RedisConfig,
    pub auth: AuthConfig,
    pub session: SessionConfig,
    pub tickets: TicketsConfig,
    pub history: HistoryConfig,
    pub stream: StreamConfig,
    pub poll: PollConfig,
    pub limits: LimitsConfig,
    pub canary: CanaryConfig,
    pub drain: DrainConfig,
    pub health: HealthConfig,
    pub log: LogConfig,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be used at all.
    #[error("configuration file {path}: {why}")]
    File { path: String, why: String },
    /// Keys or values that are wrong, all of them.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The embedded reference does not fit the program: a defect of Sluice.
    #[error("the built-in defaults are broken, please report this: {0}")]
    Defect(String),
}

impl ConfigError {
    /// The exit code of a start that fails on its configuration (EX_USAGE of sysexits.h).
    pub const EXIT_CODE: u8 = 64;

    fn defect(error: &dyn fmt::Display) -> ConfigError {
        ConfigError::Defect(error.to_string())
    }
}

/// One wrong key or value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Dotted, such as `http.bind`.
    pub key: String,
    /// The variable or file that gave it; empty for a default.
    pub from: String,
    /// What is wrong and what is accepted.
    pub complaint: String,
}

impl Problem {
    fn new(key: &str, from: &str, complaint: String) -> Problem {
        Problem {
            key: key.to_owned(),
            from: from.to_owned(),
            complaint,
        }
    }

    /// The environment variable of this key.
    pub fn variable(&self) -> String {
        format!(
            "{}{}",
            layers::ENV_PREFIX,
            self.key.to_uppercase().replace('.', "__")
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            key,
            from,
            complaint,
        } = self;
        let variable = self.variable();
        write!(f, "{key} ({variable}")?;
        if !from.is_empty() && *from != variable {
            write!(f, ", set by {from}")?;
        }
        write!(f, "): {complaint}")
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect();
    let noun = if problems.len() == 1 {
        "problem"
    } else {
        "problems"
    };
    format!(
        "{} {noun} in the configuration:{}",
        problems.len(),
        lines.concat()
    )
}

/// The environment of this process, for [`Config::load`].
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that the lint points to"
)]
pub fn process_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

impl Config {
    /// Loads and validates: reference, what `--dev` implies, file, environment.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem found, each naming its key.
    pub fn load<N: Into<OsString>, V: Into<OsString>>(
        args: &Args,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Config, ConfigError> {
        let reference = Reference::parse()?;
        let mut problems = Vec::new();
        let file = match &args.config {
            Some(path) => layers::file(path, &reference, &mut problems)?,
            None => Layer::default(),
        };
        let variables = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let environment = layers::environment(variables, &reference, &mut problems);
        let mut layers = Layers {
            dev: dev_layer(args.dev, &file, &environment),
            file,
            environment,
        };

        let mut config = layers.resolve(&reference, &mut problems)?;
        config.dev = args.dev;
        let told: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        for (key, complaint) in checks::check(&config).wrong {
            // A value already refused was replaced by its default: what follows from that is noise.
            if !told.iter().any(|told| told == key) {
                problems.push(Problem::new(key, layers.origin(key), complaint));
            }
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// The admin listener's address alone, by the same layers as [`Config::load`]: for asking a node that runs already.
    /// Whatever else is wrong in them is not looked at.
    ///
    /// # Errors
    /// [`ConfigError`] where the address cannot be told.
    pub fn admin_bind<N: Into<OsString>, V: Into<OsString>>(
        args: &Args,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<SocketAddr, ConfigError> {
        const KEY: &str = "admin.bind";
        let reference = Reference::parse()?;
        // Problems of other keys are for the node's own start; one of this key stays a value that cannot be read.
        let mut others = Vec::new();
        let variables = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let environment = layers::environment(variables, &reference, &mut others);
        let mut layers = vec![environment];
        if let Some(path) = args.config.as_ref().filter(|_| !layers[0].sets(KEY)) {
            layers.push(layers::file(path, &reference, &mut others)?);
        }
        let given = layers
            .iter()
            .find_map(|layer| Some((layer.value(KEY)?, layer.origin(KEY)?)));
        let wrong = others.into_iter().find(|problem| problem.key == KEY);
        if let Some(problem) = wrong {
            return Err(ConfigError::Invalid(vec![problem]));
        }
        let (value, from) = given
            .or_else(|| Some((reference.keys().get(KEY)?, "")))
            .ok_or_else(|| ConfigError::Defect(format!("no {KEY}")))?;
        let text = value.as_str().unwrap_or_default().trim();
        text.parse().map_err(|error: AddrParseError| {
            ConfigError::Invalid(vec![Problem::new(KEY, from, error.to_string())])
        })
    }

    /// The settings in effect, as TOML, secrets redacted: what `--print-config` prints.
    ///
    /// # Errors
    /// Only a defect of Sluice.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::defect(&error))
    }
}

/// What `--dev` changes among the defaults.
fn dev_layer(dev: bool, file: &Layer, environment: &Layer) -> Layer {
    let mut layer = Layer::default();
    if dev {
        layer.set("auth.mode", AuthMode::Anonymous.as_str(), "--dev");
        if !file.sets("redis.url") && !environment.sets("redis.url") {
            layer.set("broker.mode", BrokerMode::Embedded.as_str(), "--dev");
        }
    }
    layer
}

/// The layers above the reference, lowest first.
struct Layers {
    dev: Layer,
    file: Layer,
    environment: Layer,
}

impl Layers {
    fn origin(&self, key: &str) -> &str {
        let given = [&self.environment, &self.file, &self.dev]
            .into_iter()
            .find_map(|layer| layer.origin(key));
        given.unwrap_or_default()
    }

    /// Merges the layers and reads them into a `Config`. A value that cannot be read is told and left out, and
    /// the rest is read again, so that one start tells every problem.
    fn resolve(
        &mut self,
        reference: &Reference,
        problems: &mut Vec<Problem>,
    ) -> Result<Config, ConfigError> {
        // One round per key at most, since each failing round removes one value.
        for _ in 0..=reference.keys().len() {
            let error = match self.merge()?.try_deserialize::<Config>() {
                Ok(config) => return Ok(config),
                Err(error) => error,
            };
            let Some((key, complaint)) = key_of(&error) else {
                return Err(ConfigError::defect(&error));
            };
            problems.push(Problem::new(&key, self.origin(&key), complaint));
            self.environment.forget(&key);
            self.file.forget(&key);
            match stand_in(&key) {
                Some(value) => self.dev.set(&key, value, ""),
                None => self.dev.forget(&key),
            }
        }
        Err(ConfigError::Defect(
            "a default does not fit its own kind".to_owned(),
        ))
    }

    fn merge(&self) -> Result<config::Config, ConfigError> {
        let defect = |error: config::ConfigError| ConfigError::defect(&error);
        let reference = config::File::from_str(REFERENCE, config::FileFormat::Toml);
        let mut builder = config::Config::builder().add_source(reference);
        for layer in [&self.dev, &self.file, &self.environment] {
            for (key, value) in layer.iter() {
                let value = config::Value::new(None, kind(value));
                builder = builder.set_override(key, value).map_err(defect)?;
            }
        }
        builder.build().map_err(defect)
    }
}

/// The one default that is refused on purpose, and what to go on with while looking for further problems.
fn stand_in(key: &str) -> Option<&'static str> {
    (key == "auth.mode").then_some(AuthMode::Anonymous.as_str())
}

fn kind(value: &toml::Value) -> config::ValueKind {
    match value {
        toml::Value::Integer(number) => config::ValueKind::I64(*number),
        toml::Value::Array(items) => config::ValueKind::Array(
            items
                .iter()
                .map(|item| config::Value::new(None, kind(item)))
                .collect(),
        ),
        toml::Value::String(text) => config::ValueKind::String(text.clone()),
        toml::Value::Boolean(truth) => config::ValueKind::Boolean(*truth),
        // The layers keep no other kind; as text these fail with a message.
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
            config::ValueKind::String(value.to_string())
        }
    }
}

/// The dotted key that an error of the `config` crate is about, and its message without the key.
fn key_of(error: &config::ConfigError) -> Option<(String, String)> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum that is non-exhaustive"
    )]
    let (key, complaint) = match error {
        config::ConfigError::At {
            key: Some(key),
            error,
            ..
        } => (key.clone(), error.to_string()),
        config::ConfigError::Type {
            key: Some(key),
            unexpected,
            expected,
            ..
        } => (key.clone(), format!("{unexpected} is not {expected}")),
        _ => return None,
    };
    let key = key.split('[').next().unwrap_or_default().to_owned();
    Some((key, complaint))
}

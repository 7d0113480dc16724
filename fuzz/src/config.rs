//! Configuration: a TOML file and an environment. Input: the file, then variables such as `HTTP__BIND=127.0.0.1:0` without
//! their prefix, parted by NUL.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use sluice_gateway::config::{Args, Config, ConfigError};

/// Stands in for every secret.
const CANARY: &str = "canary-0123456789abcdef-0123456789abcdef";

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("sluice-fuzz-{}.toml", std::process::id())));

/// A secret shows up in no message and in no print of the settings; what is printed loads again to the same print; whatever
/// is refused is told with its key.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let toml = parts.next().unwrap_or_default();
    let mut variables: Vec<(OsString, OsString)> = parts.filter_map(variable).collect();
    // A canary given elsewhere would rightly be shown.
    if bytes.windows(7).any(|word| word == b"canary-") {
        return;
    }
    for name in ["ADMIN__TOKEN", "AUTH__JWT__SECRET"] {
        variables.push((format!("SLUICE__{name}").into(), CANARY.into()));
    }
    match load(toml, variables.clone()) {
        Ok(config) => {
            let printed = config.to_toml().expect("settings are always printed");
            assert!(!printed.contains(CANARY), "a secret is printed");
            let text = format!("{config:?}");
            assert!(!text.contains(CANARY), "a secret is in the debug text");
            let again = load(toml, variables).expect("the same again");
            assert_eq!(again.to_toml().expect("printed"), printed);
        }
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.complaint.is_empty());
                assert!(!problem.to_string().contains(CANARY), "a secret is told");
                assert!(problem.variable().starts_with("SLUICE__"));
            }
        }
        Err(error @ ConfigError::File { .. }) => {
            assert!(!error.to_string().contains(CANARY), "a secret is told");
        }
        Err(ConfigError::Defect(why)) => panic!("{why}"),
    }
}

fn variable(part: &[u8]) -> Option<(OsString, OsString)> {
    let at = part.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&part[..at], &part[at + 1..]);
    let name = std::ffi::OsStr::from_bytes(name);
    let mut variable = OsString::from("SLUICE__");
    variable.push(name);
    Some((variable, std::ffi::OsStr::from_bytes(value).to_owned()))
}

fn load(toml: &[u8], variables: Vec<(OsString, OsString)>) -> Result<Config, ConfigError> {
    fs::write(&*FILE, toml).expect("a file to read from");
    let args = Args {
        config: Some(FILE.clone()),
        ..Args::default()
    };
    Config::load(&args, variables)
}

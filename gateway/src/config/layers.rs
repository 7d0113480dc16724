//! The layers below a validated configuration: the reference, the file, the environment. Owns finding misspelt
//! keys and saying where a value came from; refuses nothing about the values themselves but their shape.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, Problem, REFERENCE};

/// What the name of every environment variable begins with.
pub const ENV_PREFIX: &str = "SLUICE__";
/// Largest configuration file.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The reference, parsed: the tree of accepted keys with their defaults.
pub struct Reference {
    table: Table,
    keys: BTreeMap<String, Value>,
}

impl Reference {
    /// Parses the embedded reference.
    pub fn parse() -> Result<Reference, ConfigError> {
        let table: Table = REFERENCE
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::defect(&error))?;
        let mut keys = BTreeMap::new();
        flatten("", &table, &mut keys);
        Ok(Reference { table, keys })
    }

    /// Every dotted key with its default.
    pub fn keys(&self) -> &BTreeMap<String, Value> {
        &self.keys
    }

    /// The complaint about a key that does not exist: the nearest one, and those accepted beside it.
    fn unknown(&self, key: &str) -> String {
        let (section, table) = self.nearest_section(key);
        let accepted: Vec<&str> = table.keys().map(String::as_str).collect();
        let place = if section.is_empty() {
            "sections".to_owned()
        } else {
            format!("keys of [{section}]")
        };
        let suggestion = self
            .nearest(key)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!(
            "there is no such key{suggestion} Accepted {place}: {}",
            accepted.join(", ")
        )
    }

    /// The deepest section of `key` that exists.
    fn nearest_section<'a>(&'a self, key: &str) -> (String, &'a Table) {
        let mut table = &self.table;
        let mut path: Vec<&str> = Vec::new();
        for part in key.split('.') {
            let Some(Value::Table(inner)) = table.get(part) else {
                break;
            };
            table = inner;
            path.push(part);
        }
        (path.join("."), table)
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        const FARTHEST: usize = 3;
        let distance = |known: &str| strsim::damerau_levenshtein(known, key);
        let best = self
            .keys
            .keys()
            .map(|known| (distance(known), known.as_str()))
            .min()?;
        (best.0 <= FARTHEST).then_some(best.1)
    }

    /// Takes one given value: kept if the key exists and the value's shape fits, else told.
    fn accept(
        &self,
        key: &str,
        value: Value,
        from: &str,
        layer: &mut Layer,
        problems: &mut Vec<Problem>,
    ) {
        let complaint = match self.keys.get(key) {
            Some(default) => shape_complaint(default, &value),
            None if self.nearest_section(key).0 == key => {
                Some("is a section, not a value".to_owned())
            }
            None => Some(self.unknown(key)),
        };
        match complaint {
            Some(complaint) => problems.push(Problem::new(key, from, complaint)),
            None => {
                layer
                    .values
                    .insert(key.to_owned(), (value, from.to_owned()));
            }
        }
    }
}

fn shape_complaint(default: &Value, given: &Value) -> Option<String> {
    let fits = match default {
        Value::String(_) => matches!(given, Value::String(_) | Value::Integer(_)),
        Value::Integer(_) => {
            matches!(given, Value::Integer(_))
                || given
                    .as_str()
                    .is_some_and(|text| text.trim().parse::<i64>().is_ok())
        }
        Value::Array(_) => {
            given.is_str()
                || given
                    .as_array()
                    .is_some_and(|items| items.iter().all(Value::is_str))
        }
        Value::Boolean(_) => {
            given.is_bool() || matches!(given.as_str().map(str::trim), Some("true" | "false"))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => false,
    };
    let expected = match default {
        Value::Array(_) => "a list of texts",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => "a text",
    };
    // The value itself is not repeated: it may be a secret put in the wrong place.
    (!fits).then(|| format!("must be {expected}"))
}

fn flatten(section: &str, table: &Table, out: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if section.is_empty() {
            name.clone()
        } else {
            format!("{section}.{name}")
        };
        match value {
            Value::Table(inner) => flatten(&key, inner, out),
            Value::String(_)
            | Value::Integer(_)
            | Value::Array(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {
                out.insert(key, value.clone());
            }
        }
    }
}

/// One layer: accepted keys, their values, and where each came from.
#[derive(Default)]
pub struct Layer {
    values: BTreeMap<String, (Value, String)>,
}

impl Layer {
    /// Whether this layer gives the key a value that is not the empty text.
    pub fn sets(&self, key: &str) -> bool {
        self.values
            .get(key)
            .is_some_and(|(value, _)| value.as_str() != Some(""))
    }

    /// The key's value, if this layer has one that is not the empty text.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let (value, _) = self.values.get(key)?;
        (value.as_str() != Some("")).then_some(value)
    }

    /// Where the key's value came from, if this layer has one.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|(_, from)| from.as_str())
    }

    /// Leaves the key to the layers below.
    pub fn forget(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// Sets the key, as a layer that the gateway itself makes does.
    pub fn set(&mut self, key: &str, value: &str, from: &str) {
        self.values.insert(
            key.to_owned(),
            (Value::String(value.to_owned()), from.to_owned()),
        );
    }

    /// The keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values
            .iter()
            .map(|(key, (value, _))| (key.as_str(), value))
    }
}

/// Reads the configuration file.
///
/// # Errors
/// A file that cannot be read or is not TOML; the message names line and column but repeats no text of the file.
pub fn file(
    path: &Path,
    reference: &Reference,
    problems: &mut Vec<Problem>,
) -> Result<Layer, ConfigError> {
    let unreadable = |why: String| ConfigError::File {
        path: path.display().to_string(),
        why,
    };
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > FILE_MAX_BYTES {
        return Err(unreadable(format!("is larger than {FILE_MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| unreadable(place(&text, &error)))?;
    let mut given = BTreeMap::new();
    flatten("", &table, &mut given);
    let mut layer = Layer::default();
    let from = path.display().to_string();
    for (key, value) in given {
        reference.accept(&key, value, &from, &mut layer, problems);
    }
    Ok(layer)
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    format!("line {line}, column {column}: {}", error.message())
}

/// Reads the environment: the variables that begin with `SLUICE__`.
pub fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    reference: &Reference,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let key = rest.to_lowercase().replace("__", ".");
        match value.into_string() {
            Ok(text) => reference.accept(&key, Value::String(text), &name, &mut layer, problems),
            Err(_) => problems.push(Problem::new(&key, &name, "is not UTF-8".to_owned())),
        }
    }
    layer
}

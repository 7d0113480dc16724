//! The kinds of value that settings have: sizes, durations, secrets, closed choices, and how each is read and
//! printed. A value prints as it may be written, except a secret, which prints as `[redacted]`.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a secret looks like wherever it could be printed.
pub const REDACTED: &str = "[redacted]";

/// Prints a bound or a value the way it is written in the configuration.
pub trait Humane {
    /// The shortest exact text, such as `15s` or `64KiB`.
    fn humane(&self) -> String;
}

/// A number of bytes, written `65536`, `64KiB` or `1MB`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Size(u64);

impl Size {
    /// Takes a number of bytes.
    pub const fn bytes(count: u64) -> Size {
        Size(count)
    }

    /// Takes a number of KiB (1024 bytes).
    pub const fn kib(count: u64) -> Size {
        Size(count * 1024)
    }

    /// Takes a number of MiB.
    pub const fn mib(count: u64) -> Size {
        Size::kib(count * 1024)
    }

    /// The number of bytes. Every size in the configuration is bounded far below the address space.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        bytesize::ByteSize::from_str(text)
            .map(|size| Size(size.as_u64()))
            .map_err(|_| format!("`{text}` is not a size; write for example 65536, 64KiB or 1MiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = UNITS
            .iter()
            .find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match exact {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Humane for Size {
    fn humane(&self) -> String {
        self.to_string()
    }
}

impl Humane for Duration {
    fn humane(&self) -> String {
        const UNITS: [(u128, &str); 5] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ];
        let ms = self.as_millis();
        if ms == 0 || !self.subsec_nanos().is_multiple_of(1_000_000) {
            return humantime::format_duration(*self).to_string();
        }
        let exact = UNITS.iter().find(|(unit, _)| ms.is_multiple_of(*unit));
        exact.map_or_else(String::new, |(unit, name)| format!("{}{name}", ms / unit))
    }
}

impl Humane for u32 {
    fn humane(&self) -> String {
        self.to_string()
    }
}

impl Humane for usize {
    fn humane(&self) -> String {
        self.to_string()
    }
}

/// A text that must not be seen: it prints as `[redacted]` in every format.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// The address of Redis. User and password print as `[redacted]`.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The whole address, password included. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it asks for TLS.
    pub fn has_tls(&self) -> bool {
        self.0.starts_with("rediss://")
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    // The text may hold a password, so no message repeats it.
    fn from_str(text: &str) -> Result<RedisUrl, String> {
        let shape = "write redis://[user:password@]host[:port][/db], or rediss:// for TLS";
        if !text.starts_with("redis://") && !text.starts_with("rediss://") {
            return Err(format!(
                "does not begin with redis:// or rediss://; {shape}"
            ));
        }
        if text.contains(',') {
            return Err("several nodes need redis.mode sentinel or cluster, not available yet in this version".to_owned());
        }
        let url = url::Url::parse(text).map_err(|error| format!("{error}; {shape}"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("names no host; {shape}"));
        }
        if url.fragment().is_some() || url.query().is_some() {
            return Err(format!(
                "has a query or a fragment, and certificates are always verified (see redis.ca_file); {shape}"
            ));
        }
        let db = url.path().trim_matches('/');
        if !db.is_empty() && db.parse::<u16>().is_err() {
            return Err(format!(
                "the part after the host must be a database number; {shape}"
            ));
        }
        Ok(RedisUrl(text.to_owned()))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.has_tls() { "rediss" } else { "redis" };
        match self.0.rsplit_once('@') {
            Some((_, place)) => write!(f, "{scheme}://{REDACTED}@{place}"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Defines an enum whose variants are the accepted texts of a setting.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The accepted texts.
            pub const ACCEPTED: &'static [&'static str] = &[$($text),+];

            /// The text of this choice.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                match text {
                    $($text => Ok($name::$variant),)+
                    "" => Err(format!("must be set to one of: {}", $name::ACCEPTED.join(", "))),
                    other => Err(format!("`{other}` is not accepted; use one of: {}", $name::ACCEPTED.join(", "))),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use choice;

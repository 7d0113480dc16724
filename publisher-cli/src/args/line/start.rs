//! Where the events of `sluice tail` and `sluice history` begin, as written.

use std::num::NonZeroU64;

use clap::Args;

use crate::args::start::Since;

/// The most events `--last` asks for.
const LAST_MOST: u32 = 10_000;

#[derive(Args)]
#[group(multiple = false)]
pub struct StartLine {
    /// Begin after this cursor: a position, or an id that the gateway gave
    #[arg(long, value_name = "CURSOR")]
    pub from: Option<String>,
    /// Begin with the events of this time, such as 5m, or since then, such as 2025-11-20T22:00:00Z
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<Since>,
    /// Begin with this many of the latest events of each channel
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(LAST_MOST)))]
    pub last: Option<u32>,
}

/// The value of `--count` and `--limit`.
pub fn count(text: &str) -> Result<NonZeroU64, String> {
    text.parse()
        .map_err(|_| "give a whole number from 1 on".into())
}

//! Where the events of a command begin: at a cursor, at a time, or so many before the last.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_wire::Cursor;

use super::line::StartLine;
use crate::failure::Failure;

/// Where a command's events begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// Where it does by itself: a tail with the next event, a history with the oldest.
    Default,
    From {
        text: String,
        cursor: Cursor,
    },
    Since(Since),
    Last(u32),
}

/// A moment, as `--since` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long before now, by the server's clock.
    Ago(Duration),
    /// Milliseconds since the Unix epoch.
    At(u64),
}

impl Since {
    /// The last moment of the year 9999, beyond which no timestamp can be written.
    const LATEST_MS: u64 = 253_402_300_799_999;

    /// In milliseconds since the Unix epoch, when the server's clock shows `now_ms`.
    pub fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Since::Ago(age) => {
                now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            }
            Since::At(ms) => ms,
        }
    }

    /// As the gateway's parameter `since`.
    pub fn parameter(self) -> String {
        match self {
            Since::Ago(age) if age.subsec_millis() == 0 => format!("PT{}S", age.as_secs()),
            Since::Ago(age) => format!("PT{}.{:03}S", age.as_secs(), age.subsec_millis()),
            Since::At(ms) => {
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
            }
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(age) = humantime::parse_duration(text) {
            return Ok(Since::Ago(age));
        }
        let ms = timestamp(text)
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_millis()).ok())
            .filter(|ms| *ms <= Since::LATEST_MS);
        ms.map(Since::At).ok_or_else(|| {
            "give an age such as 5m or 1h30m, or a time such as 2025-11-20T22:00:00Z or 2025-11-21T05:00:00+07:00"
                .into()
        })
    }
}

/// RFC 3339, with `Z` or an offset.
pub(super) fn timestamp(text: &str) -> Option<SystemTime> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some(time);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |digits: &str, below: u64| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|number| is_number && *number < below)
    };
    let offset_by = Duration::from_secs(number(hours, 24)? * 3600 + number(minutes, 60)? * 60);
    match offset.as_bytes().first()? {
        b'+' => local.checked_sub(offset_by),
        b'-' => local.checked_add(offset_by),
        _ => None,
    }
}

/// # Errors
/// A text of `--from` that is no cursor.
pub fn start(line: StartLine) -> Result<Start, Failure> {
    if let Some(text) = line.from {
        let cursor = Cursor::parse(&text).map_err(|error| {
            Failure::usage(
                format!("--from: {error}"),
                "a position as `sluice publish` prints it, or the id of an event as the gateway sent it",
            )
        })?;
        return Ok(Start::From { text, cursor });
    }
    Ok(match (line.since, line.last) {
        (Some(since), _) => Start::Since(since),
        (None, Some(count)) => Start::Last(count),
        (None, None) => Start::Default,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    const NOW_MS: u64 = 1_763_676_000_000;

    #[test]
    fn since_is_an_age_or_a_timestamp() {
        for (text, ms, parameter) in [
            ("5m", NOW_MS - 300_000, "PT300S"),
            ("1h 30m", NOW_MS - 5_400_000, "PT5400S"),
            ("1500ms", NOW_MS - 1_500, "PT1.500S"),
            ("90000000y", 0, "PT2840184000000000S"),
            ("2025-11-20T22:00:00Z", NOW_MS, "2025-11-20T22:00:00.000Z"),
            (
                "2025-11-20T22:00:00.25Z",
                NOW_MS + 250,
                "2025-11-20T22:00:00.250Z",
            ),
            (
                "2025-11-21T05:00:00+07:00",
                NOW_MS,
                "2025-11-20T22:00:00.000Z",
            ),
            (
                "2025-11-20T17:00:00-05:00",
                NOW_MS,
                "2025-11-20T22:00:00.000Z",
            ),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(
                (since.unix_ms(NOW_MS), &*since.parameter()),
                (ms, parameter),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_neither_is_refused_whatever_it_is() {
        for text in [
            "",
            "5",
            "yesterday",
            "2025-11-20",
            "2025-11-20T22:00:00",
            "2025-11-20T22:00:00+25:00",
            "2025-11-20T22:00:00+0a:00",
            "2025-11-20T22:00:00++1:00",
            "1970-01-01T00:00:00+07:00",
            "9999-12-31T23:59:59-07:00",
            "2025-11-20T22:00:00*07:00",
            "điều+07:00",
            "đ7:00",
        ] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}

//! Moments as tokens have them, in seconds since 1970, and how far away they are in words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, beyond which no timestamp can be written.
const LATEST: f64 = 253_402_300_799.0;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// Seconds since 1970.
pub fn unix(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// `2025-11-20T22:00:00Z`; nothing for what no calendar has.
pub fn timestamp(seconds: f64) -> Option<String> {
    let is_of_calendar = (0.0..=LATEST).contains(&seconds);
    let since = is_of_calendar.then(|| Duration::try_from_secs_f64(seconds.floor()).ok())??;
    Some(humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string())
}

/// Seconds ago that are still `just now`.
const JUST_NOW: f64 = 5.0;

/// `in 12 min`, `3 min ago` or `just now`, seen from `now`.
pub fn distance(seconds: f64, now: f64) -> String {
    let away = (seconds - now).abs();
    if seconds > now {
        format!("in {}", size(away))
    } else if away < JUST_NOW {
        "just now".into()
    } else {
        format!("{} ago", size(away))
    }
}

/// So many seconds in the unit that suits them: no more than two or three digits.
fn size(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{:.0} s", seconds.round())
    } else if seconds < 100.0 * MINUTE {
        format!("{:.0} min", (seconds / MINUTE).round())
    } else if seconds < 2.0 * DAY {
        format!("{:.0} h", (seconds / HOUR).round())
    } else {
        format!("{:.0} days", (seconds / DAY).round())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn moments_are_told_in_words() {
        let now = 1_763_676_000.0;
        for (away, words) in [
            (0.4, "in 0 s"),
            (-0.4, "just now"),
            (-7.0, "7 s ago"),
            (59.0, "in 59 s"),
            (720.0, "in 12 min"),
            (898.6, "in 15 min"),
            (-180.0, "3 min ago"),
            (86_400.0, "in 24 h"),
            (-90_000.0, "25 h ago"),
            (864_000.0, "in 10 days"),
        ] {
            assert_eq!(distance(now + away, now), words, "{away}");
        }
        assert_eq!(timestamp(now).unwrap(), "2025-11-20T22:00:00Z");
        assert_eq!(timestamp(LATEST).unwrap(), "9999-12-31T23:59:59Z");
        for seconds in [-1.0, LATEST + 1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(timestamp(seconds), None, "{seconds}");
        }
    }
}

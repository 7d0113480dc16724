//! `--rate`: how many events may go out now.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// After a pause of the input, at most this much of the rate is made up for at once.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Events per time, as written on the command line: `100`, `100/s`, `6000/m`, `10/h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    interval: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let period = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err("say how many per `s`, `m` or `h`, such as 100/s".into()),
        };
        match count.parse::<u32>() {
            Ok(count @ 1..=1_000_000) => Ok(Rate {
                interval: period / count,
            }),
            Ok(_) | Err(_) => {
                Err("give a whole number from 1 to 1000000, such as 100 or 100/s".into())
            }
        }
    }
}

/// Spreads events evenly over time.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// Without a rate, nothing ever waits.
    pub fn new(rate: Option<Rate>) -> Pace {
        Pace {
            interval: rate.map_or(Duration::ZERO, |rate| rate.interval),
            next: Instant::now(),
        }
    }

    /// Waits until at least one event is due and says how many are, up to `most`.
    pub async fn due(&mut self, most: usize) -> usize {
        if self.interval.is_zero() {
            return most;
        }
        sleep_until(self.next).await;
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(CATCH_UP) {
            self.next = self.next.max(earliest);
        }
        let late = now.saturating_duration_since(self.next);
        let due = 1 + late.as_nanos() / self.interval.as_nanos();
        usize::try_from(due).unwrap_or(most).min(most)
    }

    /// Notes that `events` went out.
    pub fn spent(&mut self, events: usize) {
        self.next += self
            .interval
            .saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn a_rate_is_read_with_and_without_a_unit() {
        for (text, millis) in [
            ("100", 10),
            ("100/s", 10),
            ("6000/m", 10),
            ("3600/h", 1000),
            ("1", 1000),
        ] {
            assert_eq!(
                text.parse::<Rate>().unwrap().interval,
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in [
            "", "0", "-1", "fast", "1/d", "1/", "1.5", "1000001", "9/s/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_burst_after_a_pause_is_bounded() {
        let mut pace = Pace::new(Some("1000/s".parse().unwrap()));
        pace.next = Instant::now() - Duration::from_secs(60);
        let due = pace.due(1_000_000).await;
        assert!((100..=200).contains(&due), "{due}");
        pace.spent(due);
        assert!(pace.due(1_000_000).await < 100);
    }
}

//! What a backend tells of its own accord: notices for people, and lines of a log.

use std::time::Duration;

use rand::seq::IndexedRandom;
use tokio::time::sleep;

use super::Ended;
use super::contract::{self, Notice};
use super::outbox::Outbox;

/// One notice about this often, one line about this often; each wait is half of it to one and a half.
const NOTICE_EVERY: Duration = Duration::from_secs(6);
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Title, text, level.
const NOTICES: [(&str, &str, &str); 12] = [
    (
        "Order 4711 is packed",
        "It leaves the warehouse this afternoon.",
        "good",
    ),
    (
        "New comment",
        "Mara replied to \u{201c}Where do the events live?\u{201d}",
        "info",
    ),
    ("Backup complete", "38 GB in 12 minutes, checked.", "good"),
    (
        "Disk is filling up",
        "node-7: 81 % used; it was 74 % yesterday.",
        "warn",
    ),
    ("Jonas has joined", "Say hello in #general.", "info"),
    (
        "Invoice 2026-118 is paid",
        "1,240.00 EUR arrived two days early.",
        "good",
    ),
    (
        "Deployment has begun",
        "Version 3.2.0, one node after the other.",
        "info",
    ),
    (
        "Deployment is complete",
        "Version 3.2.0 runs everywhere; no stream lost an event.",
        "good",
    ),
    (
        "Slow answers",
        "The search took 1.8 s for one request in twenty.",
        "warn",
    ),
    (
        "Meeting moved",
        "Review is at 14:30 instead of 14:00.",
        "info",
    ),
    ("Certificate renewed", "Valid for 90 more days.", "good"),
    (
        "Sensor 12 is quiet",
        "Its last reading is six minutes old.",
        "warn",
    ),
];

/// Level, text before a number, the number's range, text after it.
const LINES: [(&str, &str, std::ops::Range<u32>, &str); 12] = [
    ("info", "GET /orders 200 in ", 4..60, " ms"),
    ("info", "POST /orders 201 in ", 9..90, " ms"),
    ("info", "cache: ", 85..99, " % of reads answered"),
    ("info", "queue: ", 0..40, " messages waiting"),
    ("info", "mail sent to customer ", 1000..9999, ""),
    ("info", "order ", 4000..9999, " accepted"),
    ("info", "payment for order ", 4000..9999, " confirmed"),
    ("info", "image ", 100..999, " resized"),
    ("info", "session of user ", 100..9999, " renewed"),
    ("warn", "GET /search took ", 900..2400, " ms"),
    (
        "warn",
        "payment service answered 503: attempt ",
        1..3,
        " of 3",
    ),
    ("info", "index rebuilt, ", 12_000..18_000, " documents"),
];

/// Publishes a notice every few seconds, each of them once before any comes again.
pub async fn notices(outbox: &Outbox) -> Ended {
    let mut at = rand::random_range(0..NOTICES.len());
    loop {
        let (title, text, level) = NOTICES[at];
        outbox.offer(contract::NOTICES, "notice", &Notice { title, text, level })?;
        at = (at + 1) % NOTICES.len();
        sleep(about(NOTICE_EVERY)).await;
    }
}

/// Publishes a line of the log about every second.
pub async fn lines(outbox: &Outbox) -> Ended {
    loop {
        let line = LINES.choose(&mut rand::rng());
        if let Some((level, before, range, after)) = line {
            let number = rand::random_range(range.clone());
            outbox.log(level, &format!("{before}{number}{after}"))?;
        }
        sleep(about(LINE_EVERY)).await;
    }
}

fn about(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.5..1.5))
}

//! Jobs that take a while and tell how far they are. How a job goes is drawn from its id alone, and so are the ids of its
//! events: a backend that takes a job up a second time tells nothing twice.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::contract::{self, Progress};
use super::outbox::Outbox;
use crate::failure::Failure;

/// A job's steps come this far apart.
const STEP: std::ops::Range<u64> = 120..380;

/// What is done, and of how many pieces it is.
const KINDS: [(&str, std::ops::Range<u32>); 6] = [
    ("Export of all orders", 80..160),
    ("Resizing of pictures", 40..90),
    ("Import of a price list", 150..400),
    ("Monthly report", 20..40),
    ("Rebuild of the search index", 200..500),
    ("Check of the backup", 30..60),
];

/// Runs the job of this id to its end.
pub async fn run(outbox: &Outbox, id: &str) -> Result<(), Failure> {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let mut dice = StdRng::seed_from_u64(hasher.finish());
    let (name, range) = KINDS.choose(&mut dice).unwrap_or(&KINDS[0]);
    let of = dice.random_range(range.clone());
    outbox.log("info", &format!("job {id} has begun: {name}"))?;
    let mut done = 0;
    while done < of {
        tell(outbox, "progress", id, name, done, of).await?;
        sleep(Duration::from_millis(dice.random_range(STEP))).await;
        done = of.min(done + dice.random_range(1..=of / 12));
    }
    tell(outbox, "finished", id, name, of, of).await?;
    outbox.log("info", &format!("job {id} is finished"))
}

async fn tell(
    outbox: &Outbox,
    event_type: &str,
    job: &str,
    name: &str,
    done: u32,
    of: u32,
) -> Result<(), Failure> {
    let progress = Progress {
        job,
        name,
        done,
        of,
    };
    outbox
        .send(
            contract::JOBS,
            event_type,
            format!("{job}/{done}"),
            &progress,
        )
        .await
}

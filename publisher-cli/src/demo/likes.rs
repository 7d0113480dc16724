//! The count of likes. Its state is the last event of `demo.likes`: the count is its data, and its event id names the last
//! like that was counted, so that a restart counts on from there, likes given in between included.

use std::time::Duration;

use sluice_wire::Cursor;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::contract::{self, Likes};
use super::outbox::Outbox;
use super::{Ended, asks};
use crate::args::{Since, Start};
use crate::failure::Failure;

/// Likes that come within this time are published as one count.
const TOGETHER: Duration = Duration::from_millis(50);
/// How often the count is said again. It is the same event by its id, so it costs nothing where it is known, and is there
/// again at once on a server that has lost its history.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// The event id of a count to which no like belongs yet.
const NONE_YET: &str = "none-yet";

/// How many likes there are, and the position of the last one counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub after: Option<String>,
}

/// The tally that the last event tells of.
pub fn recall(last: Option<(Likes, Option<String>)>) -> Tally {
    last.map_or_else(Tally::default, |(likes, event_id)| Tally {
        count: likes.count,
        after: event_id.filter(|id| id != NONE_YET),
    })
}

/// Where `demo.ask` is to be followed from: after the last like counted; at first, a moment back.
pub fn begin(tally: &Tally) -> Start {
    let place = tally.after.as_deref().and_then(|text| {
        let cursor = Cursor::parse(text).ok()?;
        Some((text.to_owned(), cursor))
    });
    place.map_or(Start::Since(Since::Ago(asks::FRESH)), |(text, cursor)| {
        Start::From { text, cursor }
    })
}

/// Publishes each new count, and the present one again from time to time.
pub async fn publish(outbox: &Outbox, mut tally: watch::Receiver<Tally>) -> Ended {
    loop {
        let Tally { count, after } = tally.borrow_and_update().clone();
        let event_id = after.unwrap_or_else(|| NONE_YET.to_owned());
        outbox
            .send(contract::LIKES, "likes", event_id, &Likes { count })
            .await?;
        sleep(TOGETHER).await;
        match timeout(SAY_AGAIN, tally.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => return Err(Failure::failed("nobody counts likes any more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_tells_where_to_count_on() {
        let position = "1763676000123-0.9f2c41aa";
        let tally = recall(Some((Likes { count: 7 }, Some(position.to_owned()))));
        assert_eq!((tally.count, tally.after.as_deref()), (7, Some(position)));
        assert!(matches!(begin(&tally), Start::From { text, .. } if text == position));
    }

    #[test]
    fn without_a_like_counted_it_begins_a_moment_back() {
        let first = recall(None);
        assert_eq!(first, Tally::default());
        assert!(matches!(begin(&first), Start::Since(_)));
        for id in [
            None,
            Some(NONE_YET.to_owned()),
            Some("no position".to_owned()),
        ] {
            let tally = recall(Some((Likes { count: 3 }, id)));
            assert_eq!(tally.count, 3);
            assert!(matches!(begin(&tally), Start::Since(_)));
        }
    }
}

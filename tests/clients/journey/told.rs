//! What the program has told, against what it should have.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sluice_e2e::wait;

use super::{Journey, PATIENCE, ROOM};
use crate::{program::Event, texts};

impl Journey<'_> {
    /// Leads the next connection to the other node.
    pub(super) fn turn(&mut self) {
        self.at = 1 - self.at;
        self.proxy.turn_to(self.nodes[self.at].http());
    }

    pub(super) async fn publish(&mut self, kind: Option<&str>, data: &str) -> Result<()> {
        let record = self.publisher.publish_text(ROOM, kind, data).await?;
        let id = record
            .position()
            .context("the event's position")?
            .to_owned();
        self.expect(kind, id, data);
        Ok(())
    }

    pub(super) fn expect(&mut self, kind: Option<&str>, id: String, data: &str) {
        let kind = kind.unwrap_or("message").to_owned();
        let data = texts::received(self.client, data);
        self.expected.push(Event { kind, id, data });
    }

    pub(super) fn last(&self) -> Result<&Event> {
        self.expected.last().context("nothing was published")
    }

    /// One more event, and the program has told exactly all.
    pub(super) async fn mark(&mut self) -> Result<()> {
        let name = format!("mark {}", self.expected.len());
        self.publish(None, &name).await?;
        self.until_exact().await
    }

    /// Waits until the program has told the first `count` published events.
    pub(super) async fn until(&mut self, count: usize) -> Result<()> {
        let program = &mut self.program;
        let what = format!("{count} events are told");
        wait::until(PATIENCE, &what, async || {
            Ok((program.events()?.0.len() >= count).then_some(()))
        })
        .await
    }

    /// Waits for the event published last; all told must then be exactly all published.
    pub(super) async fn until_exact(&mut self) -> Result<()> {
        let last = self.last()?.clone();
        let program = &mut self.program;
        let waited = wait::until(PATIENCE, "the last event is told", async || {
            Ok(program.events()?.0.contains(&last).then_some(()))
        })
        .await;
        let told = self.program.events()?.0;
        let differ = told
            .iter()
            .zip(&self.expected)
            .position(|(told, want)| told != want);
        match differ {
            Some(at) => bail!(
                "event {at} is {}, not {}",
                short(&told[at]),
                short(&self.expected[at])
            ),
            None => waited?,
        }
        let (told, expected) = (told.len(), self.expected.len());
        ensure!(told == expected, "{told} events are told, not {expected}");
        Ok(())
    }

    /// Waits until Sluice itself has said `kind` with such data, and gives the last such event.
    pub(super) async fn own(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Result<Event> {
        let program = &mut self.program;
        wait::until(PATIENCE, &format!("{kind} is told"), async || {
            let mut own = program
                .events()?
                .1
                .into_iter()
                .rev()
                .filter(|event| event.kind == kind);
            own.find_map(|event| match event.json() {
                Ok(data) => fits(&data).then_some(Ok(event)),
                Err(error) => Some(Err(error)),
            })
            .transpose()
        })
        .await
    }

    /// How many `sluice.open` said that the channel is in this state.
    pub(super) fn opened_with(&mut self, state: &str) -> Result<usize> {
        let mut count = 0;
        for event in self.program.events()?.1 {
            count += usize::from(
                event.kind == "sluice.open" && event.json()?["channels"][ROOM] == state,
            );
        }
        Ok(count)
    }

    /// Waits until `count` streams were resumed from its own last id; another state would be another count.
    pub(super) async fn resumed(&mut self, count: usize) -> Result<()> {
        let deadline = wait::until(PATIENCE, "the stream is resumed", async || {
            Ok((self.opened_with("resumed")? >= count).then_some(()))
        })
        .await;
        let resumed = self.opened_with("resumed")?;
        ensure!(
            resumed == count,
            "{resumed} streams were resumed, not {count}"
        );
        deadline
    }

    pub(super) async fn until_cut(&self, before: u64) -> Result<()> {
        wait::until_true(PATIENCE, "the connection is cut", || {
            self.proxy.counts().cut > before
        })
        .await
    }
}

fn short(event: &Event) -> String {
    let text = format!("{event:?}");
    let end = text
        .char_indices()
        .nth(300)
        .map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

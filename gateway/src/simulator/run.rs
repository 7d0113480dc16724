//! One run from its first move to its last check: everybody is whole after
//! healing, and nothing stays behind when all have left.

use super::client::Client;
use super::counters::Counters;
use super::world::{MS, Simulation};

/// Seconds that a slow but moving run gets on top.
const PATIENCE: usize = 30;

/// What a run came to.
pub struct Outcome {
    pub counters: Counters,
    pub digest: u64,
    pub violation: Option<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, steps: u64) -> Outcome {
    finish(&mut Simulation::new(seed, steps))
}

/// Makes every move, mends, checks that everybody is whole, and empties the place.
pub fn finish(simulation: &mut Simulation) -> Outcome {
    simulation.run_moves();
    simulation.heal();
    let mending = u64::try_from(simulation.mending().as_micros()).unwrap_or(u64::MAX);
    simulation.run_until(simulation.now + mending);
    // Queues of two or three take their time; a livelock takes for ever.
    for _ in 0..PATIENCE {
        if behind(simulation).is_some() && simulation.violation.is_none() {
            simulation.run_until(simulation.now + 1_000 * MS);
        }
    }
    check_whole(simulation, "after healing");
    let resets = told(simulation).0;
    let reads = simulation.counters.get("read");
    for channel in 0..simulation.settings.channels {
        if simulation.violation.is_none() {
            simulation.publish(channel);
        }
    }
    simulation.run_until(simulation.now + 1_000 * MS);
    check_whole(simulation, "after one more event each");
    if told(simulation).0 != resets && simulation.violation.is_none() {
        simulation.fail("a reset on a healthy system".to_owned());
    }
    let reads = simulation.counters.get("read") - reads;
    if reads > 50 + 20 * simulation.clients.len() as u64 {
        simulation.fail(format!("{reads} reads in a second on a healthy system"));
    }
    empty(simulation);
    let (resets, events, ephemerals) = told(simulation);
    simulation.counters.add("client resets", resets);
    simulation.counters.add("client events", events);
    simulation.counters.add("client ephemerals", ephemerals);
    Outcome {
        counters: simulation.counters.clone(),
        digest: simulation.digest(),
        violation: simulation.violation.clone(),
    }
}

/// Resets, events and ephemeral events that all clients were told.
fn told(simulation: &Simulation) -> (u64, u64, u64) {
    let counts = simulation.clients.iter().map(|client| client.reader.counts);
    counts.fold((0, 0, 0), |sum, counts| {
        (
            sum.0 + counts.resets,
            sum.1 + counts.events,
            sum.2 + counts.ephemerals,
        )
    })
}

/// Everybody who is connected stands at the head of each channel.
pub fn check_whole(simulation: &mut Simulation, when: &str) {
    if simulation.violation.is_some() {
        return;
    }
    if let Some(why) = behind(simulation) {
        simulation.fail(format!("{when} {why}"));
    }
}

/// Who does not stand at the head, if anybody.
fn behind(simulation: &Simulation) -> Option<String> {
    let connected = |client: &&Client| client.session.is_some();
    let clients = simulation.clients.iter();
    if clients.clone().filter(connected).count() * 2 < simulation.clients.len() {
        return Some("most clients are not connected".to_owned());
    }
    clients.enumerate().find_map(|(number, client)| {
        client.session.as_ref()?;
        client.channels.iter().find_map(|&channel| {
            let place = client.reader.place(channel).map(|place| place.to_string());
            let head = simulation.redis.channels[channel].log.head();
            let head = head.map(|head| head.to_string());
            (place != head).then(|| {
                format!("client {number} is at {place:?} of c{channel}, the head is {head:?}")
            })
        })
    })
}

/// Every client leaves; nothing must stay behind.
fn empty(simulation: &mut Simulation) {
    for number in 0..simulation.clients.len() {
        simulation.hang_up(number);
        simulation.clients[number].dials += 1;
    }
    let linger = u64::try_from(simulation.settings.node.linger.as_micros()).unwrap_or(u64::MAX);
    simulation.run_until(simulation.now + linger + 6_000 * MS);
    if simulation.violation.is_some() {
        return;
    }
    for n in 0..simulation.gateways.len() {
        let gateway = &simulation.gateways[n];
        let workers = gateway.threads.iter().map(|thread| &thread.worker);
        let seats: usize = workers.clone().map(|worker| worker.seats()).sum();
        let streams: usize = workers.map(|worker| worker.streams()).sum();
        let (channels, owed) = (gateway.node.channels(), gateway.node.owed());
        let topics = gateway.link.topics.len() + gateway.link.wanted.len();
        if seats + streams + channels + owed + topics > 0 {
            simulation.fail(format!(
                "node {n} still has {seats} seats, {streams} streams, {channels} channels, \
                 {owed} owed, {topics} topics"
            ));
        }
    }
}

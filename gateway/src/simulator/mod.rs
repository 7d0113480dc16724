//! The seeded simulator of the protocol core: publishers, a modelled Redis,
//! several nodes with several workers and many clients, under every fault that
//! the design names, judged by a checker that knows what really happened.
//!
//! A failing seed is printed with the command that replays it alone:
//! `SLUICE_SIM_SEED=123 cargo test -p sluice-gateway simulator::one_seed -- --nocapture`.
//! `SLUICE_SIM_SEEDS` and `SLUICE_SIM_STEPS` say how much to run, `SLUICE_SIM_FROM` from which seed on.
//!
//! ```text
//! plan ─moves─▶ world (clock, queue) ─▶ redis (logs, past) ◀─reads── network ──▶ node (the real core)
//!                                          │ truth                                │ bytes
//!                                          └────────▶ checker ◀─blocks─ client ◀──┘
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a schedule names the moves it means and leaves the rest to the last arm"
)]

mod checker;
mod checker_tests;
mod client;
mod counters;
mod eventsource;
mod lines;
mod links;
mod message;
mod moves;
mod network;
mod node;
mod past;
mod plan;
mod redis;
mod right;
mod run;
mod seats;
mod threads;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use counters::Counters;
use run::{Outcome, check_whole, finish, run};
use world::{MS, Simulation};

use crate::hub::sabotage::{Mutant, choose};

/// Within so many seeds each mutant must die.
const MUTANT_SEEDS: u64 = 400;

/// A number from the environment, or what a quick run takes.
fn setting(name: &str, otherwise: u64) -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "how long to test is said on the command line"
    )]
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs seeds on every core until one fails; gives its number and why.
fn run_seeds(seeds: std::ops::Range<u64>, steps: u64) -> (Counters, Option<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<(Counters, Option<(u64, String)>)> = Mutex::default();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut counters = Counters::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(seed, steps);
                    counters.merge(&outcome.counters);
                    if let Some(why) = outcome.violation {
                        next.store(seeds.end, Ordering::Relaxed);
                        let mut found = found.lock().expect("not poisoned");
                        if found.1.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                            found.1 = Some((seed, why));
                        }
                    }
                }
                found.lock().expect("not poisoned").0.merge(&counters);
            });
        }
    });
    found.into_inner().expect("not poisoned")
}

/// Nothing lost, repeated or reordered in silence, whatever happens.
#[test]
fn every_seed_keeps_the_promise() {
    let seeds = setting("SLUICE_SIM_SEEDS", 1_000);
    let steps = setting("SLUICE_SIM_STEPS", 1_000);
    let first = setting("SLUICE_SIM_FROM", 0);
    let (counters, failure) = run_seeds(first..first + seeds, steps);
    for (name, count) in counters.iter() {
        println!("{count:>12}  {name}");
    }
    let unmet = counters::EXPECTED
        .iter()
        .filter(|name| counters.get(name) == 0);
    let unmet: Vec<_> = unmet.collect();
    if let Some((seed, why)) = failure {
        panic!(
            "seed {seed}: {why}\nreplay: SLUICE_SIM_SEED={seed} SLUICE_SIM_STEPS={steps} \
             cargo test -p sluice-gateway simulator::one_seed -- --nocapture"
        );
    }
    assert!(seeds < 100 || unmet.is_empty(), "never happened: {unmet:?}");
}

/// Replays one seed, told by `SLUICE_SIM_SEED`, with everything that happens.
#[test]
fn one_seed() {
    let seed = setting("SLUICE_SIM_SEED", 1);
    let steps = setting("SLUICE_SIM_STEPS", 1_000);
    let mut simulation = Simulation::new(seed, steps);
    simulation.talk = setting("SLUICE_SIM_SEED", u64::MAX) != u64::MAX;
    let Outcome { violation, .. } = finish(&mut simulation);
    assert_eq!(violation, None, "seed {seed}");
}

/// The same seed gives the same run, to the byte.
#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run(seed, 1_000).digest, run(seed, 1_000).digest);
    }
}

/// Nobody notices that the last message on a topic is lost, but the audit: the
/// event is there within the audit's interval and a second.
#[test]
fn a_lost_last_event_comes_with_the_audit() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, 0);
        simulation.run_until(8_000 * MS);
        for gateway in &mut simulation.gateways {
            gateway.link.drop_next = 1;
        }
        simulation.publish(0);
        let audit = simulation.settings.node.audit_interval + Duration::from_secs(1);
        let wait = u64::try_from(audit.as_micros()).expect("seconds");
        simulation.run_until(simulation.now + wait);
        check_whole(&mut simulation, "after one audit");
        assert_eq!(simulation.violation, None, "seed {seed}");
        assert!(
            simulation.counters.get("note audit_finding") > 0,
            "seed {seed}"
        );
    }
}

/// Each named defect of the core is noticed.
#[test]
fn every_mutant_dies() {
    let survivors: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|mutant| {
            choose(Some(*mutant));
            let killer =
                (0..MUTANT_SEEDS).find_map(|seed| Some((seed, run(seed, 1_000).violation?)));
            choose(None);
            if let Some((seed, why)) = &killer {
                println!("{mutant:?}: seed {seed}: {why:.160}");
            }
            killer.is_none()
        })
        .collect();
    assert_eq!(survivors, [], "defects that nothing noticed");
}

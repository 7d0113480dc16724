//! The judge sees each way in which a roll can go badly, and finds nothing where none was.

use super::*;

const LEAD: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);
const CLIENTS: usize = 200;
const RATE: u32 = 50;

/// A roll of one node that went well: client `n` came back after `n` of 200 parts of the window.
struct Roll {
    told: Instant,
    clients: Vec<Vec<Visit>>,
    streams: usize,
    published: Published,
}

fn good() -> Roll {
    let told = Instant::now() + Duration::from_secs(60);
    let clients = (0..CLIENTS).map(|n| {
        let closed = told + LEAD + WINDOW * n as u32 / CLIENTS as u32;
        let old = visit(told - Duration::from_secs(30), "old", Some(closed));
        vec![old, visit(closed + Duration::from_millis(300), "new", None)]
    });
    let (from, to) = (
        told - Duration::from_secs(5),
        told + LEAD + WINDOW + Duration::from_secs(5),
    );
    Roll {
        told,
        clients: clients.collect(),
        streams: CLIENTS,
        published: Published {
            rate: RATE,
            from,
            to,
            events: (0..21 * RATE)
                .map(|n| from + Duration::from_secs(1) * n / RATE)
                .collect(),
        },
    }
}

fn visit(asked: Instant, node: &str, drained: Option<Instant>) -> Visit {
    Visit {
        asked,
        opened: Some((asked, node.to_owned())),
        closed: drained.map(|when| (when, "drain".to_owned())),
        ended: drained.map(|when| (when, Ended::InOrder)),
    }
}

fn complaints(roll: &Roll) -> String {
    let drained = [Drained {
        node: "old".to_owned(),
        told: roll.told,
        ended: roll.told + LEAD + WINDOW,
        streams: roll.streams,
    }];
    let found = judge(&Evidence {
        clients: &roll.clients,
        drained: &drained,
        published: &roll.published,
        new: &BTreeSet::from(["new".to_owned()]),
        lead: LEAD,
        window: WINDOW,
    });
    assert_eq!(found.whole().is_ok(), found.complaints.is_empty());
    found.complaints.join("\n")
}

#[test]
fn a_good_roll_has_no_complaints() {
    assert_eq!(complaints(&good()), "");
}

#[test]
fn a_roll_that_drops_all_at_once_is_seen() {
    let mut roll = good();
    let begun = roll.told + LEAD;
    for visits in &mut roll.clients {
        visits[0].closed = Some((begun, "drain".to_owned()));
        visits[1].asked = begun + Duration::from_millis(300);
    }
    let said = complaints(&roll);
    assert!(
        said.contains("100 % of its clients came back in tenth 0"),
        "{said}"
    );
    assert!(
        said.contains("all its clients came back within 0ns"),
        "{said}"
    );
}

#[test]
fn a_quarter_in_one_tenth_is_too_much() {
    let mut roll = good();
    let crowded = roll.told + LEAD + Duration::from_millis(5_500);
    for visits in roll.clients.iter_mut().step_by(4) {
        visits[1].asked = crowded;
    }
    assert!(complaints(&roll).contains("came back in tenth 5"));
}

#[test]
fn a_stream_that_was_cut_or_closed_for_another_reason_is_seen() {
    let mut roll = good();
    roll.clients[7][0].ended = Some((roll.told, Ended::Cut));
    roll.clients[9][0].closed = Some((roll.told, "overload".to_owned()));
    let said = complaints(&roll);
    assert!(
        said.contains("client 7: its stream on old ended with Some(Cut)"),
        "{said}"
    );
    assert!(said.contains("client 9"), "{said}");
    assert!(
        said.contains("old had 200 streams when it was told to go, but 198"),
        "{said}"
    );
}

#[test]
fn a_client_that_is_sent_to_a_leaving_node_is_seen() {
    let mut roll = good();
    let mut away = roll.clients[3][0].clone();
    away.opened = None;
    roll.clients[3].insert(1, away);
    let said = complaints(&roll);
    assert!(
        said.contains("1 times the balancer sent a client to a node that was leaving"),
        "{said}"
    );
}

#[test]
fn a_client_that_is_nowhere_or_on_an_old_node_in_the_end_is_seen() {
    let mut roll = good();
    let asked = roll.clients[1][1].asked;
    roll.clients[1][1].ended = Some((asked, Ended::Refused(502)));
    roll.clients[2][1].opened = Some((asked, "old".to_owned()));
    let said = complaints(&roll);
    assert!(
        said.contains("client 1 is nowhere in the end: it gave up for good"),
        "{said}"
    );
    assert!(said.contains("client 2 is on old in the end"), "{said}");
}

#[test]
fn a_drain_that_ended_nothing_or_too_little_is_seen() {
    let mut roll = good();
    roll.streams += 1;
    assert!(complaints(&roll).contains("old had 201 streams"));
    roll.clients.truncate(ENOUGH_TO_JUDGE - 1);
    assert!(complaints(&roll).contains("too few to judge"));
}

#[test]
fn a_stream_that_ended_before_readiness_could_fall_is_seen() {
    let mut roll = good();
    roll.clients[0][0].closed = Some((roll.told, "drain".to_owned()));
    assert!(complaints(&roll).contains("ended outside the drain window"));
}

/// What a busy machine does: some come late, a few not at all.
#[test]
fn a_publisher_that_is_kept_waiting_and_catches_up_is_no_complaint() {
    let mut roll = good();
    let (told, late) = (roll.told, roll.told + Duration::from_secs(3));
    for when in &mut roll.published.events {
        if (told..late).contains(when) {
            *when = late;
        }
    }
    let enough = roll.published.events.len() * 91 / 100;
    roll.published.events.truncate(enough);
    assert_eq!(complaints(&roll), "");
}

#[test]
fn a_publisher_that_falls_behind_is_seen() {
    let mut roll = good();
    let mut count = 0;
    roll.published.events.retain(|_| {
        count += 1;
        count % 5 != 0
    });
    let said = complaints(&roll);
    assert!(
        said.contains(
            "fell behind over the whole drill: 50 events/s were asked for, 40.0 were reached (840 in 21.0 s)"
        ),
        "{said}"
    );
    assert!(!said.contains("while old drained"), "{said}");
}

/// As many events in all as were asked for, but hardly one while the node drained.
#[test]
fn a_drain_without_load_is_seen() {
    let mut roll = good();
    let (told, ended) = (roll.told, roll.told + LEAD + WINDOW);
    let after = ended + Duration::from_secs(1);
    let mut kept = 0;
    for when in &mut roll.published.events {
        if (told..ended).contains(when) {
            kept += 1;
            *when = if kept <= 11 { *when } else { after };
        }
    }
    let said = complaints(&roll);
    assert!(
        said.contains(
            "fell behind while old drained: 50 events/s were asked for, 1.0 were reached (11 in 11.0 s)"
        ),
        "{said}"
    );
    assert!(!said.contains("over the whole drill"), "{said}");
}

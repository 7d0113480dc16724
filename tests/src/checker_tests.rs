//! Feeds the checker a clean log and one log per kind of corruption: a checker that cannot fail proves nothing.

use std::time::Instant;

use super::*;

const CHANNEL: &str = "orders";
const OTHER: &str = "users";

fn position(serial: u64) -> String {
    format!("{}-0.{:08x}", serial + 1, serial + 1)
}

fn record(channel: &str, serial: u64) -> Record {
    let prev = if serial == 0 {
        "0-0.00000007".to_owned()
    } else {
        position(serial - 1)
    };
    let outcome = Outcome::Stored {
        position: position(serial),
        prev: Some(prev),
    };
    Record {
        channel: channel.into(),
        serial,
        payload: format!("{channel} {serial}"),
        outcome,
    }
}

fn journal() -> Vec<Record> {
    (0..6).map(|serial| record(CHANNEL, serial)).collect()
}

fn block(event: &str, data: String, id: &str) -> Seen {
    Seen::Event(Block {
        event: event.into(),
        data,
        last_event_id: id.into(),
    })
}

fn open(id: &str, status: &str) -> Seen {
    block(
        "sluice.open",
        format!("{{\"node\":\"n\",\"channels\":{{\"{CHANNEL}\":\"{status}\"}}}}"),
        id,
    )
}

fn event(serial: u64) -> Seen {
    block("message", format!("{CHANNEL} {serial}"), &position(serial))
}

fn reset(reason: &str, to: &str) -> Seen {
    let data = format!(
        "{{\"channel\":\"{CHANNEL}\",\"reason\":\"{reason}\",\"from\":\"x\",\"to\":\"{to}\"}}"
    );
    block("sluice.reset", data, to)
}

/// Joined live after event 0, moved after event 3, saw all to the head.
fn clean() -> Vec<Seen> {
    let mut seen = vec![open(&position(0), "live"), event(1), event(2), event(3)];
    seen.extend([
        Seen::Ended(crate::client::End::Complete),
        open(&position(3), "resumed"),
        event(4),
        event(5),
    ]);
    seen
}

fn verdict_of(log: Log, records: &[Record], suffered: &Suffered) -> Report {
    let heads = log
        .channels
        .iter()
        .map(|channel| (channel.clone(), position(5)))
        .collect();
    check(&Evidence {
        published: records,
        heads: &heads,
        clients: &[log],
        suffered,
    })
}

fn log(channels: &[&str], seen: Vec<Seen>) -> Log {
    let seen = seen
        .into_iter()
        .map(|seen| (Instant::now(), seen))
        .collect();
    Log {
        name: "c".into(),
        channels: channels.iter().map(|&c| c.into()).collect(),
        seen,
        ..Log::default()
    }
}

fn verdict(seen: Vec<Seen>) -> Report {
    verdict_of(log(&[CHANNEL], seen), &journal(), &Suffered::new())
}

fn kinds(report: &Report) -> BTreeSet<Kind> {
    report
        .violations
        .iter()
        .map(|violation| violation.kind)
        .collect()
}

#[track_caller]
fn assert_kinds(report: &Report, want: &[Kind]) {
    assert_eq!(
        kinds(report),
        want.iter().copied().collect(),
        "{:#?}",
        report.violations
    );
}

#[test]
fn a_clean_log_passes() {
    let report = verdict(clean());
    report.whole().expect("nothing is broken");
    assert_eq!(report.delivered, 5);
}

#[test]
fn an_event_left_out_is_a_gap() {
    let mut seen = clean();
    seen.remove(2);
    assert_kinds(&verdict(seen), &[Kind::Gap]);
}

#[test]
fn two_events_swapped_are_a_gap() {
    let mut seen = clean();
    seen.swap(1, 2);
    assert!(verdict(seen).found(Kind::Gap));
}

#[test]
fn an_event_told_twice_is_a_duplicate() {
    let mut seen = clean();
    seen.insert(2, event(1));
    assert_kinds(&verdict(seen), &[Kind::Duplicate]);
}

#[test]
fn an_event_replayed_after_a_move_is_a_duplicate() {
    let mut seen = clean();
    seen.insert(6, event(3));
    assert_kinds(&verdict(seen), &[Kind::Duplicate]);
}

#[test]
fn an_event_nobody_published_is_a_phantom() {
    let mut seen = clean();
    seen.insert(2, block("message", "boo".into(), "9-9.00000009"));
    assert!(verdict(seen).found(Kind::Phantom));
}

#[test]
fn a_changed_payload_is_corrupt() {
    let mut seen = clean();
    seen[2] = block("message", format!("{CHANNEL} 2 "), &position(2));
    assert_kinds(&verdict(seen), &[Kind::Corrupt]);
}

#[test]
fn a_missing_tail_is_lost() {
    let mut seen = clean();
    seen.pop();
    assert_kinds(&verdict(seen), &[Kind::Lost]);
}

#[test]
fn a_client_that_never_saw_anything_has_lost() {
    assert_kinds(&verdict(vec![]), &[Kind::Lost]);
}

#[test]
fn a_resume_from_elsewhere_is_a_jump() {
    let mut seen = clean();
    seen[5] = open(&position(4), "resumed");
    seen.remove(6);
    assert!(verdict(seen).found(Kind::Jump));
}

#[test]
fn a_reset_without_cause_or_for_another_reason_is_false() {
    let jumped = || {
        vec![
            open(&position(0), "live"),
            event(1),
            reset("trimmed", &position(4)),
            event(5),
        ]
    };
    assert_kinds(&verdict(jumped()), &[Kind::FalseReset]);
    let judged = |reason| {
        let suffered = Suffered::from([(CHANNEL.to_owned(), BTreeSet::from([reason]))]);
        verdict_of(log(&[CHANNEL], jumped()), &journal(), &suffered)
    };
    assert_kinds(&judged("rollback"), &[Kind::FalseReset]);
    judged("trimmed").whole().expect("the reset was due");
    assert_eq!(judged("trimmed").resets.len(), 1);
}

#[test]
fn an_announced_reset_that_never_comes_is_a_jump() {
    let seen = vec![
        open(&position(0), "live"),
        event(1),
        open(&position(5), "reset"),
    ];
    assert!(verdict(seen).found(Kind::Jump));
}

#[test]
fn an_erased_cursor_is_seen() {
    let mut seen = clean();
    seen.push(open("", "resumed"));
    assert_kinds(&verdict(seen), &[Kind::Erased]);
}

#[test]
fn a_close_that_moves_the_place_is_seen() {
    let mut seen = clean();
    seen.insert(
        4,
        block(
            "sluice.close",
            "{\"reason\":\"drain\"}".into(),
            &position(5),
        ),
    );
    assert_kinds(&verdict(seen), &[Kind::Moved]);
}

#[test]
fn blank_blocks_and_refusals_are_seen() {
    let mut seen = clean();
    seen.extend([Seen::EmptyBlock, Seen::Refused(503)]);
    assert_kinds(&verdict(seen), &[Kind::EmptyBlock, Kind::Refused]);
}

#[test]
fn an_acknowledged_event_off_the_chain_is_withdrawn() {
    let mut records = journal();
    // Redis went back to event 2 and wrote event 5 behind it.
    records[5].outcome = Outcome::Stored {
        position: position(5),
        prev: Some(position(2)),
    };
    let seen = vec![open(&position(0), "live"), event(1), event(2), event(5)];
    assert_kinds(
        &verdict_of(log(&[CHANNEL], seen), &records, &Suffered::new()),
        &[Kind::Withdrawn],
    );
}

#[test]
fn a_link_that_cannot_be_judged_is_told() {
    let mut records = journal();
    records[2].outcome = Outcome::Stored {
        position: position(2),
        prev: None,
    };
    assert!(verdict_of(log(&[CHANNEL], clean()), &records, &Suffered::new()).found(Kind::Unproved));
}

#[test]
fn with_several_channels_only_the_speaker_moves() {
    let at = |serial: u64| (serial + 1, 0u16, u32::try_from(serial + 1).expect("small"));
    let cursor = |a: u64, b: u64| cursor::write(&[(CHANNEL, at(a)), (OTHER, at(b))]);
    let envelope = |channel: &str, serial: u64, a: u64, b: u64| {
        let data = format!(
            "{{\"channel\":\"{channel}\",\"id\":\"x\",\"type\":null,\"data\":\"{channel} {serial}\"}}"
        );
        block("message", data, &cursor(a, b))
    };
    let first = block(
        "sluice.open",
        format!("{{\"node\":\"n\",\"channels\":{{\"{CHANNEL}\":\"live\",\"{OTHER}\":\"live\"}}}}"),
        &cursor(4, 4),
    );
    let mut records = journal();
    records.extend((0..6).map(|serial| record(OTHER, serial)));
    let judged = |seen| verdict_of(log(&[CHANNEL, OTHER], seen), &records, &Suffered::new());

    let good = vec![
        first.clone(),
        envelope(CHANNEL, 5, 5, 4),
        envelope(OTHER, 5, 5, 5),
    ];
    judged(good)
        .whole()
        .expect("both moved by their own events");
    let bystander = vec![
        first.clone(),
        envelope(CHANNEL, 5, 5, 5),
        envelope(OTHER, 5, 5, 5),
    ];
    assert!(judged(bystander).found(Kind::Moved));
    let wrong_channel = vec![first, envelope(CHANNEL, 5, 4, 5), envelope(OTHER, 5, 5, 5)];
    assert!(!judged(wrong_channel).violations.is_empty());
}

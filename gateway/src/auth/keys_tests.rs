//! Which key a token may use, and what becomes of keys when the issuer changes them.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::config::{Args, Config};

fn checks() -> Checks {
    let none: [(&str, &str); 0] = [];
    let args = Args {
        dev: true,
        ..Args::default()
    };
    Checks::new(&Config::load(&args, none).expect("valid").auth.jwt)
}

fn key() -> Key {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let material = Material::ed(pair.public_key().as_ref().to_vec()).expect("good");
    Key::new(&material, JwtAlgorithm::EdDsa, &checks())
}

fn set(names: &[&str]) -> KeySet {
    let mut set = KeySet::default();
    for name in names {
        let name = (!name.is_empty()).then(|| (*name).to_owned());
        set.add(name, key()).expect("room");
    }
    set
}

fn found(set: &KeySet, name: Option<&str>, now: Instant) -> usize {
    match set.choose(name, Algorithm::EdDSA, now) {
        Choice::One(_) => 1,
        Choice::Several(keys) => keys.len(),
        Choice::Ambiguous => usize::MAX,
        Choice::None => 0,
    }
}

#[test]
fn a_name_finds_its_key_and_no_other() {
    let now = Instant::now();
    let set = set(&["a", "b"]);
    assert_eq!(found(&set, Some("a"), now), 1);
    assert_eq!(found(&set, Some("c"), now), 0);
    assert_eq!(found(&set, Some("a/../b"), now), 0);
    assert_eq!(found(&set, None, now), usize::MAX, "two would fit");
}

#[test]
fn a_token_without_a_name_may_use_the_only_key_that_fits() {
    let now = Instant::now();
    let only = set(&["a"]);
    assert_eq!(found(&only, None, now), 1);
    let other = only.choose(None, Algorithm::RS256, now);
    assert!(matches!(other, Choice::None), "not with another algorithm");
    assert_eq!(
        found(&set(&["", "", "a"]), None, now),
        2,
        "those without a name"
    );
    assert_eq!(found(&set(&["", "a"]), Some("b"), now), 1);
}

#[test]
fn names_are_taken_once_and_sets_have_an_end() {
    let mut full = set(&vec![""; KEYS_MAX]);
    assert!(full.add(None, key()).is_err());
    assert!(set(&["a"]).add(Some("a".to_owned()), key()).is_err());
    assert!(set(&["a"]).join(full).is_err());
}

#[test]
fn a_key_that_is_taken_back_holds_for_the_grace_and_no_longer() {
    let grace = Duration::from_secs(60);
    let begin = Instant::now();
    let rotated = set(&["new"]).after(&set(&["old", ""]), begin, grace);
    let at = |seconds| begin + Duration::from_secs(seconds);
    assert_eq!(found(&rotated, Some("old"), at(59)), 1);
    assert_eq!(found(&rotated, Some("new"), at(59)), 1);
    assert_eq!(found(&rotated, None, at(59)), 1, "the nameless one");
    assert_eq!(found(&rotated, Some("old"), at(60)), 0);
    assert_eq!(found(&rotated, Some("new"), at(600)), 1);

    // A further look does not lengthen it.
    let again = set(&["newer"]).after(&rotated, at(30), grace);
    assert_eq!(found(&again, Some("old"), at(59)), 1);
    assert_eq!(found(&again, Some("old"), at(60)), 0);
    assert_eq!(found(&again, Some("new"), at(89)), 1);
    assert_eq!(
        set(&["x"]).after(&again, at(200), grace).len(),
        1 + 1,
        "newer"
    );
}

/// Whoever has lost a key can put another in its place at once.
#[test]
fn a_name_that_means_another_key_means_only_that() {
    let now = Instant::now();
    let before = set(&["a"]);
    let after = set(&["a"]).after(&before, now, Duration::from_secs(60));
    assert_eq!(after.len(), 1);
    let (Choice::One(old), Choice::One(new)) = (
        before.choose(Some("a"), Algorithm::EdDSA, now),
        after.choose(Some("a"), Algorithm::EdDSA, now),
    ) else {
        panic!("one key each");
    };
    assert!(!old.equals(new));
}

#[test]
fn a_key_that_stays_is_not_kept_twice_and_taken_back_ones_are_bounded() {
    let now = Instant::now();
    let grace = Duration::from_secs(60);
    let nameless = set(&[""]);
    assert_eq!(nameless.clone().after(&nameless, now, grace).len(), 1);
    let mut keys = set(&["0"]);
    for round in 1..=RETIRED_MAX + 20 {
        let at = now + Duration::from_millis(round as u64);
        keys = set(&[&round.to_string()]).after(&keys, at, grace);
    }
    assert_eq!(keys.len(), 1 + RETIRED_MAX);
    assert_eq!(found(&keys, Some("0"), now), 0, "the oldest went first");
}

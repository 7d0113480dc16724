//! Every seed is replayed on every test run, on the stable compiler, so that seeds stay sound and what a fuzzer has found
//! once cannot come back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sluice_fuzz::TARGETS;

/// Fewer are no seeds to begin from.
const LEAST: usize = 4;
/// A seed is small: it is read by people and mutated by machines.
const MOST_BYTES: usize = 8 * 1_024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[test]
fn every_seed_holds() -> io::Result<()> {
    let mut seen = 0;
    for (target, check) in TARGETS {
        let folder = folder("seeds").join(target);
        let seeds = names(&folder)?;
        assert!(seeds.len() >= LEAST, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let bytes = fs::read(folder.join(&seed))?;
            assert!(
                bytes.len() <= MOST_BYTES,
                "{target}/{seed} has {} bytes",
                bytes.len()
            );
            println!("{target}/{seed}");
            check(&bytes);
            // What a mutation makes first of it: cut short, doubled, one byte changed.
            check(&bytes[..bytes.len() / 2]);
            check(&bytes.repeat(2));
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
                let mut changed = bytes.clone();
                changed[at] ^= 0x20;
                check(&changed);
            }
            seen += 1;
        }
    }
    println!("{seen} seeds of {} targets", TARGETS.len());
    Ok(())
}

/// A target without seeds, a program without a target, or one that is never run would be missed by nobody.
#[test]
fn targets_seeds_and_programs_are_the_same() -> io::Result<()> {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("seeds"))?, targets);
    let programs = names(&folder("libfuzzer/fuzz_targets"))?;
    let programs: BTreeSet<String> = programs
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(programs, targets);
    let manifest = fs::read_to_string(folder("libfuzzer/Cargo.toml"))?;
    for target in &targets {
        assert!(
            manifest.contains(&format!("[[bin]]\nname = \"{target}\"\n")),
            "{target} is no program"
        );
        let program =
            fs::read_to_string(folder("libfuzzer/fuzz_targets").join(format!("{target}.rs")))?;
        assert!(
            program.contains(&format!("sluice_fuzz::{target}::check(bytes)")),
            "{program}"
        );
    }
    Ok(())
}

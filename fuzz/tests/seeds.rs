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

/// Mutations of one seed in the long run.
const MUTATIONS: u64 = 2_000;

/// What the seeds become by chance: not what a fuzzer finds, which is led by coverage, but on the stable compiler.
#[test]
#[ignore = "takes minutes: make test-full"]
fn mutations_of_every_seed_hold() -> io::Result<()> {
    for (target, check) in TARGETS {
        let folder = folder("seeds").join(target);
        let names = names(&folder)?;
        let seeds = names.iter().map(|name| fs::read(folder.join(name)));
        let seeds = seeds.collect::<io::Result<Vec<_>>>()?;
        for (n, seed) in seeds.iter().enumerate() {
            for round in 0..MUTATIONS {
                let mut random = Random(round << 32 | n as u64);
                let other = &seeds[random.below(seeds.len())];
                check(&random.mutated(seed, other));
            }
        }
        println!("{target}: {} inputs", seeds.len() as u64 * MUTATIONS);
    }
    Ok(())
}

/// Numbers that look random (SplitMix64), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % most.max(1)
    }

    /// `seed` with one to eight changes: bytes set, removed, doubled, or taken over from `other`.
    fn mutated(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len() + 1);
            let to = at + self.below(bytes.len() + 1 - at).min(64);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..to)),
                3 => {
                    let again = bytes[at..to].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let end = from + self.below(other.len() + 1 - from).min(64);
                    bytes.splice(at..to, other[from..end].iter().copied());
                }
            }
        }
        bytes
    }
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

//! Verification keys, each bound to one algorithm, and the set they are found in. A token's header can only name one of
//! them; it never says what the key is or how it is used (RFC 8725, sections 2.1 and 3.1).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::claims::Checks;
use super::material::Material;
use crate::config::JwtAlgorithm;

/// Most keys of one source.
pub(super) const KEYS_MAX: usize = 100;
/// Most keys that are kept for a while after the issuer has taken them back.
const RETIRED_MAX: usize = 100;

/// One key, what it is good for, and what a token signed with it must claim.
pub(super) struct Key {
    decoding: DecodingKey,
    validation: Validation,
    algorithm: Algorithm,
    /// Tells equal keys; public.
    print: Vec<u8>,
}

impl Key {
    /// Takes material that has been proved good for the algorithm.
    pub(super) fn new(material: &Material, algorithm: JwtAlgorithm, checks: &Checks) -> Key {
        let algorithm = library_name(algorithm);
        Key {
            decoding: material.decoding(),
            validation: checks.validation(algorithm),
            algorithm,
            print: material.print(),
        }
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    pub(super) fn validation(&self) -> &Validation {
        &self.validation
    }

    fn equals(&self, other: &Key) -> bool {
        self.algorithm == other.algorithm && self.print == other.print
    }
}

fn library_name(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// A key in a set.
#[derive(Clone)]
struct Entry {
    key: Arc<Key>,
    /// Until when it is kept; the issuer has taken it back.
    retired: Option<Instant>,
}

impl Entry {
    fn holds(&self, now: Instant) -> bool {
        self.retired.is_none_or(|until| now < until)
    }
}

/// The keys of one source: by name, and those without one.
#[derive(Clone, Default)]
pub(super) struct KeySet {
    named: HashMap<String, Entry>,
    nameless: Vec<Entry>,
}

/// Which keys a token may have been signed with.
pub(super) enum Choice<'a> {
    One(&'a Key),
    /// Nameless ones, all of the token's algorithm.
    Several(Vec<&'a Key>),
    /// The token names none, and more than one of those with names would fit.
    Ambiguous,
    None,
}

impl KeySet {
    /// Adds a key.
    ///
    /// # Errors
    /// The name is taken, or the set is full.
    pub(super) fn add(&mut self, name: Option<String>, key: Key) -> Result<(), &'static str> {
        if self.len() >= KEYS_MAX {
            return Err("is one key too many: at most 100 are kept");
        }
        let entry = Entry {
            key: Arc::new(key),
            retired: None,
        };
        match name {
            None => self.nameless.push(entry),
            Some(name) if self.named.contains_key(&name) => {
                return Err("has the `kid` of another key before it");
            }
            Some(name) => {
                self.named.insert(name, entry);
            }
        }
        Ok(())
    }

    /// Adds the keys of another source.
    ///
    /// # Errors
    /// They are too many together.
    pub(super) fn join(&mut self, other: KeySet) -> Result<(), &'static str> {
        if self.len() + other.len() > KEYS_MAX {
            return Err("makes more than 100 keys with those of the other files");
        }
        self.named.extend(other.named);
        self.nameless.extend(other.nameless);
        Ok(())
    }

    /// All keys, those taken back included.
    pub(super) fn len(&self) -> usize {
        self.named.len() + self.nameless.len()
    }

    /// Finds the key for a token. A name is looked up and means nothing else; a key with another name is never tried.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Choice<'_> {
        let fits = |entry: &&Entry| entry.key.algorithm == algorithm && entry.holds(now);
        let named = name.and_then(|name| self.named.get(name));
        if let Some(entry) = named.filter(|entry| entry.holds(now)) {
            return Choice::One(&entry.key);
        }
        let nameless: Vec<&Key> = self.nameless.iter().filter(fits).map(|e| &*e.key).collect();
        if let [key] = nameless[..] {
            return Choice::One(key);
        }
        if !nameless.is_empty() {
            return Choice::Several(nameless);
        }
        if name.is_some() {
            return Choice::None;
        }
        let mut fitting = self.named.values().filter(fits);
        match (fitting.next(), fitting.next()) {
            (None, _) => Choice::None,
            (Some(entry), None) => Choice::One(&entry.key),
            (Some(_), Some(_)) => Choice::Ambiguous,
        }
    }

    /// This set with the keys of an earlier one that it lacks, which hold for `grace` from now at most. A name that
    /// means another key now means only that.
    pub(super) fn after(mut self, earlier: &KeySet, now: Instant, grace: Duration) -> KeySet {
        let retire = |entry: &Entry| Entry {
            key: Arc::clone(&entry.key),
            retired: Some(entry.retired.unwrap_or(now + grace)),
        };
        let named = earlier.named.iter();
        let gone = named.filter(|(name, _)| !self.named.contains_key(*name));
        let mut retired: Vec<(Option<String>, Entry)> = gone
            .map(|(name, entry)| (Some(name.clone()), retire(entry)))
            .collect();
        let still = |entry: &Entry| self.nameless.iter().any(|e| e.key.equals(&entry.key));
        let gone = earlier.nameless.iter().filter(|entry| !still(entry));
        retired.extend(gone.map(|entry| (None, retire(entry))));
        retired.retain(|(_, entry)| entry.holds(now));
        // The latest stay longest.
        retired.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.retired));
        retired.truncate(RETIRED_MAX);
        for (name, entry) in retired {
            match name {
                Some(name) => {
                    self.named.insert(name, entry);
                }
                None => self.nameless.push(entry),
            }
        }
        self
    }

    /// The names of the keys that the issuer offers now, and how many have none.
    pub(super) fn offered(&self) -> (Vec<&str>, usize) {
        let current = |entry: &&Entry| entry.retired.is_none();
        let named = self.named.iter().filter(|(_, e)| e.retired.is_none());
        let mut names: Vec<&str> = named.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        (names, self.nameless.iter().filter(current).count())
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;

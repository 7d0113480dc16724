//! What a check of the configuration finds: complaints by key, and the ranges that were checked.

use super::kinds::Humane;

/// Collects what is wrong, so that one start tells everything.
#[derive(Default)]
pub struct Findings {
    /// Key and complaint.
    pub wrong: Vec<(&'static str, String)>,
    /// Every range that was checked, as the reference must state it.
    pub ranges: Vec<(&'static str, String)>,
}

impl Findings {
    /// Notes a complaint about a key.
    pub fn refuse(&mut self, key: &'static str, complaint: impl Into<String>) {
        self.wrong.push((key, complaint.into()));
    }

    /// Takes the key's accepted range, both ends included.
    pub fn within<T: Humane + PartialOrd>(&mut self, key: &'static str, value: &T, min: T, max: T) {
        let range = format!("{} to {}", min.humane(), max.humane());
        if *value < min || *value > max {
            self.refuse(
                key,
                format!("{} is out of range; accepted: {range}", value.humane()),
            );
        }
        self.ranges.push((key, range));
    }

    /// The value must be below another key's.
    pub fn below<T: Humane + PartialOrd>(
        &mut self,
        key: &'static str,
        value: &T,
        other_key: &str,
        other: &T,
    ) {
        if value >= other {
            self.refuse(
                key,
                format!(
                    "{} is not below {other_key} ({})",
                    value.humane(),
                    other.humane()
                ),
            );
        }
    }

    /// The value must not be below another key's.
    pub fn at_least<T: Humane + PartialOrd>(
        &mut self,
        key: &'static str,
        value: &T,
        other_key: &str,
        other: &T,
    ) {
        if value < other {
            self.refuse(
                key,
                format!(
                    "{} is below {other_key} ({})",
                    value.humane(),
                    other.humane()
                ),
            );
        }
    }
}

//! Patterns of channels in tokens. Input: pattern, subject, channel.

use sluice_gateway::auth::patterns::Patterns;
use sluice_wire::channel::Channel;

use crate::{parts, text};

/// A pattern allows what a matcher written apart from it allows; a subject never stands for more than one segment.
pub fn check(bytes: &[u8]) {
    let [pattern, subject, name] = parts::<3>(bytes).map(text);
    let Ok(channel) = Channel::parse(&name) else {
        return;
    };
    let Ok(patterns) = Patterns::parse(std::slice::from_ref(&pattern), &subject) else {
        return;
    };
    let segments: Vec<&str> = pattern.split('.').collect();
    let names: Vec<&str> = name.split('.').collect();
    assert_eq!(
        patterns.allow(&channel),
        stands_for(&segments, &names, &subject),
        "{pattern:?} for {subject:?} on {name:?}"
    );
}

fn stands_for(pattern: &[&str], names: &[&str], subject: &str) -> bool {
    match (pattern, names) {
        ([], []) => true,
        (["**"], [_, ..]) => true,
        (["*", pattern @ ..], [_, names @ ..]) => stands_for(pattern, names, subject),
        (["{sub}", pattern @ ..], [name, names @ ..]) => {
            *name == subject && stands_for(pattern, names, subject)
        }
        ([segment, pattern @ ..], [name, names @ ..]) => {
            segment == name && stands_for(pattern, names, subject)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

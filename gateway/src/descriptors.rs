//! The process's file descriptors: each stream is one. A process begins with a soft limit, often 1024 for the sake of programs
//! that know no more, and may raise it itself up to the hard one; in a container nobody else can.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Never raised beyond this, also where the hard limit is unlimited: it is what Linux allows a process unless told otherwise.
const MOST: u64 = 1_048_576;

/// Raises the soft limit to the hard one. What is already higher stays.
///
/// # Errors
/// When the system refuses, which it does only where a sandbox forbids the call.
pub fn raise() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = raised(limit);
    if wanted == limit {
        return Ok(());
    }
    setrlimit(Resource::Nofile, wanted).map_err(std::io::Error::from)
}

fn raised(limit: Rlimit) -> Rlimit {
    let most = limit.maximum.unwrap_or(MOST).min(MOST);
    Rlimit {
        // None is unlimited.
        current: limit.current.map(|current| current.max(most)),
        maximum: limit.maximum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::to_the_hard_limit(Some(1_024), Some(524_288), Some(524_288))]
    #[case::to_a_bound_where_there_is_none(Some(1_024), None, Some(MOST))]
    #[case::to_a_bound_below_a_hard_limit(Some(1_024), Some(1 << 30), Some(MOST))]
    #[case::never_down(Some(2 * MOST), Some(4 * MOST), Some(2 * MOST))]
    #[case::not_where_it_is_there(Some(4_096), Some(4_096), Some(4_096))]
    #[case::not_where_it_is_unlimited(None, None, None)]
    fn the_soft_limit_is_raised(
        #[case] current: Option<u64>,
        #[case] maximum: Option<u64>,
        #[case] expected: Option<u64>,
    ) {
        let limit = Rlimit { current, maximum };
        let expected = Rlimit {
            current: expected,
            maximum,
        };
        assert_eq!(raised(limit), expected);
    }
}

//! Which build this is.

use std::sync::LazyLock;

/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, where the one who built it said so: `SLUICE_COMMIT` in the environment of the build.
pub const COMMIT: &str = said(option_env!("SLUICE_COMMIT"));

/// What stands for a commit that nobody has told.
const UNKNOWN: &str = "unknown";

/// What `--version` prints after the name.
pub static LINE: LazyLock<String> = LazyLock::new(|| line(COMMIT));

const fn said(commit: Option<&'static str>) -> &'static str {
    match commit {
        Some(commit) if !commit.is_empty() => commit,
        Some(_) | None => UNKNOWN,
    }
}

fn line(commit: &str) -> String {
    match commit {
        UNKNOWN => VERSION.to_owned(),
        commit => format!("{VERSION} ({commit})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_what_the_build_was_told() {
        assert_eq!(said(Some("0123abc")), "0123abc");
        assert_eq!(said(Some("")), UNKNOWN);
        assert_eq!(said(None), UNKNOWN);
        assert_eq!(line("0123abc"), format!("{VERSION} (0123abc)"));
        assert_eq!(line(UNKNOWN), VERSION);
    }
}

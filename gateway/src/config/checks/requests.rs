//! What must hold of the bounds of single requests: pages of history.

use super::Findings;
use crate::config::kinds::Size;
use crate::config::sections::LimitsConfig;

pub(super) fn check(limits: &LimitsConfig, found: &mut Findings) {
    found.within(
        "limits.page_bytes",
        &limits.page_bytes,
        Size::kib(1),
        Size::mib(64),
    );
}

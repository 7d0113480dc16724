//! What operators order, and what of it stands.

use prometheus::IntGauge;

use super::kinds::{Counters, metrics};
use crate::reasons::{AdminCommand, AdminOutcome};

metrics! {
    /// Commands on the admin listener, and the orders that stand.
    pub struct ControlMetrics {
        /// Revocations and disconnects that this node knows and that still hold.
        pub standing_orders: IntGauge = "sluice_standing_orders",
        /// Commands on the admin listener, by command and outcome.
        pub commands: Counters<(AdminCommand, AdminOutcome)> = "sluice_admin_commands_total" by "command" & "outcome",
    }
}

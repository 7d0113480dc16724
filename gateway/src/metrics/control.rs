//! What operators order, and what of it stands.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::gauge;
use crate::reasons::{AdminCommand, AdminOutcome, Label as _};

/// Commands on the admin listener, and the orders that stand.
#[derive(Clone)]
pub struct ControlMetrics {
    pub standing_orders: IntGauge,
    commands: Vec<Vec<IntCounter>>,
}

impl ControlMetrics {
    pub(super) fn register(r: &Registry) -> prometheus::Result<ControlMetrics> {
        let commands = IntCounterVec::new(
            Opts::new(
                "sluice_admin_commands_total",
                "Commands on the admin listener, by command and outcome.",
            ),
            &["command", "outcome"],
        )?;
        r.register(Box::new(commands.clone()))?;
        let of = |command: &AdminCommand| {
            let outcomes = AdminOutcome::ALL.iter();
            let counter = |outcome: &AdminOutcome| {
                commands.with_label_values(&[command.as_label(), outcome.as_label()])
            };
            outcomes.map(counter).collect()
        };
        Ok(ControlMetrics {
            standing_orders: gauge(
                r,
                "sluice_standing_orders",
                "Revocations and disconnects that this node knows and that still hold.",
            )?,
            commands: AdminCommand::ALL.iter().map(of).collect(),
        })
    }

    /// The counter of one command and outcome.
    pub fn commands(&self, command: AdminCommand, outcome: AdminOutcome) -> &IntCounter {
        &self.commands[command.index()][outcome.index()]
    }
}

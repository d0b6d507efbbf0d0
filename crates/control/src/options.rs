//! What the composition decides about the management plane.

use agent_vault_broker::LimitSettings;

/// Settings of [`crate::Control`].
#[derive(Debug, Clone, Copy)]
pub struct ControlOptions {
    /// The PROXY tier, for the broker.
    pub proxy_limits: LimitSettings,
    /// Accepts internal names, single labels and addresses as hosts of services.
    pub dev_mode: bool,
}

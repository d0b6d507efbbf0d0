//! What the composition decides about the management plane.

use agent_vault_broker::LimitSettings;
use agent_vault_policy::UnmatchedPolicy;

/// Settings of [`crate::Control`].
#[derive(Debug, Clone, Copy)]
pub struct ControlOptions {
    /// The PROXY tier, for the broker.
    pub proxy_limits: LimitSettings,
    /// Accepts internal names, single labels and addresses as hosts of services.
    pub dev_mode: bool,
    /// What happens to requests that no service matches, in vaults that have no setting of their own.
    pub unmatched: UnmatchedPolicy,
}

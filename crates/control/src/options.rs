//! What the composition decides about the management plane.

use std::fmt;
use std::sync::Arc;

use agent_vault_policy::UnmatchedPolicy;

use crate::limits::LimitSources;
use crate::mail::Mailer;
use crate::retention::RetentionKnobs;

/// Settings of [`crate::Control`].
#[derive(Clone)]
pub struct ControlOptions {
    /// What the environment says about rate limits.
    pub limits: LimitSources,
    /// What takes mail to people; `None` where no mail is set up.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// What the environment says about how long the request log is kept.
    pub retention: RetentionKnobs,
    /// Accepts internal names, single labels and addresses as hosts of services.
    pub dev_mode: bool,
    /// What happens to requests that no service matches, in vaults that have no setting of their own.
    pub unmatched: UnmatchedPolicy,
}

impl fmt::Debug for ControlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlOptions")
            .field("limits", &self.limits)
            .field("mail", &self.mailer.is_some())
            .field("dev_mode", &self.dev_mode)
            .field("unmatched", &self.unmatched)
            .finish()
    }
}

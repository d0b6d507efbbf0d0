//! What the broker asks for when a value has ended, or is about to: who fetches it depends on where it comes from.

use agent_vault_broker::{Landing, RenewalFault, RenewalOrder, Source};

use crate::Control;
use crate::control::WeakControl;
use crate::oauth;

/// Fetches on tasks of the management plane, which are waited for before the database is closed.
pub(crate) struct Renewer(WeakControl);

impl Renewer {
    pub(crate) fn new(control: WeakControl) -> Self {
        Self(control)
    }
}

impl Source for Renewer {
    fn renew(&self, order: RenewalOrder, landing: Landing) {
        // Without a management plane there is nobody left to wait.
        let Some(control) = self.0.upgrade() else {
            return;
        };
        let tasks = control.tasks().clone();
        tasks.spawn(async move {
            let outcome = renew(&control, &order).await;
            landing.land(outcome, control.now());
        });
    }
}

async fn renew(control: &Control, order: &RenewalOrder) -> Result<(), RenewalFault> {
    if let Some(outcome) = control.lend(order).await {
        return outcome;
    }
    oauth::refresh(control, order).await
}

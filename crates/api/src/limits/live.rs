//! [`Live`]: the limits that count at this moment.

use std::sync::{Arc, Mutex, PoisonError};

use agent_vault_control::{Control, EffectiveLimits};

use super::{Limits, RateLimits};

/// Limits that follow the settings of the instance, or that never change.
#[derive(Debug)]
pub(crate) struct Live {
    /// Whose settings to follow.
    follows: Option<Control>,
    /// What was seen last, and the limits made from it. Held for a comparison of two pointers, and for making limits when a
    /// setting has changed.
    last: Mutex<(Option<Arc<EffectiveLimits>>, Arc<Limits>)>,
}

impl Live {
    /// Limits that never change.
    pub(crate) fn fixed(settings: &RateLimits) -> Self {
        Self {
            follows: None,
            last: Mutex::new((None, Arc::new(Limits::new(settings)))),
        }
    }

    /// Limits that are always those of `control`.
    pub(crate) fn following(control: &Control) -> Self {
        let now = control.limits();
        let limits = Arc::new(Limits::new(&now.limits));
        Self {
            follows: Some(control.clone()),
            last: Mutex::new((Some(now), limits)),
        }
    }

    /// The limits that count now.
    pub(crate) fn now(&self) -> Arc<Limits> {
        let now = self.follows.as_ref().map(Control::limits);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = now
            && last.0.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &now))
        {
            let limits = Arc::new(last.1.changed(&now.limits));
            *last = (Some(now), limits);
        }
        Arc::clone(&last.1)
    }
}

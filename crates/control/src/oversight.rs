//! What concerns the whole instance: whether its database answers, and who may see how it does.

use crate::Control;
use crate::access::{self, InstanceOwner};
use crate::actor::Actor;
use crate::error::ControlError;

impl Control {
    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), ControlError> {
        Ok(self.store().ping().await?)
    }

    /// Whether `actor` may see how the whole instance does, over all vaults.
    ///
    /// # Errors
    /// Below instance owner; when the database cannot be read.
    pub async fn may_oversee(&self, actor: &Actor) -> Result<(), ControlError> {
        let mut rows = self.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        Ok(())
    }
}

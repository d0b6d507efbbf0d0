//! The task that removes what has run out: codes, device logins, consents, invitations, accounts that nobody confirmed, proposals.
//!
//! All of it is refused on the moment it runs out; this gives the space back, and frees an address that somebody registered and
//! never confirmed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Control;
use crate::error::ControlError;
use crate::webhooks;

/// Time between two sweeps; the first is at the start.
const INTERVAL: Duration = Duration::from_mins(15);
/// Time between two looks for proposals that have run out: those who wait for one are told soon.
const PROPOSALS_INTERVAL: Duration = Duration::from_mins(1);
/// How long an invitation stays in lists after its end.
const INVITES_SHOWN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a proposal stays in lists after its end.
const PROPOSALS_SHOWN: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long an account waits to be confirmed.
const UNCONFIRMED_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Rows that one purge removes; a sweep purges until fewer are left.
const PURGE_BATCH: u64 = 1000;
/// Purges of each kind in one sweep.
const MAX_PURGES: usize = 100;

impl Control {
    /// Removes what has run out, at once and every 15 minutes, until cancelled. A sweep that fails is reported and tried again at
    /// the next turn.
    pub async fn keep_people(&self, cancelled: CancellationToken) {
        let mut turns = tokio::time::interval(INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut proposals = tokio::time::interval(PROPOSALS_INTERVAL);
        proposals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let all = tokio::select! {
                () = cancelled.cancelled() => return,
                _ = turns.tick() => true,
                _ = proposals.tick() => false,
            };
            let sweep = async {
                if all {
                    self.sweep_people().await
                } else {
                    self.expire_proposals().await
                }
            };
            tokio::select! {
                () = cancelled.cancelled() => return,
                swept = sweep => if let Err(error) = swept {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "removing what has run out failed"
                    );
                },
            }
        }
    }

    /// One sweep.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn sweep_people(&self) -> Result<(), ControlError> {
        let now = self.now();
        let store = self.store();
        for _ in 0..MAX_PURGES {
            if store.purge_email_codes(now).await? < PURGE_BATCH {
                break;
            }
        }
        for _ in 0..MAX_PURGES {
            if store.purge_device_logins(now).await? < PURGE_BATCH {
                break;
            }
        }
        for _ in 0..MAX_PURGES {
            if store.purge_consents(now).await? < PURGE_BATCH {
                break;
            }
        }
        let shown = now.checked_sub(INVITES_SHOWN).unwrap_or(Timestamp::MIN);
        for _ in 0..MAX_PURGES {
            if store.purge_invites(shown).await? < PURGE_BATCH {
                break;
            }
        }
        self.expire_proposals().await?;
        self.forget_proposals(now).await?;
        self.give_up_deliveries(now).await?;
        self.drop_unconfirmed(now).await
    }

    /// Forgets proposals that ended long ago.
    async fn forget_proposals(&self, now: Timestamp) -> Result<(), ControlError> {
        let kept = now.checked_sub(PROPOSALS_SHOWN).unwrap_or(Timestamp::MIN);
        for _ in 0..MAX_PURGES {
            if self.store().purge_proposals(kept).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Gives up what has waited for webhooks for too long.
    async fn give_up_deliveries(&self, now: Timestamp) -> Result<(), ControlError> {
        let before = now
            .checked_sub(webhooks::FULL_AGE)
            .unwrap_or(Timestamp::MIN);
        for _ in 0..MAX_PURGES {
            if self.store().give_up_deliveries(before, now).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn drop_unconfirmed(&self, now: Timestamp) -> Result<(), ControlError> {
        let before = now.checked_sub(UNCONFIRMED_LIFE).unwrap_or(Timestamp::MIN);
        for user in self.store().unconfirmed_users(before).await? {
            let target = format!("user:{}", user.email);
            let mut write = self.begin_unattributed("user.unconfirmed", target).await?;
            // Read again: it may have been confirmed in the meantime.
            let outcome = match write.tx().user(user.id).await {
                Ok(Some(user)) if !user.is_active => match write.tx().delete_user(user.id).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Ok(_) => Err(ControlError::not_found("it was confirmed")),
                Err(error) => Err(error.into()),
            };
            match write.finish(outcome).await {
                Err(error) if error.kind() != crate::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

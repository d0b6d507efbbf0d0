//! Sending what waits: one piece at a time to each endpoint, signed, tried again with growing pauses, and parked endpoints.
//!
//! | an attempt | what follows |
//! |---|---|
//! | is answered with 2xx | done |
//! | is answered with 410 | given up, the endpoint is parked |
//! | fails otherwise | another one after [`DELAYS`], up to ten in all |
//! | is one of many that failed | the endpoint is parked: [`PARK_AFTER`] in a row over [`PARK_SPAN`] or longer |
//! | is broken off by our end | made again by whoever serves next |

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_seal::{SecretBytes, fill};
use agent_vault_store::{
    AttemptEnd, ClaimedDelivery, NextAttempt, ParkingRule, StoreError, WebhookSecret,
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{WebhookUrl, signature};
use crate::Control;
use crate::error::ControlError;

/// Longest time between two looks at the queue, in which other processes may have put something.
const POLL: Duration = Duration::from_secs(5);
/// Longest that one attempt may take, from the name of the host to the last byte of the answer.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// How long an endpoint is ours while we send to it; when this process dies, others wait that long.
const LEASE: SignedDuration = SignedDuration::from_secs(15);
/// Endpoints that are sent to at one time.
const MAX_AT_ONCE: usize = 16;
/// Pauses before the second attempt and those after it, in seconds, each a fifth longer or shorter by chance.
const DELAYS: [i64; 9] = [5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600];
/// Longest pause that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Failures in a row before an endpoint is parked, if they span [`PARK_SPAN`].
const PARK_AFTER: u32 = 20;
/// Time between the first of these failures and the last.
const PARK_SPAN: SignedDuration = SignedDuration::from_hours(1);
/// What has waited this long is given up.
pub(crate) const FULL_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Longest reason that is kept, in characters.
const MAX_ERROR_CHARS: usize = 300;

/// One signed event on its way to an endpoint, in the form of Standard Webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The endpoint's id: what keeps its connections apart from others'.
    pub endpoint: Uuid,
    /// Where it is.
    pub url: WebhookUrl,
    /// `webhook-id`: the event, the same on each attempt.
    pub id: String,
    /// `webhook-timestamp`: when this attempt was made, in seconds since the Unix epoch.
    pub timestamp: i64,
    /// `webhook-signature`: one for each secret that counts.
    pub signature: String,
    /// JSON.
    pub body: String,
}

/// What an endpoint answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The status.
    pub status: u16,
    /// How long it wants us to wait.
    pub retry_after: Option<Duration>,
}

/// A parcel on its way. The error is for the people who keep the endpoint.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Receipt, String>> + Send + 'a>>;

/// What takes parcels to endpoints: over verified TLS, to permitted addresses only, following no redirect.
pub trait Courier: Send + Sync {
    /// Sends one parcel, once.
    fn deliver(&self, parcel: Parcel) -> Delivering<'_>;
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tried {
    answer: Option<u16>,
    /// Empty when the endpoint took it.
    error: String,
    retry_after: Duration,
}

impl Tried {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            answer: None,
            error: error.into().chars().take(MAX_ERROR_CHARS).collect(),
            retry_after: Duration::ZERO,
        }
    }

    fn answered(receipt: Receipt) -> Self {
        let error = match receipt.status {
            200..=299 => String::new(),
            300..=399 => format!("it answered {}: redirects are not followed", receipt.status),
            410 => "it answered 410: it is gone".to_owned(),
            status => format!("it answered {status}"),
        };
        Self {
            answer: Some(receipt.status),
            error,
            retry_after: receipt.retry_after.unwrap_or_default(),
        }
    }

    fn is_taken(&self) -> bool {
        self.error.is_empty()
    }

    /// What follows the attempt with this number.
    fn next(&self, attempts: u32, now: Timestamp) -> NextAttempt {
        if self.is_taken() {
            return NextAttempt::Delivered;
        }
        let delay = DELAYS.get(attempts.saturating_sub(1) as usize);
        match delay {
            Some(seconds) if self.answer != Some(410) => {
                let asked = self.retry_after.min(MAX_RETRY_AFTER);
                let pause = jittered(*seconds)
                    .max(SignedDuration::try_from(asked).unwrap_or(SignedDuration::ZERO));
                NextAttempt::Again(now.checked_add(pause).unwrap_or(Timestamp::MAX))
            }
            Some(_) | None => NextAttempt::Never,
        }
    }

    fn parking(&self, now: Timestamp) -> ParkingRule {
        if self.answer == Some(410) {
            ParkingRule::Now
        } else {
            let first = now.checked_sub(PARK_SPAN).unwrap_or(Timestamp::MIN);
            ParkingRule::After(PARK_AFTER, first)
        }
    }
}

/// Between four and six fifths of `seconds`, so that what failed together does not come back together.
fn jittered(seconds: i64) -> SignedDuration {
    let mut byte = [128];
    // Without randomness there is no jitter, which does no harm.
    fill(&mut byte).unwrap_or_default();
    let millis = seconds.saturating_mul(1000);
    let share = i64::from(byte[0]) * 2 * millis / (5 * 255);
    SignedDuration::from_millis(millis * 4 / 5 + share)
}

impl Control {
    /// Sends what waits for webhooks until cancelled. What is on its way then is broken off, and made again by whoever serves next.
    pub async fn keep_webhooks(&self, courier: Arc<dyn Courier>, cancelled: CancellationToken) {
        let mut sending: JoinSet<(i64, Tried)> = JoinSet::new();
        let mut claimed: HashMap<i64, ClaimedDelivery> = HashMap::new();
        loop {
            let wait = match self.begin_due(&courier, &mut sending, &mut claimed).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what waits for webhooks cannot be read"
                    );
                    POLL
                }
            };
            tokio::select! {
                biased;
                () = cancelled.cancelled() => break,
                Some(Ok((seq, tried))) = sending.join_next() => {
                    if let Some(delivery) = claimed.remove(&seq) {
                        self.end(&delivery, &tried).await;
                    }
                }
                () = self.hooks().woken() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // What was taken just now is not sent again.
        while let Some(Ok((seq, tried))) = sending.try_join_next() {
            if tried.is_taken()
                && let Some(delivery) = claimed.remove(&seq)
            {
                self.end(&delivery, &tried).await;
            }
        }
        sending.shutdown().await;
        let broken: Vec<(i64, Uuid)> = claimed
            .values()
            .map(|delivery| (delivery.seq, delivery.webhook_id))
            .collect();
        if let Err(error) = self.store().release_deliveries(&broken).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was on its way to webhooks is sent again later"
            );
        }
    }

    /// Begins what is due, and says how long there is nothing else to begin.
    async fn begin_due(
        &self,
        courier: &Arc<dyn Courier>,
        sending: &mut JoinSet<(i64, Tried)>,
        claimed: &mut HashMap<i64, ClaimedDelivery>,
    ) -> Result<Duration, ControlError> {
        self.queue_notices().await?;
        let room = MAX_AT_ONCE.saturating_sub(sending.len());
        if room == 0 {
            return Ok(POLL);
        }
        let Some(due) = self.store().next_delivery().await? else {
            return Ok(POLL);
        };
        let now = self.now();
        if due > now {
            let wait = Duration::try_from(due.duration_since(now)).unwrap_or(POLL);
            return Ok(wait.min(POLL));
        }
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        for delivery in self.store().claim_deliveries(now, LEASE, room).await? {
            let (control, courier) = (self.clone(), Arc::clone(courier));
            let seq = delivery.seq;
            claimed.insert(seq, delivery.clone());
            sending.spawn(async move { (seq, control.attempt(&*courier, &delivery).await) });
        }
        // There may be more.
        Ok(Duration::from_millis(20))
    }

    /// Makes one attempt at all that is due now, and waits for the outcome; answers how many there were.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn deliver_due(&self, courier: &Arc<dyn Courier>) -> Result<usize, ControlError> {
        self.queue_notices().await?;
        let most = u32::try_from(MAX_AT_ONCE).unwrap_or(u32::MAX);
        let due = self
            .store()
            .claim_deliveries(self.now(), LEASE, most)
            .await?;
        for delivery in &due {
            let tried = self.attempt(&**courier, delivery).await;
            self.end(delivery, &tried).await;
        }
        Ok(due.len())
    }

    async fn attempt(&self, courier: &dyn Courier, delivery: &ClaimedDelivery) -> Tried {
        let parcel = match self.parcel(delivery).await {
            Ok(parcel) => parcel,
            Err(why) => return Tried::failed(why),
        };
        match tokio::time::timeout(ATTEMPT_TIME, courier.deliver(parcel)).await {
            Ok(Ok(receipt)) => Tried::answered(receipt),
            Ok(Err(why)) => Tried::failed(why),
            Err(_) => Tried::failed(format!(
                "it did not answer within {} s",
                ATTEMPT_TIME.as_secs()
            )),
        }
    }

    async fn parcel(&self, delivery: &ClaimedDelivery) -> Result<Parcel, String> {
        let url = WebhookUrl::parse(&delivery.url).map_err(|error| error.to_string())?;
        let timestamp = self.now().as_second();
        let mut message = format!("{}.{timestamp}.", delivery.event_id).into_bytes();
        message.extend_from_slice(delivery.payload.as_bytes());
        let secrets = self
            .secrets(delivery)
            .await
            .map_err(|error| error.to_string())?;
        if secrets.is_empty() {
            return Err("no signing secret opens: rotate it".to_owned());
        }
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| signature(secret, &message))
            .collect();
        Ok(Parcel {
            endpoint: delivery.webhook_id,
            url,
            id: delivery.event_id.clone(),
            timestamp,
            signature: signatures.join(" "),
            body: delivery.payload.clone(),
        })
    }

    /// The secrets that sign now, the newest first.
    async fn secrets(&self, delivery: &ClaimedDelivery) -> Result<Vec<SecretBytes>, StoreError> {
        let now = self.now();
        let (vault, id) = (
            delivery.vault_id.map(|id| id.to_string()),
            delivery.webhook_id.to_string(),
        );
        let mut secrets = Vec::new();
        for secret in self.store().webhook_secrets(delivery.webhook_id).await? {
            if secret.expires_at.is_some_and(|end| end <= now) {
                continue;
            }
            let context = WebhookSecret::seal_context(vault.as_deref(), &id, secret.version);
            match self.keyring().open(&context, &secret.sealed) {
                Ok(opened) => secrets.push(opened),
                Err(error) => tracing::warn!(
                    webhook = id,
                    version = secret.version,
                    %error,
                    "a signing secret does not open"
                ),
            }
        }
        Ok(secrets)
    }

    async fn end(&self, delivery: &ClaimedDelivery, tried: &Tried) {
        let now = self.now();
        if !tried.is_taken() {
            tracing::info!(
                webhook = %delivery.webhook_id,
                event = delivery.event_id,
                attempt = delivery.attempts,
                error = tried.error,
                "a webhook was not delivered"
            );
        }
        let end = AttemptEnd {
            seq: delivery.seq,
            webhook_id: delivery.webhook_id,
            at: now,
            answer: tried.answer,
            error: &tried.error,
            next: tried.next(delivery.attempts, now),
            parking: tried.parking(now),
        };
        let ended = match self.store().end_attempt(&end).await {
            Ok(true) => self.note_parked(delivery, &tried.error).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the outcome of a delivery to a webhook cannot be recorded"
            );
        }
    }

    async fn note_parked(
        &self,
        delivery: &ClaimedDelivery,
        reason: &str,
    ) -> Result<(), ControlError> {
        tracing::warn!(webhook = %delivery.webhook_id, reason, "a webhook is parked");
        let target = match delivery.vault_id {
            None => "instance".to_owned(),
            Some(id) => match self.store().vault(id).await? {
                Some(vault) => format!("vault:{}", vault.name),
                None => return Ok(()),
            },
        };
        let mut write = self.begin_unattributed("webhook.park", target).await?;
        write.note("webhook", delivery.webhook_id.to_string());
        write.note("reason", reason);
        write.finish(Ok(())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Tried {
        Tried::answered(Receipt {
            status,
            retry_after: None,
        })
    }

    #[test]
    fn what_follows_an_attempt() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(answered(204).next(1, now), NextAttempt::Delivered);
        assert_eq!(answered(410).next(1, now), NextAttempt::Never);
        for (attempt, seconds) in (1..).zip(DELAYS) {
            for failed in [answered(500), answered(302), Tried::failed("reset")] {
                let NextAttempt::Again(next) = failed.next(attempt, now) else {
                    panic!("{failed:?} is not tried again after attempt {attempt}");
                };
                let pause = next.as_millisecond();
                assert!((seconds * 800..=seconds * 1200).contains(&pause), "{pause}");
            }
        }
        assert_eq!(answered(500).next(10, now), NextAttempt::Never);
    }

    #[test]
    fn an_answer_may_ask_for_a_pause_within_bounds() {
        let asks = |seconds| Tried {
            retry_after: Duration::from_secs(seconds),
            ..answered(503)
        };
        let next = |seconds| match asks(seconds).next(1, Timestamp::UNIX_EPOCH) {
            NextAttempt::Again(next) => next.as_second(),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(100), 100);
        assert_eq!(next(u64::MAX), 3600);
        assert!(next(1) >= 4);
    }
}

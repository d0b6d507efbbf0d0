//! What is to be said to endpoints: a persistent, bounded queue, and the record of what became of each piece.
//!
//! An event is written once for each endpoint that wants it. A process that is about to send *claims* the endpoint for a while: no
//! other sends to it meanwhile, and when the process dies the claim runs out and the piece is sent again. So each arrives at least
//! once, as long as it does not age out.

use jiff::{SignedDuration, Timestamp};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{BEGIN_WRITE, Connection, Row};
use crate::row::{self, Columns};
use crate::{Store, StoreError, Tx};

/// What may wait for one endpoint. Beyond it events are counted and left out.
pub const MAX_WAITING_DELIVERIES: u32 = 1000;
/// What is kept of one endpoint's past.
pub const MAX_KEPT_DELIVERIES: u32 = 100;
/// Rows that one sweep ends, so that it never holds the writer for long.
const SWEEP_BATCH: i64 = 500;

words! {
    /// What became of an event for one endpoint.
    DeliveryStatus("delivery status") {
        /// It is still to be sent.
        Pending = "pending",
        /// The endpoint took it.
        Delivered = "delivered",
        /// It was given up.
        Failed = "failed",
    }
}

/// Something that happened, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedEvent {
    /// Its id: the same for every endpoint and every attempt.
    pub id: String,
    /// Its name.
    pub event: &'static str,
    /// The vault that it is about.
    pub vault_id: Option<Uuid>,
    /// The only endpoint that is told; `None` for all that want it.
    pub only: Option<Uuid>,
    /// What it is about.
    pub subject: String,
    /// An endpoint that was told of the same subject less than this long ago is not told again.
    pub quiet: Option<SignedDuration>,
    /// What is sent.
    pub payload: String,
    /// When it happened.
    pub at: Timestamp,
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub seq: i64,
    /// The event's id.
    pub event_id: String,
    /// The event's name.
    pub event: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// Attempts that were begun.
    pub attempts: u32,
    /// When the next attempt is due, while it is pending.
    pub next_at: Option<Timestamp>,
    /// Status of the last answer.
    pub answer: Option<u16>,
    /// Why the last attempt failed; empty when it did not.
    pub last_error: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// When it was taken or given up.
    pub ended_at: Option<Timestamp>,
}

/// One event that is to be sent now, by whoever claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Its number.
    pub seq: i64,
    /// The endpoint.
    pub webhook_id: Uuid,
    /// The endpoint's vault; `None` for one of the instance.
    pub vault_id: Option<Uuid>,
    /// Where the endpoint is.
    pub url: String,
    /// The event's id.
    pub event_id: String,
    /// What is sent.
    pub payload: String,
    /// Attempts, this one included.
    pub attempts: u32,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// Nothing: the endpoint took it.
    Delivered,
    /// Another one.
    Again(Timestamp),
    /// Nothing: it is given up.
    Never,
}

/// When an endpoint is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkingRule {
    /// After this many failures in a row, if the first of them was at this time or before.
    After(u32, Timestamp),
    /// At once: it says that it is gone.
    Now,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd<'a> {
    /// The delivery.
    pub seq: i64,
    /// The endpoint.
    pub webhook_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Status of the answer, if there was one.
    pub answer: Option<u16>,
    /// Why it failed; empty when it did not.
    pub error: &'a str,
    /// What follows.
    pub next: NextAttempt,
    /// When a failure parks the endpoint.
    pub parking: ParkingRule,
}

fn read(row: &Row) -> Result<Delivery, StoreError> {
    let status: DeliveryStatus = row.word("status")?;
    let answer = row.opt_int("answer")?.map(u16::try_from).transpose();
    Ok(Delivery {
        seq: row.int("seq")?,
        event_id: row.text("event_id")?,
        event: row.text("event")?,
        status,
        attempts: row.uint("attempts")?,
        next_at: (status == DeliveryStatus::Pending)
            .then(|| row.time("next_at"))
            .transpose()?,
        answer: answer.map_err(|_| row::unreadable("answer"))?,
        last_error: row.text("last_error")?,
        created_at: row.time("created_at")?,
        ended_at: row.opt_time("ended_at")?,
    })
}

async fn webhook_deliveries(
    connection: &mut Connection,
    webhook_id: Uuid,
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query(
        "select seq, event_id, event, status, attempts, next_at, answer, last_error, created_at, ended_at
         from webhook_deliveries where webhook_id = $1 order by seq desc limit $2",
    )
    .bind(webhook_id.to_string())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

reads! {
    /// What was and is to be sent to an endpoint, newest first.
    webhook_deliveries(webhook_id: Uuid, limit: u32) -> Vec<Delivery>;
}

/// Endpoints that are told of event `$1` in vault `$2`, `$3` alone if that is not empty, and were not told of subject `$4` since
/// `$5`. One that is off hears nothing, unless it is named.
const LISTENERS: &str = "(($3 <> '' and w.id = $3)
      or ($3 = '' and w.state <> 'off' and (w.vault_id is null or w.vault_id = $2)
          and (w.events = '' or w.events like '%,' || $1 || ',%')))
    and not exists (select 1 from webhook_deliveries d
        where d.webhook_id = w.id and d.subject = $4 and d.created_at > $5)";

async fn queue(connection: &mut Connection, event: &QueuedEvent) -> Result<u64, StoreError> {
    let vault = event.vault_id.map(|id| id.to_string()).unwrap_or_default();
    let only = event.only.map(|id| id.to_string()).unwrap_or_default();
    // Without a quiet time nothing lies after the end of all times.
    let since = event.quiet.map_or(i64::MAX, |quiet| {
        event
            .at
            .checked_sub(quiet)
            .unwrap_or(Timestamp::MIN)
            .as_millisecond()
    });
    let waiting = "(select count(*) from webhook_deliveries d where d.webhook_id = w.id and d.status = 'pending')";
    let full = format!(
        "update webhooks as w set dropped = dropped + 1 where {LISTENERS} and {waiting} >= {MAX_WAITING_DELIVERIES}"
    );
    let insert = format!(
        "insert into webhook_deliveries (webhook_id, event_id, event, subject, payload, status, next_at, created_at)
         select w.id, $6, $1, $4, $7, 'pending', $8, $8 from webhooks w
         where {LISTENERS} and {waiting} < {MAX_WAITING_DELIVERIES}"
    );
    sqlx::query(sqlx::AssertSqlSafe(full))
        .bind(event.event)
        .bind(&vault)
        .bind(&only)
        .bind(&event.subject)
        .bind(since)
        .execute(&mut *connection)
        .await?;
    let queued = sqlx::query(sqlx::AssertSqlSafe(insert))
        .bind(event.event)
        .bind(&vault)
        .bind(&only)
        .bind(&event.subject)
        .bind(since)
        .bind(&event.id)
        .bind(&event.payload)
        .bind(event.at.as_millisecond())
        .execute(connection)
        .await?;
    Ok(queued.rows_affected())
}

impl Tx {
    /// Queues an event with whatever else the transaction does: it is told of if and only if that is committed. Answers for how
    /// many endpoints.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn queue_event(&mut self, event: &QueuedEvent) -> Result<u64, StoreError> {
        queue(self.connection(), event).await
    }
}

impl Store {
    /// Queues an event that is no management action. Answers for how many endpoints.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn queue_event(&self, event: &QueuedEvent) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(BEGIN_WRITE).await?;
        let queued = queue(&mut transaction, event).await?;
        transaction.commit().await?;
        Ok(queued)
    }

    /// Claims up to `limit` deliveries that are due, one for each endpoint that nobody is sending to, and counts the attempt. The
    /// claims run out after `lease`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(BEGIN_WRITE).await?;
        let rows = sqlx::query(
            "select d.seq, d.webhook_id, w.vault_id, w.url, d.event_id, d.payload, d.attempts from webhook_deliveries d
             join (select d.webhook_id, min(d.seq) as first from webhook_deliveries d
                   join webhooks w on w.id = d.webhook_id
                   where d.status = 'pending' and d.next_at <= $1 and w.busy_until <= $1 and w.state = 'active'
                   group by d.webhook_id order by min(d.next_at) limit $2) due on due.first = d.seq
             join webhooks w on w.id = d.webhook_id order by d.next_at, d.seq",
        )
        .bind(now.as_millisecond())
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
        let claimed = row::all(rows, |row| {
            Ok(ClaimedDelivery {
                seq: row.int("seq")?,
                webhook_id: row.id("webhook_id")?,
                vault_id: row.opt_id("vault_id")?,
                url: row.text("url")?,
                event_id: row.text("event_id")?,
                payload: row.text("payload")?,
                attempts: row.uint("attempts")?.saturating_add(1),
            })
        })?;
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX);
        for delivery in &claimed {
            sqlx::query("update webhooks set busy_until = $2 where id = $1")
                .bind(delivery.webhook_id.to_string())
                .bind(until.as_millisecond())
                .execute(&mut *transaction)
                .await?;
            sqlx::query("update webhook_deliveries set attempts = attempts + 1 where seq = $1")
                .bind(delivery.seq)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Gives claims back whose attempts were broken off: they do not count, and are due at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then they run out.
    pub async fn release_deliveries(&self, claimed: &[(i64, Uuid)]) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(BEGIN_WRITE).await?;
        for (seq, webhook_id) in claimed {
            sqlx::query(
                "update webhook_deliveries set attempts = attempts - 1 where seq = $1 and status = 'pending' and attempts > 0",
            )
            .bind(seq)
            .execute(&mut *transaction)
            .await?;
            sqlx::query("update webhooks set busy_until = 0 where id = $1")
                .bind(webhook_id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Records how an attempt ended, gives its claim back, and forgets what lies further back than [`MAX_KEPT_DELIVERIES`].
    /// Answers whether the endpoint is parked by it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then the claim runs out, and the attempt is made again.
    pub async fn end_attempt(&self, end: &AttemptEnd<'_>) -> Result<bool, StoreError> {
        let at = end.at.as_millisecond();
        let (status, next_at, ended_at) = match end.next {
            NextAttempt::Delivered => ("delivered", at, Some(at)),
            NextAttempt::Again(next) => ("pending", next.as_millisecond(), None),
            NextAttempt::Never => ("failed", at, Some(at)),
        };
        let webhook = end.webhook_id.to_string();
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(BEGIN_WRITE).await?;
        sqlx::query(
            "update webhook_deliveries set status = $2, next_at = $3, ended_at = $4, answer = $5, last_error = $6
             where seq = $1 and status = 'pending'",
        )
        .bind(end.seq)
        .bind(status)
        .bind(next_at)
        .bind(ended_at)
        .bind(end.answer.map(i64::from))
        .bind(end.error)
        .execute(&mut *transaction)
        .await?;
        let parked = if end.next == NextAttempt::Delivered {
            sqlx::query(
                "update webhooks set busy_until = 0, failures = 0, failing_since = null, last_error = '', delivered_at = $2
                 where id = $1",
            )
            .bind(&webhook)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
            false
        } else {
            sqlx::query(
                "update webhooks set busy_until = 0, failures = failures + 1, failing_since = coalesce(failing_since, $2),
                     last_error = $3 where id = $1",
            )
            .bind(&webhook)
            .bind(at)
            .bind(end.error)
            .execute(&mut *transaction)
            .await?;
            let (failures, since) = match end.parking {
                ParkingRule::After(failures, since) => (failures, since),
                ParkingRule::Now => (1, Timestamp::MAX),
            };
            let parked = sqlx::query(
                "update webhooks set state = 'parked', parked_at = $2
                 where id = $1 and state = 'active' and failures >= $3 and failing_since <= $4",
            )
            .bind(&webhook)
            .bind(at)
            .bind(i64::from(failures))
            .bind(since.as_millisecond())
            .execute(&mut *transaction)
            .await?;
            parked.rows_affected() > 0
        };
        sqlx::query(
            "delete from webhook_deliveries where webhook_id = $1 and status <> 'pending' and seq <= (
                 select seq from webhook_deliveries where webhook_id = $1 and status <> 'pending'
                 order by seq desc limit 1 offset $2)",
        )
        .bind(&webhook)
        .bind(i64::from(MAX_KEPT_DELIVERIES))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(parked)
    }

    /// When something is due next, for endpoints that are on; `None` when nothing waits.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut connection = self.reader().await?;
        let row = sqlx::query(
            "select min(case when w.busy_until > d.next_at then w.busy_until else d.next_at end) as due
             from webhook_deliveries d join webhooks w on w.id = d.webhook_id
             where d.status = 'pending' and w.state = 'active'",
        )
        .fetch_one(&mut *connection)
        .await?;
        row.opt_time("due")
    }

    /// Gives up up to 500 deliveries that have waited since before `before`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn give_up_deliveries(
        &self,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let ended = sqlx::query(
            "update webhook_deliveries set status = 'failed', ended_at = $2, last_error = 'it waited too long'
             where seq in (select seq from webhook_deliveries where status = 'pending' and created_at < $1 limit $3)",
        )
        .bind(before.as_millisecond())
        .bind(now.as_millisecond())
        .bind(SWEEP_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(ended.rows_affected())
    }
}

//! The request log: written in batches by the proxy's journal, read by members of the vault.

use agent_vault_policy::Host;
use agent_vault_store::{DiscoveredHost, LogAppend, LogCursor, LogEntry, LogPage, LogQuery};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Control;
use crate::access::{self, AnyRole, Member, VaultRef};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::services;

/// Actions on the request log.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'c>(pub(crate) &'c Control);

/// Hosts that agents asked for and no service covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredHosts {
    /// Last seen first, as many as were asked for.
    pub hosts: Vec<DiscoveredHost>,
    /// How many there are.
    pub total: usize,
}

/// Appends finished requests. Cheap to clone; made with [`Control::log_writer`].
#[derive(Clone)]
pub struct LogWriter(Control);

impl LogWriter {
    /// Appends rows; one whose vault is gone is left out, the others are kept. Answers how many were stored.
    ///
    /// # Errors
    /// When the database cannot be written; then none of a statement's rows are stored.
    pub async fn write(&self, rows: &[LogAppend<'_>]) -> Result<usize, ControlError> {
        let kept = self.0.store().append_logs(rows).await?;
        self.0.hooks().look(rows);
        if kept > 0 {
            self.0
                .log_news()
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(kept)
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogWriter")
    }
}

impl Control {
    /// What appends finished requests to the log.
    #[must_use]
    pub fn log_writer(&self) -> LogWriter {
        LogWriter(self.clone())
    }
}

impl Logs<'_> {
    /// A page of a vault's log. `shape` is given the vault's id and says which rows. Whoever has a role in the vault may
    /// read the rows of the very token that asks, so that a run can tell what became of its requests.
    ///
    /// # Errors
    /// Below vault member, for anybody else's rows.
    pub async fn page(
        &self,
        actor: &Actor,
        vault: &str,
        shape: impl FnOnce(Uuid) -> LogQuery,
    ) -> Result<LogPage, ControlError> {
        let mut rows = self.0.store().clone();
        let own = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        let query = LogQuery {
            vault_id: own.id(),
            ..shape(own.id())
        };
        if query.session.is_none() || query.session.as_deref() != actor.session() {
            access::vault::<Member>(&mut rows, actor, VaultRef::Named(vault)).await?;
        }
        Ok(rows.log_page(&query).await?)
    }

    /// The next rows after `query`'s cursor, the oldest first, and the number to go on from, which is higher also when rows in
    /// between did not fit. Checks again that the actor's token and its right still stand, so that whoever follows the log for
    /// long stops with them.
    ///
    /// # Errors
    /// As [`Logs::page`]; `Unauthenticated` once the token has ended.
    pub async fn next(
        &self,
        actor: &Actor,
        vault: &str,
        query: &LogQuery,
        after: i64,
    ) -> Result<(Vec<LogEntry>, i64), ControlError> {
        self.0.sessions().check(actor).await?;
        // Read first: what is appended meanwhile is met by the page or by the next call.
        let head = self.0.store().log_head().await?;
        let mut page = self
            .page(actor, vault, |vault_id| LogQuery {
                vault_id,
                cursor: LogCursor::After(after),
                ..query.clone()
            })
            .await?;
        let full = page.logs.len() >= query.limit as usize;
        page.logs.reverse();
        let reached = if full {
            page.latest_id
        } else {
            page.latest_id.max(head)
        };
        Ok((page.logs, reached))
    }

    /// The number of the newest row: following from it shows what comes from now on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn head(&self) -> Result<i64, ControlError> {
        Ok(self.0.store().log_head().await?)
    }

    /// Changes when this process has appended rows.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.0.log_news().subscribe()
    }

    /// Hosts of requests that no service matched and that came to nothing, without those that a service covers by now.
    ///
    /// # Errors
    /// Below vault member.
    pub async fn discovered_hosts(
        &self,
        actor: &Actor,
        vault: &str,
        limit: usize,
    ) -> Result<DiscoveredHosts, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<Member>(&mut rows, actor, VaultRef::Named(vault)).await?;
        let services = services::stored(rows.services(access.id()).await?.map(|row| row.json))?;
        let mut hosts = rows.discovered_hosts(access.id()).await?;
        hosts.retain(|found| {
            let bare = found.host.trim_start_matches('[').trim_end_matches(']');
            Host::parse(bare)
                .is_ok_and(|host| !services.iter().any(|service| service.host.matches(&host)))
        });
        let total = hosts.len();
        hosts.truncate(limit);
        Ok(DiscoveredHosts { hosts, total })
    }
}

//! From the proxy's records to the store's rows.

use std::pin::Pin;

use agent_vault_broker::ActorKind;
use agent_vault_control::LogWriter;
use agent_vault_proxy::{LogRecord, LogSink};
use agent_vault_store::{ActorRef, LogRow};

/// Writes the request log.
pub(super) struct StoreSink(pub(super) LogWriter);

impl LogSink for StoreSink {
    fn write(
        &self,
        batch: Vec<LogRecord>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let rows: Vec<LogRow> = batch.into_iter().map(row).collect();
            self.0
                .write(rows)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
    }
}

fn row(record: LogRecord) -> LogRow {
    let (auth_scheme, auth_header) = record.client_auth.unwrap_or_default();
    LogRow {
        vault_id: record.vault,
        actor: record.actor.map(|(kind, id)| ActorRef {
            kind: match kind {
                ActorKind::User => agent_vault_store::ActorKind::User,
                ActorKind::Agent => agent_vault_store::ActorKind::Agent,
            },
            id,
        }),
        session_id: record.session.to_string(),
        label: record.label.as_deref().unwrap_or_default().to_owned(),
        ingress: String::from("mitm"),
        method: record.method.to_string(),
        host: record.host.to_string(),
        path: record.path,
        matched_service: record.service.as_deref().unwrap_or_default().to_owned(),
        credential_keys: record.keys.as_deref().unwrap_or_default().to_vec(),
        status: record.status,
        latency_ms: u32::try_from(record.latency.as_millis()).unwrap_or(u32::MAX),
        error_code: record.error_code.to_owned(),
        auth_scheme: auth_scheme.to_owned(),
        auth_header: auth_header.to_owned(),
        decision: record.decision.as_str().to_owned(),
        warnings: record.warnings,
        created_at: record.at,
    }
}

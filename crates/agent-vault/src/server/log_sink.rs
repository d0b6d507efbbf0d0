//! From the proxy's records to the store's rows.

use std::pin::Pin;

use agent_vault_broker::ActorKind;
use agent_vault_control::LogWriter;
use agent_vault_proxy::{LogRecord, LogSink};
use agent_vault_store::{ActorRef, LogAppend};

/// Writes the request log.
pub(super) struct StoreSink(pub(super) LogWriter);

impl LogSink for StoreSink {
    fn write(
        &self,
        batch: Vec<LogRecord>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let rows: Vec<LogAppend<'_>> = batch.iter().map(row).collect();
            self.0
                .write(&rows)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
    }
}

fn row(record: &LogRecord) -> LogAppend<'_> {
    let (auth_scheme, auth_header) = record.client_auth.unwrap_or_default();
    LogAppend {
        vault_id: record.vault,
        actor: record.actor.map(|(kind, id)| ActorRef {
            kind: match kind {
                ActorKind::User => agent_vault_store::ActorKind::User,
                ActorKind::Agent => agent_vault_store::ActorKind::Agent,
            },
            id,
        }),
        session_id: &record.session,
        label: record.label.as_deref().unwrap_or_default(),
        ingress: "mitm",
        method: record.method.as_str(),
        host: &record.host,
        path: &record.path,
        matched_service: record.service.as_deref().unwrap_or_default(),
        credential_keys: record.keys.as_deref().unwrap_or_default(),
        status: record.status,
        latency_ms: u32::try_from(record.latency.as_millis()).unwrap_or(u32::MAX),
        error_code: record.error_code,
        auth_scheme,
        auth_header,
        decision: record.decision.as_str(),
        warnings: &record.warnings,
        scrubs: record.scrubs,
        created_at: record.at,
    }
}

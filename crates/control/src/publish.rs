//! From rows to what the broker keeps.

use std::collections::{BTreeMap, HashMap};

use agent_vault_broker as broker;
use agent_vault_policy::{Auth, CredentialKey, Service, UnmatchedPolicy, ValidationOptions};
use agent_vault_seal::placeholder;
use agent_vault_store::{
    ActorKind, ActorRef, AgentImage, AgentStatus, Credential, CredentialImage, OAuthHealth,
    Session, SessionKind, Store, Tx, VaultImage, VaultRole,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::error::ControlError;
use crate::{oauth, settings, token_bounds};

/// Stored rules were validated when they were written; what was allowed then stays readable.
const STORED: ValidationOptions = ValidationOptions { dev_mode: true };

/// Reads a vault's stored services.
///
/// # Errors
/// When the stored text is damaged: then nothing may be brokered by it.
pub(crate) fn stored_services(json: &str) -> Result<Vec<Service>, String> {
    Service::list_from_json(json, &STORED).map_err(|error| error.to_string())
}

/// The stand-in for each brokered key that an agent's environment holds instead of the key.
///
/// A key that an enabled service injects gets a placeholder of its own, shaped like the real thing; one that is only substituted
/// keeps the placeholder that its service declares, since that is what is replaced.
pub(crate) fn placeholders(
    services: &[Service],
    instance_id: &[u8],
    vault: Uuid,
) -> BTreeMap<CredentialKey, String> {
    let vault = vault.to_string();
    let mut found = BTreeMap::new();
    for service in services.iter().filter(|service| service.enabled) {
        for substitution in &service.substitutions {
            found
                .entry(substitution.key.clone())
                .or_insert_with(|| substitution.placeholder.as_str().to_owned());
        }
    }
    for service in services.iter().filter(|service| service.enabled) {
        if matches!(service.auth, Auth::Passthrough) {
            continue;
        }
        for key in service.auth.keys() {
            found.insert(
                key.clone(),
                placeholder::for_key(instance_id, &vault, key.as_str()),
            );
        }
    }
    found
}

/// One vault, from the pieces that hold it.
pub(crate) fn vault(
    id: Uuid,
    name: String,
    services_json: &str,
    unmatched: UnmatchedPolicy,
    credentials: Vec<(String, broker::SealedCredential)>,
    instance_id: &[u8],
) -> broker::VaultRecord {
    let services = stored_services(services_json);
    if let Err(error) = &services {
        tracing::error!(
            vault = name,
            error,
            "the stored services cannot be read; the vault brokers nothing"
        );
    }
    let placeholders = services
        .as_ref()
        .map(|services| {
            placeholders(services, instance_id, id)
                .into_iter()
                .collect()
        })
        .unwrap_or_default();
    let credentials = credentials
        .into_iter()
        .filter_map(|(key, sealed)| match CredentialKey::parse(&key) {
            Ok(key) => Some((key, sealed)),
            Err(error) => {
                tracing::error!(
                    vault = name,
                    error = &error as &dyn std::error::Error,
                    "a stored key is malformed"
                );
                None
            }
        })
        .collect();
    broker::VaultRecord {
        id,
        name,
        services,
        unmatched,
        credentials,
        placeholders,
    }
}

/// Everything, and the version of the database that it shows.
pub(crate) async fn image(
    store: &Store,
    instance_id: &[u8],
    default: UnmatchedPolicy,
    now: Timestamp,
) -> Result<(broker::Image, i64), ControlError> {
    let image = store.image(now).await?;
    let mut names: Names = image
        .users
        .into_iter()
        .map(|(id, email)| (ActorRef::user(id), email))
        .collect();
    names.extend(
        image
            .agents
            .iter()
            .map(|agent| (ActorRef::agent(agent.id), agent.name.clone())),
    );
    let vaults = image.vaults.into_iter().map(|row| {
        let VaultImage {
            id,
            name,
            services_json,
            unmatched_policy,
            credentials,
        } = row;
        let unmatched = settings::unmatched(unmatched_policy.as_deref(), default);
        let credentials = credentials
            .into_iter()
            .map(
                |CredentialImage {
                     key,
                     version,
                     sealed,
                     expires_at,
                     updated_at,
                     oauth,
                     ..
                 }| {
                    let sealed = broker::SealedCredential {
                        sealed,
                        version,
                        expires_at,
                        oauth: oauth.map(|health| oauth_state(&health, updated_at)),
                    };
                    (key, sealed)
                },
            )
            .collect();
        vault(
            id,
            name,
            &services_json,
            unmatched,
            credentials,
            instance_id,
        )
    });
    let everything = broker::Image {
        vaults: vaults.collect(),
        agents: image.agents.into_iter().map(agent).collect(),
        sessions: image
            .sessions
            .into_iter()
            .filter_map(|row| session(row, &names))
            .collect(),
    };
    Ok((everything, image.version))
}

/// One vault as a transaction sees it.
pub(crate) async fn vault_record(
    tx: &mut Tx,
    id: Uuid,
    instance_id: &[u8],
    default: UnmatchedPolicy,
) -> Result<broker::VaultRecord, ControlError> {
    let gone = || ControlError::not_found("the vault is gone");
    let row = tx.vault(id).await?.ok_or_else(gone)?;
    let services = tx.services(id).await?.ok_or_else(gone)?;
    let unmatched = settings::unmatched(
        tx.vault_setting(id, settings::UNMATCHED_KEY)
            .await?
            .as_deref(),
        default,
    );
    let credentials = tx.credentials(id).await?.into_iter().map(sealed).collect();
    Ok(vault(
        id,
        row.name,
        &services.json,
        unmatched,
        credentials,
        instance_id,
    ))
}

fn sealed(credential: Credential) -> (String, broker::SealedCredential) {
    let Credential {
        key,
        sealed,
        version,
        expires_at,
        updated_at,
        oauth,
        ..
    } = credential;
    let sealed = broker::SealedCredential {
        sealed,
        version,
        expires_at,
        oauth: oauth.map(|health| oauth_state(&health, updated_at)),
    };
    (key, sealed)
}

fn oauth_state(health: &OAuthHealth, got: Timestamp) -> broker::OAuthState {
    broker::OAuthState {
        connected: health.connected,
        ends: health.token_expires_at,
        renew_from: health
            .token_expires_at
            .map(|ends| oauth::renew_from(got, ends)),
        renewable: health.renewable,
    }
}

/// One agent as a transaction sees it.
pub(crate) async fn agent_record(
    tx: &mut Tx,
    id: Uuid,
) -> Result<broker::AgentRecord, ControlError> {
    let row = tx
        .agent(id)
        .await?
        .ok_or_else(|| ControlError::not_found("the agent is gone"))?;
    let grants = tx
        .vaults_of(ActorRef::agent(id))
        .await?
        .into_iter()
        .map(|membership| (membership.vault.id, membership.role))
        .collect();
    Ok(agent(AgentImage {
        id,
        name: row.name,
        status: row.status,
        grants,
    }))
}

fn agent(row: AgentImage) -> broker::AgentRecord {
    broker::AgentRecord {
        id: row.id,
        name: row.name,
        active: row.status == AgentStatus::Active,
        grants: row
            .grants
            .into_iter()
            .map(|(vault, role)| (vault, vault_role(role)))
            .collect(),
    }
}

/// Names of actors by kind and id.
pub(crate) type Names = HashMap<ActorRef, String>;

/// One session; `None` for a row whose fields do not fit its kind, which opens nothing.
pub(crate) fn session(row: Session, names: &Names) -> Option<broker::SessionRecord> {
    let kind = match row.kind {
        SessionKind::User => broker::SessionKind::User,
        SessionKind::Agent => broker::SessionKind::Agent {
            agent: row.agent_id?,
        },
        SessionKind::Scoped => broker::SessionKind::Scoped {
            vault: row.vault_id?,
            role: vault_role(row.vault_role?),
            minted_by: row.created_by.map(|actor| broker::Actor {
                kind: match actor.kind {
                    ActorKind::User => broker::ActorKind::User,
                    ActorKind::Agent => broker::ActorKind::Agent,
                },
                id: actor.id,
                name: names
                    .get(&actor)
                    .map_or_else(|| actor.id.to_string(), Clone::clone)
                    .into(),
            }),
        },
    };
    let bounds = match token_bounds::stored(&row) {
        Ok(bounds) => bounds,
        Err(error) => {
            tracing::error!(session = row.public_id, %error, "the bounds of a token cannot be read; it opens nothing");
            return None;
        }
    };
    Some(broker::SessionRecord {
        bounds,
        token: row.hash,
        public_id: row.public_id,
        expires_at: row.expires_at,
        label: Some(row.label).filter(|label| !label.is_empty()),
        kind,
    })
}

/// The same role in the broker's words.
pub(crate) fn vault_role(role: VaultRole) -> broker::VaultRole {
    match role {
        VaultRole::Proxy => broker::VaultRole::Proxy,
        VaultRole::Member => broker::VaultRole::Member,
        VaultRole::Admin => broker::VaultRole::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(json: &str) -> Vec<Service> {
        stored_services(json).unwrap()
    }

    #[test]
    fn injected_keys_get_their_own_stand_in_and_substituted_ones_the_declared() {
        let services = services(
            r#"[{"name":"openai","host":"api.openai.com","auth":{"type":"bearer","token":"OPENAI_API_KEY"}},
                {"name":"telegram","host":"api.telegram.org","auth":{"type":"passthrough"},
                 "substitutions":[{"key":"TELEGRAM_BOT_TOKEN","placeholder":"__TELEGRAM__","in":["path"]},
                                  {"key":"OPENAI_API_KEY","placeholder":"__OPENAI__"}]},
                {"name":"off","host":"api.off.com","enabled":false,"auth":{"type":"bearer","token":"OFF_KEY"}}]"#,
        );
        let found = placeholders(&services, b"instance", Uuid::nil());
        let of = |key: &str| {
            found
                .get(&CredentialKey::parse(key).unwrap())
                .map(String::as_str)
        };
        assert_eq!(of("TELEGRAM_BOT_TOKEN"), Some("__TELEGRAM__"));
        assert!(of("OPENAI_API_KEY").unwrap().starts_with("sk-"));
        assert_eq!(of("OFF_KEY"), None);
        let other = placeholders(&services, b"instance", Uuid::from_u128(1));
        assert_ne!(found, other);
    }
}

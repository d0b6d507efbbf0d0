//! What an agent may know of its vault: services, key names, and the stand-ins for keys.

use agent_vault_policy::Service;
use agent_vault_store::VaultRole;

use crate::Control;
use crate::access::{self, AnyRole, VaultRef};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::publish;
use crate::services::{self, ServiceName};
use crate::token_bounds::{self, BoundsView};

/// What a vault brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Name of the vault.
    pub vault: String,
    /// Role of the one who asks.
    pub role: VaultRole,
    /// Public id of the token that asks; the local operator has none.
    pub session: Option<String>,
    /// Services in stored order, disabled ones too.
    pub services: Vec<ServiceName>,
    /// Names of the stored credentials.
    pub available_credentials: Vec<String>,
    /// What its external store makes on demand: names, or `<SECRET>_*` while the fields are not known.
    pub dynamic_credentials: Vec<String>,
    /// Names that enabled services use and the vault lacks.
    pub missing_credentials: Vec<String>,
    /// The stand-in for each brokered key, for an agent's environment.
    pub placeholders: Vec<(String, String)>,
    /// What the token that asks is confined to. Services and placeholders above are those that it may use.
    pub bounds: BoundsView,
}

/// Actions of an agent that looks around.
#[derive(Debug, Clone, Copy)]
pub struct Discovery<'c>(pub(crate) &'c Control);

impl Discovery<'_> {
    /// What a vault brokers.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn discover(
        &self,
        actor: &Actor,
        vault: VaultRef<'_>,
    ) -> Result<Discovered, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, vault).await?;
        let mut services = services::stored(rows.services(access.id()).await?.map(|row| row.json))?;
        let bounds = self.bounds(actor).await?;
        if let Some(names) = &bounds.services {
            services.retain(|service| names.iter().any(|name| *name == service.name.as_str()));
        }
        let dynamic = self.0.stores().dynamic(access.id()).await?;
        let mut available_credentials =
            rows.live_credential_keys(access.id(), self.0.now()).await?;
        for view in dynamic.iter().filter(|view| !view.key.ends_with('*')) {
            if !available_credentials.contains(&view.key) {
                available_credentials.push(view.key.clone());
            }
        }
        available_credentials.sort();
        let placeholders: Vec<(String, String)> =
            publish::placeholders(&services, self.0.instance_id(), access.id())
                .into_iter()
                .map(|(key, text)| (key.to_string(), text))
                .collect();
        let mut missing: Vec<String> = services
            .iter()
            .filter(|service| service.enabled)
            .flat_map(Service::keys)
            .map(|key| key.to_string())
            .filter(|key| !available_credentials.contains(key))
            .filter(|key| !self.0.stores().lends(access.id(), key))
            .collect();
        missing.sort();
        missing.dedup();
        Ok(Discovered {
            vault: access.vault().name.clone(),
            role: access.role(),
            session: actor.session().map(str::to_owned),
            services: services.iter().map(services::name_of).collect(),
            available_credentials,
            dynamic_credentials: dynamic.into_iter().map(|view| view.key).collect(),
            missing_credentials: missing,
            placeholders,
            bounds,
        })
    }

    async fn bounds(&self, actor: &Actor) -> Result<BoundsView, ControlError> {
        let Actor::Scoped(scoped) = actor else {
            return Ok(BoundsView::default());
        };
        let session = self
            .0
            .store()
            .session_with_public_id(&scoped.session)
            .await?;
        Ok(session.map_or_else(BoundsView::default, |session| {
            token_bounds::view(&session, self.0.broker().budget_left(&session.hash))
        }))
    }
}

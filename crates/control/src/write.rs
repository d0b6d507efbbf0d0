//! One management write, from its first read to the snapshot that shows it.
//!
//! [`Control::begin`] takes the gate and the database's writer; the action reads, checks and changes inside; [`Write::finish`]
//! commits with the audit record that was named at the start and publishes to the broker before it returns. A refusal rolls
//! everything back and is recorded too. There is no other way to change anything.
//!
//! [`Control::begin`]: crate::Control

use agent_vault_broker::{AgentRecord, SessionRecord, VaultRecord};
use agent_vault_seal::Keyring;
use agent_vault_store::{ActorRef, AuditActor, AuditEntry, AuditOutcome, Tx};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::Control;
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::publish;
use crate::source::source;

/// What the proxy must see once a write has been committed.
pub(crate) enum Publication {
    /// A vault with its rules, settings and credentials.
    Vault(Box<VaultRecord>),
    /// A vault that is gone.
    VaultGone(Uuid),
    /// An agent with its grants.
    Agent(AgentRecord),
    /// An agent that is gone.
    AgentGone(Uuid),
    /// A token that begins.
    Session(Box<SessionRecord>),
    /// Tokens that end.
    Sessions(Ended),
    /// Other data keys in the place of those that are in force, and everything anew.
    Keys(Keyring),
    /// Changes that are rare and wide: load everything again.
    Everything,
}

/// Which tokens end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One, by its public id.
    One(String),
    /// An agent's own.
    OfAgent(Uuid),
    /// Those that an actor minted, in one vault or in all.
    MintedBy(ActorRef, Option<Uuid>),
}

/// A write that has begun.
pub(crate) struct Write {
    control: Control,
    gate: OwnedMutexGuard<i64>,
    tx: Tx,
    entry: AuditEntry,
    publications: Vec<Publication>,
}

impl Control {
    /// Begins a write by `actor`. `action` is `noun.verb`; `target` names what it is about and may be anything that a client sent.
    pub(crate) async fn begin(
        &self,
        actor: &Actor,
        action: &'static str,
        target: impl Into<String>,
    ) -> Result<Write, ControlError> {
        let entry = self.audit_entry(actor, action, target.into());
        let gate = self.gate().await;
        let tx = self.store().begin().await?;
        Ok(Write {
            control: self.clone(),
            gate,
            tx,
            entry,
            publications: Vec::new(),
        })
    }

    /// Begins a write by somebody who is not known yet: a registration, a login. Attributed to the program unless
    /// [`Write::attribute_to_user`] says otherwise.
    pub(crate) async fn begin_unattributed(
        &self,
        action: &'static str,
        target: impl Into<String>,
    ) -> Result<Write, ControlError> {
        let entry = AuditEntry {
            source: source(),
            ..AuditEntry::system(action, target.into(), self.now())
        };
        let gate = self.gate().await;
        let tx = self.store().begin().await?;
        Ok(Write {
            control: self.clone(),
            gate,
            tx,
            entry,
            publications: Vec::new(),
        })
    }

    fn audit_entry(&self, actor: &Actor, action: &'static str, target: String) -> AuditEntry {
        let (actor_type, actor_id, actor_name) = match actor {
            Actor::User(user) => (AuditActor::User, user.id.to_string(), user.email.clone()),
            Actor::Agent(agent) => (AuditActor::Agent, agent.id.to_string(), agent.name.clone()),
            Actor::Scoped(scoped) => (
                AuditActor::Scoped,
                scoped.session.clone(),
                scoped.label.clone().unwrap_or_default(),
            ),
            Actor::LocalOperator => (AuditActor::Local, String::new(), String::new()),
        };
        AuditEntry {
            actor_type,
            actor_id,
            actor_name,
            source: source(),
            outcome: AuditOutcome::Done,
            action: action.to_owned(),
            target: target.chars().take(MAX_TARGET_CHARS).collect(),
            detail: Value::Object(Map::new()),
            at: self.now(),
        }
    }

    /// Passes on what a check has said that came before any write; what it refused is recorded as an attempt.
    pub(crate) async fn attempted<T>(
        &self,
        actor: &Actor,
        action: &'static str,
        target: &str,
        checked: Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        if let Err(refused) = &checked
            && is_of_importance(refused)
        {
            let entry = self.audit_entry(actor, action, target.to_owned());
            self.record_refused(entry, refused).await;
        }
        checked
    }

    /// Records an attempt that came to nothing, in a transaction of its own.
    ///
    /// Whoever makes many of them fills no disk: each actor has a budget, and the next record says how many were left out.
    pub(crate) async fn record_refused(&self, mut entry: AuditEntry, why: &ControlError) {
        let who = format!("{} {}", entry.actor_type, entry.actor_id);
        let Some(left_out) = self.refusals().spend(who, entry.at) else {
            return;
        };
        entry.outcome = AuditOutcome::Refused;
        set(&mut entry.detail, "refused", why.message());
        if left_out > 0 {
            set(&mut entry.detail, "left_out_before", left_out);
        }
        let recorded = async {
            let mut gate = self.gate().await;
            let version = self.store().begin().await?.commit(&entry).await?;
            self.published(&mut gate, version, Vec::new()).await
        };
        if let Err(error) = recorded.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                action = entry.action,
                "a refused attempt could not be recorded"
            );
        }
    }

    /// Records an attempt by somebody who is not known (a failed login).
    pub(crate) async fn record_anonymous(
        &self,
        action: &'static str,
        target: String,
        why: &ControlError,
    ) {
        let mut entry = AuditEntry {
            source: source(),
            ..AuditEntry::system(
                action,
                target.chars().take(MAX_TARGET_CHARS).collect::<String>(),
                self.now(),
            )
        };
        set(&mut entry.detail, "anonymous", "true");
        self.record_refused(entry, why).await;
    }
}

/// Longest audit target in characters; the rest of what a client sent is cut off.
const MAX_TARGET_CHARS: usize = 200;

impl Write {
    /// The transaction.
    pub(crate) fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The time of this write.
    pub(crate) fn now(&self) -> Timestamp {
        self.entry.at
    }

    /// Adds to the audit record. Never a secret.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        set(&mut self.entry.detail, name, value);
    }

    /// Puts a user in the place of the unknown who began this write: a registration, a login.
    pub(crate) fn attribute_to_user(&mut self, id: Uuid) {
        self.entry.actor_type = AuditActor::User;
        self.entry.actor_id = id.to_string();
    }

    /// Names what the write is about, once it is known.
    pub(crate) fn retarget(&mut self, target: impl Into<String>) {
        self.entry.target = target.into();
    }

    /// Publishes a vault as this transaction leaves it. Call after the last change to it.
    pub(crate) async fn publish_vault(&mut self, id: Uuid) -> Result<(), ControlError> {
        let default = self.control.options().unmatched;
        let record =
            publish::vault_record(&mut self.tx, id, self.control.instance_id(), default).await?;
        self.publications.push(Publication::Vault(Box::new(record)));
        Ok(())
    }

    /// Publishes an agent as this transaction leaves it. Call after the last change to it.
    pub(crate) async fn publish_agent(&mut self, id: Uuid) -> Result<(), ControlError> {
        let record = publish::agent_record(&mut self.tx, id).await?;
        self.publications.push(Publication::Agent(record));
        Ok(())
    }

    /// Publishes anything else.
    pub(crate) fn publish(&mut self, publication: Publication) {
        self.publications.push(publication);
    }

    /// Ends the write: commits and publishes what went well, undoes and records what was refused.
    ///
    /// Runs to its end even when the caller stops waiting, so that a client that leaves cannot part the database from the
    /// snapshot.
    pub(crate) async fn finish<T: Send + 'static>(
        self,
        outcome: Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let tasks = self.control.tasks().clone();
        let ended = tasks.spawn(async move {
            match outcome {
                Ok(value) => self.commit().await.map(|()| value),
                Err(refused) => Err(self.abandon(refused).await),
            }
        });
        ended
            .await
            .map_err(|error| ControlError::internal("the write did not end", error))?
    }

    /// Undoes everything and records nothing: for a write that was only to show what it would do.
    pub(crate) async fn discard(self) -> Result<(), ControlError> {
        Ok(self.tx.rollback().await?)
    }

    async fn commit(self) -> Result<(), ControlError> {
        let Self {
            control,
            mut gate,
            mut tx,
            mut entry,
            publications,
        } = self;
        // Who was not known when the write began.
        if entry.actor_type == AuditActor::User
            && entry.actor_name.is_empty()
            && let Ok(id) = entry.actor_id.parse::<Uuid>()
            && let Some(user) = tx.user(id).await?
        {
            entry.actor_name = user.email;
        }
        let version = tx.commit(&entry).await?;
        control.published(&mut gate, version, publications).await
    }

    async fn abandon(self, refused: ControlError) -> ControlError {
        let Self {
            control,
            gate,
            tx,
            entry,
            ..
        } = self;
        if let Err(error) = tx.rollback().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "rollback failed");
        }
        drop(gate);
        if is_of_importance(&refused) {
            control.record_refused(entry, &refused).await;
        }
        refused
    }
}

/// Refusals that tell of an attempt to do more than is allowed, as opposed to slips of the pen.
fn is_of_importance(refused: &ControlError) -> bool {
    match refused.kind() {
        ErrorKind::Forbidden
        | ErrorKind::Unauthenticated
        | ErrorKind::Conflict
        | ErrorKind::Stale
        | ErrorKind::TooMany => true,
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Gone
        | ErrorKind::NotInitialized
        | ErrorKind::Unavailable
        | ErrorKind::Upstream
        | ErrorKind::Internal => false,
    }
}

fn set(detail: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(fields) = detail {
        fields.insert(name.to_owned(), value.into());
    }
}

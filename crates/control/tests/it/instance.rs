//! A temporary instance.

use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_vault_control::{
    Actor, AgentActor, Clock, Control, ControlOptions, InstanceRole, LimitLayer, LimitSources,
    NewAgent, Profile, UserActor, VaultRole,
};
use agent_vault_seal::{Keyring, PasswordHash, SecretBytes, Token, TokenKind};
use agent_vault_store::{ActorRef, AuditEntry, DEFAULT_VAULT_ID, Grant, OpenOptions, Store, User};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub(crate) struct Instance {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) folder: tempfile::TempDir,
    now: Arc<Mutex<Timestamp>>,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(Mutex::new("2026-03-01T12:00:00Z".parse().unwrap()));
        let (control, store) = open(folder.path(), &now).await;
        Self {
            control,
            store,
            folder,
            now,
        }
    }

    /// The same database as another process sees it.
    pub(crate) async fn other(&self) -> Control {
        open(self.folder.path(), &self.now).await.0
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// The same clock, for whoever is told the time.
    pub(crate) fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let now = Arc::clone(&self.now);
        move || *now.lock().unwrap()
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        *self.now.lock().unwrap() += by;
    }

    pub(crate) async fn user(
        &self,
        email: &str,
        role: InstanceRole,
        vault: Option<VaultRole>,
    ) -> Actor {
        let now = self.now();
        let user = User {
            id: Uuid::new_v4(),
            email: email.to_owned(),
            password: PasswordHash {
                hash: vec![0; 32],
                salt: vec![0; 16],
                time: 3,
                memory: 65_536,
                threads: 4,
            },
            role,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.store.begin().await.unwrap();
        tx.insert_user(&user).await.unwrap();
        if let Some(role) = vault {
            let actor = ActorRef::user(user.id);
            tx.put_grant(&Grant {
                actor,
                vault_id: DEFAULT_VAULT_ID,
                role,
                created_at: now,
            })
            .await
            .unwrap();
        }
        tx.commit(&AuditEntry::system("test.user", email, now))
            .await
            .unwrap();
        Actor::User(UserActor {
            id: user.id,
            email: user.email,
            session: "0".repeat(20),
        })
    }

    /// An agent, its identity, and its token.
    pub(crate) async fn agent(
        &self,
        name: &str,
        role: InstanceRole,
        vaults: Vec<(String, VaultRole)>,
    ) -> (Actor, String) {
        let new = NewAgent {
            name: name.to_owned(),
            role,
            vaults,
            ttl_seconds: None,
            label: None,
        };
        let created = self
            .control
            .agents()
            .create(&Actor::LocalOperator, new)
            .await
            .unwrap();
        let id = self.store.agent_by_name(name).await.unwrap().unwrap().id;
        let actor = Actor::Agent(AgentActor {
            id,
            name: name.to_owned(),
            session: "0".repeat(20),
        });
        (actor, created.token.expose().to_owned())
    }
}

async fn open(folder: &Path, now: &Arc<Mutex<Timestamp>>) -> (Control, Store) {
    let start = *now.lock().unwrap();
    let store = Store::open(folder, OpenOptions { now: start })
        .await
        .unwrap();
    let shown = Arc::clone(now);
    let options = ControlOptions {
        limits: no_limits(),
        mailer: None,
        retention: agent_vault_control::RetentionKnobs::default(),
        dev_mode: false,
        unmatched: agent_vault_control::UnmatchedPolicy::Passthrough,
    };
    let keyring = Arc::new(Keyring::from_dek(SecretBytes::new(vec![7; 32])).unwrap());
    let clock = Clock::new(move || *shown.lock().unwrap());
    let control = Control::open(store.clone(), keyring, clock, options)
        .await
        .unwrap();
    (control, store)
}

/// A token that nobody holds.
pub(crate) fn unknown_token() -> String {
    Token::generate(TokenKind::Scoped)
        .unwrap()
        .expose()
        .to_owned()
}

/// Nothing is limited, so that tests do not wait for each other.
pub(crate) fn no_limits() -> LimitSources {
    LimitSources {
        env: LimitLayer {
            profile: Some(Profile::Off),
            ..LimitLayer::default()
        },
        lock: false,
    }
}

//! The store from outside: real files, several handles, processes that are killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod concurrency;
mod contents;
mod crash;
mod identities;
mod logs;
mod opening;
mod sessions;
mod unlocking;

use agent_vault_seal::{PasswordHash, TokenHash};
use agent_vault_store::{
    ActorRef, Agent, AgentStatus, AuditActor, AuditEntry, AuditOutcome, Grant, InstanceRole,
    OpenOptions, Session, SessionKind, Store, User, Vault, VaultRole,
};
use jiff::Timestamp;
use uuid::Uuid;

/// A fixed moment; `at(n)` is n seconds later.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

async fn open(folder: &std::path::Path) -> Store {
    Store::open(folder, OpenOptions { now: at(0) })
        .await
        .unwrap()
}

/// A folder of its own inside the temporary one, since the data folder gets mode 0700.
fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        actor_type: AuditActor::Local,
        actor_id: String::new(),
        actor_name: String::new(),
        source: String::new(),
        outcome: AuditOutcome::Done,
        action: action.to_owned(),
        target: "test".to_owned(),
        detail: serde_json::json!({ "n": 1 }),
        at: at(1),
    }
}

fn vault(name: &str) -> Vault {
    Vault {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        created_at: at(1),
        updated_at: at(1),
    }
}

fn agent(name: &str) -> Agent {
    Agent {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        status: AgentStatus::Active,
        role: InstanceRole::NoAccess,
        created_by: None,
        created_at: at(1),
        updated_at: at(1),
        revoked_at: None,
    }
}

fn grant(actor: ActorRef, vault_id: Uuid, role: VaultRole, seconds: i64) -> Grant {
    Grant {
        actor,
        vault_id,
        role,
        created_at: at(seconds),
    }
}

fn user(email: &str) -> User {
    User {
        id: Uuid::new_v4(),
        email: email.to_owned(),
        password: PasswordHash {
            hash: vec![1; 32],
            salt: vec![2; 16],
            time: 3,
            memory: 65536,
            threads: 4,
        },
        role: InstanceRole::Owner,
        is_active: true,
        created_at: at(1),
        updated_at: at(1),
    }
}

fn session(kind: SessionKind, owner: Uuid, token: &str) -> Session {
    let only = |of: SessionKind| (kind == of).then_some(owner);
    Session {
        hash: TokenHash::of(token),
        kind,
        public_id: format!("public-{token}"),
        user_id: only(SessionKind::User),
        agent_id: only(SessionKind::Agent),
        vault_id: only(SessionKind::Scoped),
        vault_role: (kind == SessionKind::Scoped).then_some(VaultRole::Proxy),
        label: String::new(),
        device_label: String::new(),
        expires_at: None,
        idle_ttl_seconds: None,
        created_at: at(1),
        last_used_at: None,
        last_ip: String::new(),
        last_user_agent: String::new(),
        created_by: None,
        services: None,
        budget: None,
        budget_spent: 0,
        sources: Vec::new(),
    }
}

fn minted_by(actor: ActorRef, session: Session) -> Session {
    Session {
        created_by: Some(actor),
        ..session
    }
}

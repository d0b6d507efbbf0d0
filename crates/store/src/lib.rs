//! Rows: the one place that speaks SQL.
//!
//! [`Store`] is a cheap handle on one database. Reads are methods on it; every management write goes
//! through a [`Tx`], whose only way to end well is [`Tx::commit`] with an [`AuditEntry`], so nothing
//! changes without a record. Checks that guard a write ("not the last owner") are read inside the
//! same `Tx`, which holds the database's single writer.
//!
//! Values arrive sealed: this crate never sees a plaintext credential. Tokens are hashes.
//!
//! # Durability
//! WAL with `synchronous=FULL`: once `commit` has returned, the write survives the end of the
//! process and of the power. A process killed at any instant leaves a database that opens.
//! Several processes may share one file; each sees the others' commits by [`Store::version`].
//!
//! # Times
//! Stored as integer milliseconds since the Unix epoch (UTC). The same type, order and arithmetic
//! in every dialect, no text to parse and no time zone to get wrong.
//!
//! # Dialects
//! SQL text uses `$N` and what SQLite and PostgreSQL share. What differs is in `dialect.rs` and in the
//! dialect's own migration folder.

#[macro_use]
mod reads;

mod actors;
mod agents;
mod append;
mod audit;
mod audit_chain;
mod audit_cut;
mod audit_export;
mod ca;
mod codes;
mod consents;
mod credentials;
mod devices;
mod dialect;
mod error;
mod external;
mod files;
mod grants;
mod hosts;
mod image;
mod invites;
mod key_home;
mod keyfile;
mod keys;
mod leases;
mod logs;
mod migrate;
mod oauth;
mod open;
mod proposals;
mod reseal;
mod retention;
mod row;
mod second_factors;
mod services;
mod sessions;
mod settings;
mod tx;
mod unlock;
mod users;
mod vaults;
mod webhook_queue;
mod webhooks;

pub use actors::{ActorKind, ActorRef, InstanceRole, UnknownName, VaultRole};
pub use agents::{Agent, AgentStatus};
pub use append::LogAppend;
pub use audit::{
    AuditActor, AuditEntry, AuditOutcome, AuditQuery, AuditRecord, MAX_AUDIT_PAGE,
    verify_audit_file,
};
pub use audit_chain::{AuditChain, AuditVerdict};
pub use audit_cut::AuditCut;
pub use audit_export::{AuditExportCheck, AuditExportHead, MAX_EXPORT_LINE_BYTES};
pub use ca::CaRecord;
pub use codes::{CodePurpose, EmailCode};
pub use consents::{Consent, ConsentActor, ConsentStatus};
pub use credentials::{
    Credential, CredentialType, CredentialVersion, CredentialWrite, MAX_CREDENTIAL_VERSIONS,
};
pub use devices::{DeviceLogin, DeviceStatus};
pub use error::{StoreError, StoreErrorKind};
pub use external::{DynamicSecret, ExternalKind, ExternalStore, SyncStatus};
pub use grants::{Grant, VaultAgent, VaultMembership, VaultUser};
pub use hosts::{DiscoveredHost, MAX_DISCOVERED_HOSTS};
pub use image::{AgentImage, CredentialImage, Image, VaultImage};
pub use invites::{Invite, InviteStatus, InviteVault};
pub use key_home::KeyHome;
pub use keyfile::KeyFile;
pub use keys::MasterKey;
pub use leases::SecretLease;
pub use logs::{
    DEFAULT_LOG_PAGE, LogCursor, LogEntry, LogPage, LogQuery, LogRow, MAX_LOG_PAGE, StatusBucket,
};
pub use oauth::{
    OAuthClaim, OAuthClient, OAuthGrant, OAuthHealth, OAuthLease, OAuthPart, TokenAuthMethod,
};
pub use open::{DATABASE_FILE, OpenOptions, Store};
pub use proposals::{Proposal, ProposalAuthor, ProposalEnd, ProposalStatus, Reviewer};
pub use reseal::ResealPass;
pub use retention::Retention;
pub use second_factors::Totp;
pub use services::Services;
pub use sessions::{Session, SessionKind};
pub use settings::INSTANCE_ID_KEY;
pub use tx::Tx;
pub use unlock::{Protection, UnlockError, Unlocked};
pub use users::{User, email_lookup};
pub use vaults::{DEFAULT_VAULT_ID, DEFAULT_VAULT_NAME, Vault};
pub use webhook_queue::{
    AttemptEnd, ClaimedDelivery, Delivery, DeliveryStatus, MAX_KEPT_DELIVERIES,
    MAX_WAITING_DELIVERIES, NextAttempt, ParkingRule, QueuedEvent,
};
pub use webhooks::{Webhook, WebhookSecret, WebhookState};

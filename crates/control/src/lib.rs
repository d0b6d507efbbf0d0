//! Every management action: (actor, input) → permission → one transaction that cannot commit without its audit record → publish.
//!
//! No HTTP here. [`Control`] is a cheap handle; each area hands out its actions:
//!
//! | area | what it holds |
//! |---|---|
//! | [`Control::registration`] | the first owner |
//! | [`Control::sessions`] | logins, authentication of tokens |
//! | [`Control::account`] | one's own account |
//! | [`Control::users`] | the user directory |
//! | [`Control::vaults`] | vaults |
//! | [`Control::members`] | people and agents in a vault |
//! | [`Control::credentials`] | sealed values |
//! | [`Control::services`] | rules |
//! | [`Control::settings`] | settings of a vault |
//! | [`Control::agents`] | agents and their tokens |
//! | [`Control::tokens`] | scoped sessions |
//! | [`Control::discovery`] | what an agent may know of its vault |
//! | [`Control::logs`] | request log, discovered hosts, retention |
//! | [`Control::authority`] | the certificate authority's record |
//!
//! A write returns only after the broker shows it, so the next proxied request is decided by it. [`Control::watch_database`]
//! brings in what other processes write to the same database.

mod access;
mod account;
mod actor;
mod agents;
mod authority;
pub mod catalog;
mod clock;
mod control;
mod credentials;
mod discovery;
mod email;
mod error;
mod hashing;
pub mod label;
mod line_breaks;
mod logs;
mod members;
mod options;
mod oversight;
mod owners;
mod publish;
mod refusals;
mod registration;
mod retention;
mod services;
mod sessions;
mod settings;
mod tokens;
mod touch;
mod usage;
mod users;
mod vaults;
mod watch;
mod write;

pub use access::VaultRef;
pub use account::Account;
pub use actor::{
    Actor, AgentActor, ScopedActor, UserActor, instance_role, member_role, vault_role,
};
pub use agents::{AgentDetail, AgentView, Agents, CreatedAgent, NewAgent, RotatedAgent};
pub use authority::Authority;
pub use clock::Clock;
pub use control::Control;
pub use credentials::{CredentialListing, CredentialView, Credentials};
pub use discovery::{Discovered, Discovery};
pub use email::Email;
pub use error::{Candidate, ControlError, ErrorKind};
pub use hashing::MIN_PASSWORD_BYTES;
pub use logs::{DiscoveredHosts, LogWriter, Logs};
pub use members::{MemberAgent, MemberUser, Members, RoleChange};
pub use options::ControlOptions;
pub use registration::{Registered, Registration, SetupPeer};
pub use retention::{RetentionError, RetentionKnobs};
pub use services::{ServiceName, Services, Upserted};
pub use sessions::{Login, LoginView, NewLogin, Seen, Sessions};
pub use settings::{Settings, unmatched_name};
pub use tokens::{MintedToken, Minter, NewToken, TokenView, Tokens};
pub use users::{UserView, Users};
pub use vaults::{Membership, RenamedVault, VaultView, Vaults};

pub use agent_vault_policy::UnmatchedPolicy;
pub use agent_vault_store::{
    AgentStatus, InstanceRole, LogAppend, LogCursor, LogEntry, LogPage, LogQuery, LogRow,
    StatusBucket, VaultRole,
};

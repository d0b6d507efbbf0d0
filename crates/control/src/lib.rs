//! Every management action: (actor, input) → permission → one transaction that cannot commit without its audit record → publish.
//!
//! No HTTP here. [`Control`] is a cheap handle; each area hands out its actions:
//!
//! | area | what it holds |
//! |---|---|
//! | [`Control::registration`] | new accounts |
//! | [`Control::codes`] | codes by mail: confirming an address, a new password |
//! | [`Control::invites`] | invitations |
//! | [`Control::devices`] | logins that a device asks for and a person approves elsewhere |
//! | [`Control::second_factors`] | authenticator apps and recovery codes |
//! | [`Control::instance`] | settings of the instance |
//! | [`Control::sessions`] | logins, authentication of tokens |
//! | [`Control::account`] | one's own account |
//! | [`Control::users`] | the user directory |
//! | [`Control::vaults`] | vaults |
//! | [`Control::members`] | people and agents in a vault |
//! | [`Control::credentials`] | sealed values |
//! | [`Control::oauth`] | OAuth grants behind credentials |
//! | [`Control::services`] | rules |
//! | [`Control::proposals`] | what agents ask to change, and the decisions on it |
//! | [`Control::settings`] | settings of a vault |
//! | [`Control::agents`] | agents and their tokens |
//! | [`Control::tokens`] | scoped sessions |
//! | [`Control::stores`] | vaults whose credentials come from an external store |
//! | [`Control::discovery`] | what an agent may know of its vault |
//! | [`Control::logs`] | request log, discovered hosts, retention |
//! | [`Control::audit`] | the record of management actions |
//! | [`Control::keys`] | the data key |
//! | [`Control::authority`] | the certificate authority's record |
//!
//! A write returns only after the broker shows it, so the next proxied request is decided by it. [`Control::watch_database`]
//! brings in what other processes write to the same database.

mod access;
mod account;
mod actor;
mod agents;
mod audit;
mod authority;
pub mod catalog;
mod clock;
mod codes;
mod control;
mod credentials;
mod devices;
mod discovery;
mod email;
mod error;
mod expiry;
mod hashing;
mod instance;
mod invites;
mod keys;
pub mod label;
mod limits;
mod line_breaks;
mod logs;
mod mail;
mod members;
mod oauth;
mod options;
mod outbox;
mod oversight;
mod owners;
mod proposals;
mod publish;
mod refusals;
mod registration;
mod renewal;
mod retention;
mod second_factor;
mod service_test;
mod services;
mod sessions;
mod settings;
mod source;
mod stores;
mod tokens;
mod touch;
mod usage;
mod users;
mod vaults;
mod versions;
mod watch;
mod write;

pub use access::VaultRef;
pub use account::Account;
pub use actor::{
    Actor, AgentActor, ScopedActor, UserActor, instance_role, member_role, vault_role,
};
pub use agents::{AgentDetail, AgentView, Agents, CreatedAgent, NewAgent, RotatedAgent};
pub use audit::Audit;
pub use authority::Authority;
pub use clock::Clock;
pub use codes::{Codes, ResetDone, WaitingCode};
pub use control::Control;
pub use credentials::{CredentialListing, CredentialView, Credentials};
pub use devices::{DeviceView, Devices, Polled, StartedDevice};
pub use discovery::{Discovered, Discovery};
pub use email::Email;
pub use error::{Candidate, ControlError, ErrorKind};
pub use hashing::MIN_PASSWORD_BYTES;
pub use instance::{Entrance, Instance, InstanceChange, InstanceView};
pub use invites::{
    AcceptedInvite, CreatedInvite, Delivery, InviteDetails, InviteState, InviteView, Invites,
    NewInvite,
};
pub use keys::{KeyState, Keys};
pub use limits::{
    BucketKnobs, EffectiveLimits, LimitLayer, LimitSource, LimitSources, Profile, RateLimits,
    SettingsError, Tier, TierKnobs, WindowKnobs, duration_text,
};
pub use logs::{DiscoveredHosts, LogWriter, Logs};
pub use mail::{Mail, MailError, Mailer, Sending};
pub use members::{MemberAgent, MemberUser, Members, RoleChange};
pub use oauth::{
    BoundConsent, BrowserCookie, Connecting, ConsentLink, ConsentProgress, ConsentReturn, KEPT,
    OAuth, OAuthInput, OAuthStatus, OAuthUpload, OAuthView, ProviderAnswer, UploadedTokens,
};
pub use options::ControlOptions;
pub use proposals::{
    Approval, KeyFlow, LinkedProposal, NewProposal, NewSlot, Preview, ProposalView, Proposals,
    ProposedAction, ProposedService, RaisedProposal, Slot, SlotOAuth, SlotPreview,
};
pub use registration::{NewAccount, Registered, Registration, SetupPeer};
pub use retention::{RetentionError, RetentionKnobs, StoredRetention};
pub use second_factor::{FactorState, SecondFactors, StartedFactor};
pub use service_test::{
    ConsideredService, MAX_TESTED_HEADERS, ReplacedText, ServiceTest, SetHeader, TestedRequest,
};
pub use services::{Conditions, Edited, ServiceChange, ServiceListing, ServiceName, Services};
pub use sessions::{Login, LoginView, NewLogin, Seen, Sessions};
pub use settings::{Settings, unmatched_name};
pub use source::from_source;
pub use stores::{
    DynamicView, MAX_POLL_SECONDS, MIN_POLL_SECONDS, StoreChoice, StoreHealth, StoreView, Stores,
};
pub use tokens::{MintedToken, Minter, NewToken, TokenView, Tokens};
pub use users::{UserView, Users};
pub use vaults::{Membership, RenamedVault, VaultView, Vaults};
pub use versions::VersionView;

pub use agent_vault_policy::UnmatchedPolicy;
pub use agent_vault_store::{
    AgentStatus, AuditActor, AuditExportHead, AuditOutcome, AuditQuery, AuditRecord, AuditVerdict,
    CodePurpose, ConsentStatus, InstanceRole, LogAppend, LogCursor, LogEntry, LogPage, LogQuery,
    LogRow, MAX_AUDIT_PAGE, ProposalStatus, StatusBucket, VaultRole,
};

//! One module per resource.

pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod catalog;
pub(crate) mod codes;
pub(crate) mod credential_versions;
pub(crate) mod credentials;
pub(crate) mod devices;
pub(crate) mod discover;
pub(crate) mod instance;
pub(crate) mod invites;
pub(crate) mod keys;
pub(crate) mod log_stream;
pub(crate) mod logs;
pub(crate) mod mitm;
pub(crate) mod page;
pub(crate) mod second_factor;
pub(crate) mod service_test;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod vault_agents;
pub(crate) mod vault_users;
pub(crate) mod vaults;

//! One module per resource.

pub(crate) mod agents;
pub(crate) mod auth;
pub(crate) mod catalog;
pub(crate) mod credentials;
pub(crate) mod discover;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod mitm;
pub(crate) mod page;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod vault_agents;
pub(crate) mod vault_users;
pub(crate) mod vaults;

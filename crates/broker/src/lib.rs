//! What the proxy may know: the snapshot of vaults, principals and rules, held in memory.
//!
//! Small and hot. `control` puts records in after each committed write, the proxy reads. No SQL, no sockets, no
//! waiting: every answer here comes from memory, and a write that `control` has acknowledged is in the very next one.
//!
//! The types carry the argument. [`Broker::authenticate`] is the only maker of a [`Principal`], [`Broker::admit`]
//! turns it into a [`Admission`] for one request, [`Admission::decide`] is the only maker of a [`Permit`], and only a
//! permit opens credentials ([`Permit::grant`]).

mod bounds;
mod directory;
mod former;
mod grant;
mod ids;
mod limits;
mod principal;
mod record;
mod secret_store;
mod source;
mod token;
mod usage;
mod vault;

pub use bounds::{BudgetRefusal, MAX_BUDGET, RequestBudget, TokenBounds, is_within};
pub use directory::{Broker, BrokerOptions};
pub use grant::{Grant, GrantError};
pub use limits::{LimitSettings, Refusal as LimitRefusal, ScopeLimits, Slot};
pub use principal::{Actor, ActorKind, AuthRefusal, Principal, VaultRole};
pub use record::{
    AgentRecord, Image, OAuthState, SealedCredential, SessionKind, SessionRecord, VaultRecord,
    credential_context,
};
pub use secret_store::{
    FromStore, SecretStore, StoreFailure, StoreFault, StoreLease, StorePlace, StoreSnapshot,
};
pub use source::{Landing, MAX_RENEWAL_WAIT, Renewal, RenewalFault, RenewalOrder, Source, Waiting};
pub use token::{
    Asking, ClientAuth, MAX_OAUTH_URL_BYTES, OAuthUrl, OAuthUrlError, TokenCall, TokenEndpoint,
    TokenFault, TokenGrant, Tokens, known_oauth_code,
};
pub use vault::{Admission, Permit, Verdict};

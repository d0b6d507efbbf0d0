//! From where a management action was asked for, for its audit record.
//!
//! Every record of a request needs it, also those of people who are not known yet; so it goes with the task of the request
//! instead of through every action.

use std::net::IpAddr;

tokio::task_local! {
    static SOURCE: Option<IpAddr>;
}

/// Runs `work` as asked for from `address`; `None` for this machine, without a socket. Audit records that begin in it say so.
pub async fn from_source<F: Future>(address: Option<IpAddr>, work: F) -> F::Output {
    SOURCE.scope(address, work).await
}

/// The address as records have it; empty without one.
pub(crate) fn source() -> String {
    SOURCE
        .try_with(|address| address.map(|address| address.to_string()))
        .ok()
        .flatten()
        .unwrap_or_default()
}

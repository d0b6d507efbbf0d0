//! The address guard: no socket is opened to an address that policy did not see.
//!
//! It stands at the connect call and not in the resolver, because an address literal never passes a resolver
//! (`http://169.254.169.254/`). What it lets through carries a private field, so the connector can demand it; and since
//! the address itself is handed on, a name that answers differently a moment later (DNS rebinding) changes nothing.

use std::net::{IpAddr, SocketAddr};

use agent_vault_policy::{Blocked, EgressPolicy};

/// An address that may be dialled. Made by [`Guard`], and for the operator's own proxy by the chain; nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuardedAddr(SocketAddr);

impl GuardedAddr {
    /// The address.
    #[must_use]
    pub fn get(self) -> SocketAddr {
        self.0
    }

    /// Exempts an address of the upstream proxy: an operator configured it, no agent can choose it.
    pub(crate) fn of_operator_proxy(ip: IpAddr, port: u16) -> Self {
        Self(SocketAddr::new(ip.to_canonical(), port))
    }
}

/// Judges addresses by the egress policy.
#[derive(Debug, Clone)]
pub struct Guard {
    policy: EgressPolicy,
}

impl Guard {
    /// A guard that applies `policy`.
    #[must_use]
    pub fn new(policy: EgressPolicy) -> Self {
        Self { policy }
    }

    /// Judges one address. An IPv4-mapped IPv6 address is judged, and dialled, as the IPv4 address that it is.
    ///
    /// # Errors
    /// The class that forbids it.
    pub fn admit(&self, ip: IpAddr, port: u16) -> Result<GuardedAddr, Blocked> {
        let ip = ip.to_canonical();
        self.policy.check(ip)?;
        Ok(GuardedAddr(SocketAddr::new(ip, port)))
    }

    /// Drops what is forbidden and doubled from `addresses`, keeping the order.
    ///
    /// # Errors
    /// When nothing is left: the class that forbids the first one. `None` when there was nothing to judge.
    pub fn sift(
        &self,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Vec<GuardedAddr>, Option<Blocked>> {
        let mut admitted: Vec<GuardedAddr> = Vec::with_capacity(addresses.len());
        let mut refused = None;
        for ip in addresses {
            match self.admit(*ip, port) {
                Ok(address) if admitted.contains(&address) => {}
                Ok(address) => admitted.push(address),
                Err(blocked) => refused = refused.or(Some(blocked)),
            }
        }
        if admitted.is_empty() {
            return Err(refused);
        }
        Ok(admitted)
    }
}

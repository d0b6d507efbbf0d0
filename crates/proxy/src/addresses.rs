//! How many connections each client address has, so that one of them cannot take what is there for all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections per address. Bounded by the connections there are: an address without any is not kept.
#[derive(Debug)]
pub(crate) struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// One connection's place. Given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Arc<Addresses>,
    /// `None` where nothing is counted.
    of: Option<IpAddr>,
}

impl Addresses {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            max,
        })
    }

    /// A place for one more connection of `peer`; `None` when it has as many as it may. Peers on this machine are not
    /// counted: container clients arrive through a local forwarder.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let of = counted(peer);
        if let Some(address) = of {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(address).or_default();
            if *count >= self.max {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            addresses: Arc::clone(self),
            of,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.of else {
            return;
        };
        let mut open = self
            .addresses
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(address) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is what one client is given (RFC 6177).
fn counted(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Some(Ipv6Addr::from_bits(network).into())
        }
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_one_address_does_not_take_every_place() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        drop(first);
        let _third = enter("192.0.2.1").unwrap();

        let _v6 = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::ffff:0:0:3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn loopback_is_not_counted_and_nobody_is_kept() {
        let addresses = Addresses::new(1);
        let local: Vec<Place> = ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"]
            .iter()
            .map(|text| addresses.enter(text.parse().unwrap()).unwrap())
            .collect();
        drop(addresses.enter("192.0.2.1".parse().unwrap()).unwrap());
        drop(local);
        assert!(addresses.open.lock().unwrap().is_empty());
    }
}

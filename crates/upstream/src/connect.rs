//! TCP, to the first guarded address that answers.
//!
//! Addresses are tried in the resolver's order with the families interleaved; the next one starts when the one before
//! failed, or has not answered for 250 ms (RFC 8305, sections 4 and 5). The first connection wins and the others are
//! closed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::guard::GuardedAddr;

/// How long an attempt is alone before the next one starts beside it.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many addresses of one name are tried at most; the rest is not looked at.
pub const MAX_ADDRESSES: usize = 16;

/// How long a connection is idle before the kernel asks whether the peer is still there, and between two questions.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How many unanswered questions end a connection.
const KEEPALIVE_PROBES: u32 = 3;

/// Why no connection came about.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// Nobody answered within the limit.
    TimedOut,
    /// Every address refused; this is what the preferred one said.
    Refused(io::Error),
}

/// Connects to one of `addresses` within `limit` for all of them together.
pub(crate) async fn connect(
    addresses: &[GuardedAddr],
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), ConnectFailure> {
    match tokio::time::timeout(limit, race(addresses)).await {
        Ok(outcome) => outcome.map_err(ConnectFailure::Refused),
        Err(_) => Err(ConnectFailure::TimedOut),
    }
}

async fn race(addresses: &[GuardedAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = interleave(addresses);
    let mut running = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        if let Some(next) = waiting.pop_front() {
            running.push(attempt(next));
        }
        tokio::select! {
            biased;
            finished = running.next() => match finished {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => {
                    first_error.get_or_insert(error);
                }
                None => {
                    return Err(first_error.unwrap_or_else(|| {
                        io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to connect to")
                    }));
                }
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if !waiting.is_empty() => {}
        }
    }
}

async fn attempt(address: GuardedAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let address = address.get();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that dials, and only to an address that the guard let through"
    )]
    let stream = TcpStream::connect(address).await?;
    // A connection to one's own ephemeral port on loopback can meet itself.
    if stream.local_addr().is_ok_and(|own| own == address) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok((stream, address))
}

/// Alternates the families, starting with the family of the preferred address, and cuts at [`MAX_ADDRESSES`].
fn interleave(addresses: &[GuardedAddr]) -> VecDeque<GuardedAddr> {
    let preferred_is_v4 = addresses
        .first()
        .is_some_and(|address| address.get().is_ipv4());
    let (mut preferred, mut other): (VecDeque<GuardedAddr>, VecDeque<GuardedAddr>) = addresses
        .iter()
        .partition(|address| address.get().is_ipv4() == preferred_is_v4);
    let mut order = VecDeque::with_capacity(addresses.len().min(MAX_ADDRESSES));
    while order.len() < MAX_ADDRESSES {
        let before = order.len();
        order.extend(preferred.pop_front());
        order.extend(other.pop_front());
        if order.len() == before {
            break;
        }
    }
    order.truncate(MAX_ADDRESSES);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(addresses: &[&str]) -> Vec<GuardedAddr> {
        addresses
            .iter()
            .map(|ip| GuardedAddr::of_operator_proxy(ip.parse().unwrap(), 1))
            .collect()
    }

    fn order(addresses: &[&str]) -> Vec<String> {
        interleave(&guarded(addresses))
            .iter()
            .map(|address| address.get().ip().to_string())
            .collect()
    }

    #[test]
    fn families_alternate_from_the_preferred_one() {
        assert_eq!(
            order(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]),
            ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
        );
        assert_eq!(
            order(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
        );
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn at_most_sixteen() {
        let many: Vec<String> = (0..100).map(|n| format!("192.0.2.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(order(&many).len(), MAX_ADDRESSES);
    }
}

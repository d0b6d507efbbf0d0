//! Ports for servers that must be told one.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// First port that is tried. All of them lie below those that systems give to outgoing connections, which would
/// otherwise take a port between this and the start of its server.
const FIRST: u32 = 20_000;
/// How many there are.
const COUNT: u32 = 12_000;

/// A port of 127.0.0.1 that is free, and that this process gives to nobody else soon.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = u16::try_from(FIRST + number % COUNT).expect("a port number");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 is free");
}

//! Session tickets that open for one host only.
//!
//! All configurations of an issuer share one rotating ticket key, so that a thousand hosts do not mean a thousand key
//! schedules. rustls compares the server name inside a ticket with that of the new handshake, but a client that dials an
//! address sends no server name, and then "none" equals "none": a session with one address would resume with another,
//! and the client would never look at a certificate for the second. So each host's ticketer puts the host's digest in
//! front of what it encrypts, and refuses a ticket with another's.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::server::ProducesTickets;

/// Length of the digest in front of a ticket's content, in bytes.
const TAG_BYTES: usize = 32;

/// One host's view of the shared ticketer.
#[derive(Debug)]
pub(crate) struct HostTicketer {
    shared: Arc<dyn ProducesTickets>,
    tag: [u8; TAG_BYTES],
}

impl HostTicketer {
    /// Binds `shared` to `host`, which must be in its one spelling.
    pub(crate) fn new(shared: Arc<dyn ProducesTickets>, host: &str) -> Self {
        let mut tag = [0; TAG_BYTES];
        for (into, from) in tag
            .iter_mut()
            .zip(digest(&SHA256, host.as_bytes()).as_ref())
        {
            *into = *from;
        }
        Self { shared, tag }
    }
}

impl ProducesTickets for HostTicketer {
    fn enabled(&self) -> bool {
        self.shared.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.shared.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bound = Vec::with_capacity(TAG_BYTES + plain.len());
        bound.extend_from_slice(&self.tag);
        bound.extend_from_slice(plain);
        self.shared.encrypt(&bound)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        // The shared ticketer authenticates before it decrypts, so a wrong tag can only come from another host's ticket:
        // nothing about the tag is secret.
        let bound = self.shared.decrypt(cipher)?;
        bound.strip_prefix(&self.tag).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_for_its_own_host_only() {
        let shared = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let one = HostTicketer::new(Arc::clone(&shared), "10.0.0.1");
        let same = HostTicketer::new(Arc::clone(&shared), "10.0.0.1");
        let other = HostTicketer::new(shared, "10.0.0.2");
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(same.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(one.decrypt(b"not a ticket"), None);
        assert_eq!(one.decrypt(b""), None);
    }
}

//! The sealed format and the identity that each sealed value is bound to.

use std::fmt;

use crate::{KeyId, SealError};

/// Format version written in front of every sealed value.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// Bytes of nonce (AES-GCM's 96 bits).
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of authentication tag (AES-GCM's full 128 bits).
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes in front of the nonce: format version and key id.
pub(crate) const HEAD_BYTES: usize = 1 + KeyId::BYTES;
/// Largest plaintext that is sealed (1 MiB). Credentials are far smaller; the bound keeps a row,
/// a snapshot and a request bounded.
pub const MAX_PLAINTEXT_BYTES: usize = 1024 * 1024;

/// What a sealed value is. Each kind has its own subkey, and the kind is part of the associated
/// data, so that a credential never opens as a CA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SealKind {
    /// A credential's value. Owner: vault id; name: credential key.
    Credential,
    /// The private key of our certificate authority. Owner and name: fixed by the caller.
    CaKey,
    /// Part of an OAuth grant (refresh token, client secret). Owner: vault id; name: credential
    /// key and part.
    OAuth,
    /// A value offered in a proposal. Owner: vault id; name: proposal and slot.
    Proposal,
    /// The known text that proves that a key belongs to a database.
    Sentinel,
    /// What lets a person in: a code sent by mail, the secret of an authenticator app. Owner: user id;
    /// name: which of them.
    Person,
    /// The secret that signs what a webhook is sent. Owner: vault id, or a fixed word for the instance; name: the
    /// webhook's id.
    Webhook,
}

impl SealKind {
    /// Every kind, in the order of the subkeys.
    pub(crate) const ALL: [Self; 7] = [
        Self::Credential,
        Self::CaKey,
        Self::OAuth,
        Self::Proposal,
        Self::Sentinel,
        Self::Person,
        Self::Webhook,
    ];

    /// The kind's name in associated data and key derivation. Never change one: what it sealed
    /// would not open any more.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::CaKey => "ca-key",
            Self::OAuth => "oauth",
            Self::Proposal => "proposal",
            Self::Sentinel => "sentinel",
            Self::Person => "person",
            Self::Webhook => "webhook",
        }
    }
}

/// The place that a sealed value belongs to. A value sealed in one place opens in no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealContext<'a> {
    /// What it is.
    pub kind: SealKind,
    /// Whose it is: a vault id, or a fixed word for what the instance owns.
    pub owner: &'a str,
    /// Which of the owner's it is, for example the credential key.
    pub name: &'a str,
    /// Which version of it, so that an old value cannot be put back in place of a newer one.
    pub version: u32,
}

impl SealContext<'_> {
    /// The associated data: the sealed value's own head, then each field behind its length, so
    /// that no two places share an encoding.
    pub(crate) fn associated_data(&self, head: &[u8; HEAD_BYTES]) -> Vec<u8> {
        let kind = self.kind.label();
        let mut data =
            Vec::with_capacity(HEAD_BYTES + 28 + kind.len() + self.owner.len() + self.name.len());
        data.extend_from_slice(head);
        for field in [kind, self.owner, self.name] {
            data.extend_from_slice(&(field.len() as u64).to_be_bytes());
            data.extend_from_slice(field.as_bytes());
        }
        data.extend_from_slice(&self.version.to_be_bytes());
        data
    }
}

/// A sealed value: `version(1) ‖ key id(8) ‖ nonce(12) ‖ ciphertext ‖ tag(16)`.
///
/// Safe to store and to copy; worthless without the keyring and the right [`SealContext`].
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Reads stored bytes. Only the shape is checked here; opening checks the rest.
    ///
    /// # Errors
    /// [`SealError::Format`] for another format version or too few bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SealError> {
        if bytes.first() == Some(&FORMAT_VERSION)
            && bytes.len() >= HEAD_BYTES + NONCE_BYTES + TAG_BYTES
        {
            Ok(Self(bytes))
        } else {
            Err(SealError::Format)
        }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id of the key that sealed it.
    pub fn key_id(&self) -> Option<KeyId> {
        self.parts().map(|parts| parts.key_id)
    }

    pub(crate) fn assemble(
        head: &[u8; HEAD_BYTES],
        nonce: &[u8; NONCE_BYTES],
        body: &[u8],
    ) -> Self {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + NONCE_BYTES + body.len());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(body);
        Self(bytes)
    }

    pub(crate) fn parts(&self) -> Option<Parts<'_>> {
        let (head, rest) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let (_, key_id) = head.split_first()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>()?;
        Some(Parts {
            head,
            key_id: KeyId::from_bytes(key_id.try_into().ok()?),
            nonce,
            body,
        })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The borrowed parts of a sealed value.
pub(crate) struct Parts<'a> {
    pub(crate) head: &'a [u8; HEAD_BYTES],
    pub(crate) key_id: KeyId,
    pub(crate) nonce: &'a [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub(crate) body: &'a [u8],
}

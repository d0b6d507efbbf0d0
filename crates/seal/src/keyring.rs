//! Data keys: derivation of one subkey per purpose, sealing and opening.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

use crate::sealed::{FORMAT_VERSION, HEAD_BYTES, MAX_PLAINTEXT_BYTES, TAG_BYTES};
use crate::{SealContext, SealError, SealKind, Sealed, SecretBytes, random};

/// Bytes in one data key.
pub const KEY_BYTES: usize = 32;
/// Most data keys in one keyring: the current one and those it still opens with.
pub const MAX_KEYS: usize = 16;
/// Values that one subkey may seal in one process. Random 96-bit nonces are safe to about 2^32;
/// this leaves room for many processes and restarts.
const MAX_SEALS_PER_SUBKEY: u64 = 1 << 28;

/// What the sentinel holds; its content is public, that it opens is the point.
const SENTINEL: &[u8] = b"agent-vault-master-key-check";
const SENTINEL_CONTEXT: SealContext<'static> = SealContext {
    kind: SealKind::Sentinel,
    owner: "instance",
    name: "master-key",
    version: 1,
};

/// Names a data key without telling anything about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; Self::BYTES]);

impl KeyId {
    /// Bytes in a key id.
    pub const BYTES: usize = 8;

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The data keys of one instance, ready for use: every key schedule is computed once, here.
///
/// The first key seals; all of them open, so that a rotation need not rewrite every value at once.
/// Share it behind an `Arc`; all methods take `&self` and are safe from any thread. Whoever shares it sees at once what
/// [`replace`](Self::replace) puts in.
pub struct Keyring(RwLock<Arc<Keys>>);

/// The keys as they are at one moment.
struct Keys {
    current: Arc<DataKey>,
    older: Vec<Arc<DataKey>>,
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Arc<DataKey>> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl Keyring {
    /// A keyring with one new random key.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when the operating system has no randomness to give.
    pub fn generate() -> Result<Self, SealError> {
        let key = DataKey::new(SecretBytes::new(random::array::<KEY_BYTES>()?.to_vec()))?;
        Ok(Self::of(Arc::new(key), Vec::new()))
    }

    /// Rebuilds a keyring from [`export`](Self::export)ed bytes: one or more 32-byte keys, the
    /// sealing one first.
    ///
    /// # Errors
    /// [`SealError::KeyLength`] when the length is not 1 to [`MAX_KEYS`] whole keys.
    pub fn from_dek(bytes: SecretBytes) -> Result<Self, SealError> {
        let wrong_length = SealError::KeyLength {
            expected: KEY_BYTES,
            actual: bytes.len(),
        };
        let (chunks, rest) = bytes.expose().as_chunks::<KEY_BYTES>();
        let Some((current, older)) = chunks.split_first() else {
            return Err(wrong_length);
        };
        if !rest.is_empty() || chunks.len() > MAX_KEYS {
            return Err(wrong_length);
        }
        let key =
            |chunk: &[u8; KEY_BYTES]| DataKey::new(SecretBytes::new(chunk.to_vec())).map(Arc::new);
        let older = older.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self::of(key(current)?, older))
    }

    /// The raw keys, for a key file or for wrapping. The most dangerous bytes of the product.
    pub fn export(&self) -> SecretBytes {
        let keys = self.keys();
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES * (1 + keys.older.len())));
        for key in keys.all() {
            bytes.extend_from_slice(key.raw.expose());
        }
        SecretBytes::from(bytes)
    }

    /// A keyring that seals with a new key and still opens what the old ones sealed. When
    /// [`MAX_KEYS`] is reached the oldest key is dropped: reseal with the current key before then.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when the operating system has no randomness to give.
    pub fn rotated(&self) -> Result<Self, SealError> {
        let key = DataKey::new(SecretBytes::new(random::array::<KEY_BYTES>()?.to_vec()))?;
        let older = self.keys().all().take(MAX_KEYS - 1).cloned().collect();
        Ok(Self::of(Arc::new(key), older))
    }

    /// The id of the key that seals.
    pub fn key_id(&self) -> KeyId {
        self.keys().current.id
    }

    /// The ids of the keys that only open, the newest first.
    pub fn older_ids(&self) -> Vec<KeyId> {
        self.keys().older.iter().map(|key| key.id).collect()
    }

    /// The keys as they are now, whatever is put in later.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self(RwLock::new(self.keys()))
    }

    /// The sealing key alone: what the older ones sealed opens no more.
    #[must_use]
    pub fn without_older(&self) -> Self {
        Self::of(Arc::clone(&self.keys().current), Vec::new())
    }

    /// The same keys, of which the one with this id seals; `None` when it is not among them.
    #[must_use]
    pub fn sealing_with(&self, id: KeyId) -> Option<Self> {
        let keys = self.keys();
        let current = keys.all().find(|key| key.id == id)?;
        let older = keys.all().filter(|key| key.id != id).cloned().collect();
        Some(Self::of(Arc::clone(current), older))
    }

    /// Puts the keys of another keyring in the place of these.
    pub fn replace(&self, by: &Self) {
        let keys = by.keys();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn of(current: Arc<DataKey>, older: Vec<Arc<DataKey>>) -> Self {
        Self(RwLock::new(Arc::new(Keys { current, older })))
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals `plaintext` for the place that `context` names, under a fresh random nonce.
    ///
    /// # Errors
    /// [`SealError::TooLong`] above [`MAX_PLAINTEXT_BYTES`]; [`SealError::KeyExhausted`] when the
    /// key must be rotated; [`SealError::Crypto`] when the library refuses.
    pub fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Result<Sealed, SealError> {
        if plaintext.len() > MAX_PLAINTEXT_BYTES {
            return Err(SealError::TooLong {
                max: MAX_PLAINTEXT_BYTES,
            });
        }
        let keys = self.keys();
        let subkey = keys.current.subkey(context.kind)?;
        if subkey.seals.fetch_add(1, Ordering::Relaxed) >= MAX_SEALS_PER_SUBKEY {
            return Err(SealError::KeyExhausted);
        }
        let mut head = [FORMAT_VERSION; HEAD_BYTES];
        if let Some((_, id)) = head.split_first_mut() {
            id.copy_from_slice(keys.current.id.as_bytes());
        }
        // Room for the tag at once: a growing buffer would leave a copy of the plaintext behind.
        let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_BYTES));
        body.extend_from_slice(plaintext);
        let nonce = subkey
            .key
            .seal_in_place_append_tag(Aad::from(context.associated_data(&head)), &mut *body)
            .map_err(|_| SealError::Crypto)?;
        Ok(Sealed::assemble(&head, nonce.as_ref(), &body))
    }

    /// Opens a value that was sealed for exactly this place.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] for a key that is not here, [`SealError::Tampered`] for a changed
    /// or moved value, [`SealError::Format`] for bytes that were never sealed.
    pub fn open(
        &self,
        context: &SealContext<'_>,
        sealed: &Sealed,
    ) -> Result<SecretBytes, SealError> {
        let parts = sealed.parts().ok_or(SealError::Format)?;
        let keys = self.keys();
        let key = keys
            .all()
            .find(|key| key.id == parts.key_id)
            .ok_or_else(|| SealError::UnknownKey {
                key_id: parts.key_id.to_string(),
            })?;
        let mut buffer = Zeroizing::new(parts.body.to_vec());
        let length = key
            .subkey(context.kind)?
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*parts.nonce),
                Aad::from(context.associated_data(parts.head)),
                &mut buffer,
            )
            .map_err(|_| SealError::Tampered)?
            .len();
        buffer.truncate(length);
        Ok(SecretBytes::from(buffer))
    }

    /// Seals the known text that later proves that a key belongs to this database.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn sentinel(&self) -> Result<Sealed, SealError> {
        self.seal(&SENTINEL_CONTEXT, SENTINEL)
    }

    /// Checks that this keyring made `sentinel`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn check_sentinel(&self, sentinel: &Sealed) -> Result<(), SealError> {
        if self
            .open(&SENTINEL_CONTEXT, sentinel)?
            .constant_time_eq(SENTINEL)
        {
            Ok(())
        } else {
            Err(SealError::Tampered)
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        write!(
            f,
            "Keyring({}, {} older)",
            keys.current.id,
            keys.older.len()
        )
    }
}

/// One data key with its id and its subkeys. The data key itself encrypts nothing.
struct DataKey {
    raw: SecretBytes,
    id: KeyId,
    subkeys: Vec<(SealKind, Subkey)>,
}

struct Subkey {
    key: RandomizedNonceKey,
    seals: AtomicU64,
}

impl DataKey {
    fn new(raw: SecretBytes) -> Result<Self, SealError> {
        // HKDF (RFC 5869): the fixed salt separates this product's use from any other of the bytes.
        let prk = Salt::new(HKDF_SHA256, b"agent-vault data key v1").extract(raw.expose());
        let mut id = [0; KeyId::BYTES];
        expand(&prk, "key id", &mut id)?;
        let mut subkeys = Vec::with_capacity(SealKind::ALL.len());
        for kind in SealKind::ALL {
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            expand(&prk, kind.label(), bytes.as_mut_slice())?;
            let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.as_slice())
                .map_err(|_| SealError::Crypto)?;
            subkeys.push((
                kind,
                Subkey {
                    key,
                    seals: AtomicU64::new(0),
                },
            ));
        }
        Ok(Self {
            raw,
            id: KeyId(id),
            subkeys,
        })
    }

    fn subkey(&self, kind: SealKind) -> Result<&Subkey, SealError> {
        self.subkeys
            .iter()
            .find_map(|(of, subkey)| (*of == kind).then_some(subkey))
            .ok_or(SealError::Crypto)
    }
}

fn expand(prk: &Prk, label: &str, output: &mut [u8]) -> Result<(), SealError> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    prk.expand(&[label.as_bytes()], Length(output.len()))
        .and_then(|okm| okm.fill(output))
        .map_err(|_| SealError::Crypto)
}

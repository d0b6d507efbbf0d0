//! [`SecretBytes`]: bytes that cannot be printed, cloned or serialised by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::SealError;

/// A plaintext secret, wiped when dropped.
///
/// `Debug` and `Display` print `[redacted]`. There is no `Clone`, `Deref` or `Serialize`: reading
/// takes [`expose`](Self::expose), copying takes [`duplicate`](Self::duplicate), both easy to
/// search for. Copies that other libraries make of exposed bytes cannot be wiped from here.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of `bytes`; they are wiped when this value is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself. Keep the borrow short and never log it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text.
    ///
    /// # Errors
    /// [`SealError::NotText`] when it is not UTF-8.
    pub fn expose_str(&self) -> Result<&str, SealError> {
        std::str::from_utf8(&self.0).map_err(|_| SealError::NotText)
    }

    /// A second copy, wiped on its own drop.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::new(self.0.to_vec())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in time that depends on the lengths only.
    pub fn constant_time_eq(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl Zeroize for SecretBytes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_of_itself() {
        let secret = SecretBytes::from("canary".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    }

    #[test]
    fn text_and_bytes() {
        assert_eq!(SecretBytes::new(b"k".to_vec()).expose_str(), Ok("k"));
        assert_eq!(
            SecretBytes::new(vec![0xff]).expose_str(),
            Err(SealError::NotText)
        );
        assert!(SecretBytes::new(b"ab".to_vec()).constant_time_eq(b"ab"));
        assert!(!SecretBytes::new(b"ab".to_vec()).constant_time_eq(b"a"));
    }
}

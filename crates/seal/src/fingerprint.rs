//! A short name for a text, by which two readers can tell whether they have read the same. Not for secrets.

use aws_lc_rs::digest::{SHA256, digest};

/// The first 64 bits of the SHA-256 of `text`, as 16 lower-case hex characters.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    hex::encode(digest.as_ref().iter().take(8).copied().collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn sixteen_characters_that_tell_texts_apart() {
        // SHA-256 of the empty text begins e3b0c44298fc1c14.
        assert_eq!(super::fingerprint(""), "e3b0c44298fc1c14");
        assert_ne!(super::fingerprint("a"), super::fingerprint("b"));
    }
}

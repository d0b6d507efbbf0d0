//! Codes of an authenticator app (RFC 6238): six digits of HMAC-SHA-1 over a step of thirty seconds,
//! which is what every such app computes.

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{SealError, SecretBytes, random};

/// Bytes of the shared secret: what RFC 4226 section 4 recommends.
const SECRET_BYTES: usize = 20;
/// Seconds that one code is shown.
pub const STEP_SECONDS: u64 = 30;
/// Steps before and after now whose codes are taken too: clocks differ, and people type slowly.
const DRIFT_STEPS: u64 = 1;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
/// RFC 4648 section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new shared secret.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn new_secret() -> Result<SecretBytes, SealError> {
    Ok(SecretBytes::new(random::array::<SECRET_BYTES>()?.to_vec()))
}

/// The secret as people type it and apps read it: base 32 without padding.
pub fn encoded(secret: &SecretBytes) -> Zeroizing<String> {
    Zeroizing::new(base32(secret.expose()))
}

/// The step whose code `code` is, if it is one of those around `now` (seconds since the Unix epoch)
/// and later than `last`, the step of the last code that was taken: none is taken twice.
///
/// Compared in constant time. Anything but six digits, white space aside, is no code.
pub fn matching_step(secret: &SecretBytes, code: &str, now: u64, last: u64) -> Option<u64> {
    let digits: Vec<u8> = code.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let step = now / STEP_SECONDS;
    let mut found = None;
    for candidate in step.saturating_sub(DRIFT_STEPS)..=step.saturating_add(DRIFT_STEPS) {
        let expected = code_at(secret, candidate);
        if bool::from(expected.as_bytes().ct_eq(&digits)) && candidate > last {
            found = Some(candidate);
        }
    }
    found
}

/// The code of one step (RFC 4226 section 5.3).
pub fn code_at(secret: &SecretBytes, step: u64) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
    let mut word = [0_u8; 4];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(offset)) {
        *to = *from;
    }
    let number = (u32::from_be_bytes(word) & 0x7fff_ffff) % MODULUS;
    Zeroizing::new(format!("{number:06}"))
}

/// A recovery code: 80 random bits as four groups of four base 32 characters.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn recovery_code() -> Result<Zeroizing<String>, SealError> {
    let text = Zeroizing::new(base32(&random::array::<10>()?));
    let groups: Vec<&str> = (0..4)
        .filter_map(|group| text.get(group * 4..group * 4 + 4))
        .collect();
    Ok(Zeroizing::new(groups.join("-")))
}

/// A recovery code however it was typed: upper case, without what separates its groups.
pub fn normal_recovery_code(text: &str) -> Zeroizing<String> {
    Zeroizing::new(
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .map(|c| c.to_ascii_uppercase())
            .collect(),
    )
}

/// Six uniform decimal digits, for a code that goes by mail.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn six_digits() -> Result<Zeroizing<String>, SealError> {
    // What is above the largest multiple is thrown again, so that no code is likelier than another.
    const FAIR: u32 = u32::MAX - u32::MAX % MODULUS;
    loop {
        let number = u32::from_be_bytes(random::array::<4>()?);
        if number < FAIR {
            return Ok(Zeroizing::new(format!("{:06}", number % MODULUS)));
        }
    }
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    let mut push = |index: u32| {
        let letter = BASE32.get((index & 31) as usize).copied();
        text.push(char::from(letter.unwrap_or(b'A')));
    };
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
            buffer &= (1 << bits) - 1;
        }
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc_secret() -> SecretBytes {
        SecretBytes::new(b"12345678901234567890".to_vec())
    }

    #[test]
    fn the_codes_of_the_rfcs() {
        // RFC 4226 appendix D.
        for (step, code) in [(0, "755224"), (1, "287082"), (8, "399871"), (9, "520489")] {
            assert_eq!(code_at(&rfc_secret(), step).as_str(), code);
        }
        // RFC 6238 appendix B, the last six digits.
        for (now, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(
                matching_step(&rfc_secret(), code, now, 0),
                Some(now / STEP_SECONDS)
            );
        }
    }

    #[test]
    fn neighbours_count_and_none_counts_twice() {
        let secret = rfc_secret();
        let now = 3_000_000;
        let step = now / STEP_SECONDS;
        for near in [step - 1, step, step + 1] {
            assert_eq!(
                matching_step(&secret, &code_at(&secret, near), now, 0),
                Some(near)
            );
        }
        for far in [step - 2, step + 2] {
            assert_eq!(matching_step(&secret, &code_at(&secret, far), now, 0), None);
        }
        let code = code_at(&secret, step);
        assert_eq!(matching_step(&secret, &code, now, step), None);
        assert_eq!(matching_step(&secret, &code, now, step - 1), Some(step));
        for bad in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(matching_step(&secret, bad, now, 0), None);
        }
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        assert_eq!(matching_step(&secret, &spaced, now, 0), Some(step));
    }

    #[test]
    fn base32_as_in_the_rfc() {
        // RFC 4648 section 10, without padding.
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        let secret = new_secret().unwrap();
        assert_eq!(encoded(&secret).len(), 32);
    }

    #[test]
    fn recovery_codes_have_one_spelling() {
        let code = recovery_code().unwrap();
        assert_eq!(code.len(), 19);
        assert_eq!(
            normal_recovery_code(&format!(" {} ", code.to_lowercase())),
            normal_recovery_code(&code)
        );
        assert_ne!(*code, *recovery_code().unwrap());
        assert_eq!(six_digits().unwrap().len(), 6);
    }
}

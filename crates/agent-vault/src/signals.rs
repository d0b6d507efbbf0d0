//! Which signals this process was told to ignore when it was started.
//!
//! `nohup` and a shell's background jobs start a program with some signals ignored. Listening for such a signal would undo
//! that, here and in every child.

use rustix::process::Signal;

/// True if the signal is ignored. Ask before listening for it.
#[cfg(target_os = "linux")]
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let mask = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| ignored_mask(&status));
    let bit = u32::try_from(signal.as_raw() - 1).unwrap_or(u32::MAX);
    mask.and_then(|mask| mask.checked_shr(bit))
        .is_some_and(|mask| mask & 1 == 1)
}

/// Other systems have no file that tells: every signal counts as listened for.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ignored(_signal: Signal) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn ignored_mask(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::Signal;

    #[test]
    fn sigpipe_is_ignored_in_every_rust_program() {
        assert!(super::is_ignored(Signal::PIPE));
        assert!(!super::is_ignored(Signal::TERM));
        assert_eq!(
            super::ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\n"),
            Some(0x1001)
        );
        assert_eq!(super::ignored_mask("Name:\tx\n"), None);
    }
}

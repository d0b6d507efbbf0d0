//! From the product's time to a certificate's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::CaError;

/// How far every certificate is dated back, so that a client whose clock is an hour slow accepts it with room to spare.
pub const BACKDATE: Duration = Duration::from_secs(2 * 60 * 60);

/// The last second that `GeneralizedTime` can show: 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// The two ends of a certificate's validity, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// From [`BACKDATE`] before `now` until `lifetime` after it, but never beyond `limit`.
    pub(crate) fn around(
        now: Timestamp,
        lifetime: Duration,
        limit: Option<Timestamp>,
    ) -> Result<Self, CaError> {
        let clock = || CaError::Clock { now };
        let back = SignedDuration::try_from(BACKDATE).map_err(|_| clock())?;
        let forth = SignedDuration::try_from(lifetime).map_err(|_| clock())?;
        let not_before = now.checked_sub(back).map_err(|_| clock())?;
        let mut not_after = now.checked_add(forth).map_err(|_| clock())?;
        if let Some(limit) = limit {
            not_after = not_after.min(limit);
        }
        if not_before.as_second() < 0 || not_after.as_second() > LAST_SECOND {
            return Err(clock());
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// Writes both ends into `params`.
    pub(crate) fn apply(&self, params: &mut rcgen::CertificateParams) {
        // The epoch comes from rcgen, so that its time library is not a dependency of ours; both ends were checked to lie
        // between 1970 and 9999, where neither the conversion nor the addition can fail.
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_epoch(self.not_before);
        params.not_after = epoch + since_epoch(self.not_after);
    }
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_clocks_are_errors() {
        for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let made = Validity::around(now, Duration::from_secs(60), None);
            assert!(matches!(made, Err(CaError::Clock { .. })), "{now}");
        }
    }

    #[test]
    fn never_beyond_the_limit() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let limit = Timestamp::from_second(1_800_000_100).unwrap();
        let made = Validity::around(now, Duration::from_secs(3600), Some(limit)).unwrap();
        assert_eq!(made.not_after, limit);
        assert_eq!(made.not_before.as_second(), 1_800_000_000 - 7200);
    }
}

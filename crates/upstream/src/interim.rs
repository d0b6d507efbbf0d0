//! Interim responses (1xx), for whoever wants to hear them before the answer (RFC 9110 section 15.2).

use http::{HeaderMap, StatusCode};

/// Most interim responses before one answer. An upstream that says more is not waited for: it could go on forever.
pub const MAX_INTERIM: u32 = 4096;

/// Hears what an upstream says before its answer, over either version. Called in order, from the task that reads the
/// connection; it must not block.
pub trait Interim: Clone + Send + Sync + 'static {
    /// One interim response: any 1xx but `101`.
    fn hear(&self, status: StatusCode, headers: &HeaderMap);
}

/// Hears nothing.
impl Interim for () {
    fn hear(&self, _: StatusCode, _: &HeaderMap) {}
}

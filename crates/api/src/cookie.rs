//! The session cookie.

use http::HeaderValue;

use crate::client::Client;

/// Name of the cookie.
pub(crate) const COOKIE_NAME: &str = "av_session";
/// Life of the cookie, as long as a login can live.
const MAX_AGE_SECONDS: u32 = 365 * 24 * 3600;

/// A `Set-Cookie` value that keeps `token`; `None` when it could not stand in a header.
pub(crate) fn keep(token: &str, client: &Client) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&attributes(token, MAX_AGE_SECONDS, client)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A `Set-Cookie` value that takes the cookie away.
pub(crate) fn clear(client: &Client) -> Option<HeaderValue> {
    HeaderValue::from_str(&attributes("", 0, client)).ok()
}

fn attributes(token: &str, max_age: u32, client: &Client) -> String {
    let secure = if client.secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}")
}

//! Injected fields, and the header surface.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::encode::Encoding;
use super::{Entries, SubstitutionError, Values, unchecked};
use crate::credential::CredentialKey;
use crate::header_field::validate_header_safe;
use crate::ruleset::Rule;
use crate::service::Auth;
use crate::template::Piece;

/// Clients write Basic credentials with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Rule {
    /// The fields to set on the outgoing request, marked sensitive. Set each once, after dropping what the client sent under its name.
    ///
    /// # Errors
    /// When a credential is missing or its value cannot stand in a header.
    pub fn auth_headers(
        &self,
        values: &dyn Values,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SubstitutionError> {
        match &self.service().auth {
            Auth::Bearer { token } => {
                let value = header_safe(token, &AUTHORIZATION, values)?;
                Ok(vec![(
                    AUTHORIZATION,
                    sensitive(&concat(&[b"Bearer ", value]), token, &AUTHORIZATION)?,
                )])
            }
            Auth::Basic { username, password } => {
                let user = value_of(username, values)?;
                let password = password
                    .as_ref()
                    .map(|key| value_of(key, values))
                    .transpose()?
                    .unwrap_or_default();
                let field = basic_value(&concat(&[user, b":", password]));
                Ok(vec![(
                    AUTHORIZATION,
                    sensitive(&field, username, &AUTHORIZATION)?,
                )])
            }
            Auth::ApiKey {
                key,
                header,
                prefix,
            } => {
                let value = header_safe(key, header.name(), values)?;
                let field = sensitive(&concat(&[prefix.as_bytes(), value]), key, header.name())?;
                Ok(vec![(header.name().clone(), field)])
            }
            Auth::Custom { headers } => {
                let mut fields = Vec::with_capacity(headers.len());
                for (header, template) in headers {
                    let mut parts: Vec<&[u8]> = Vec::new();
                    for piece in template.pieces() {
                        match piece {
                            Piece::Literal(text) => parts.push(text.as_bytes()),
                            Piece::Key(key) => {
                                parts.push(header_safe(key, header.name(), values)?);
                            }
                        }
                    }
                    let text = concat(&parts);
                    // The literal text was checked when the rule was written, each value just now.
                    fields.extend(mark(&text).map(|field| (header.name().clone(), field)));
                }
                Ok(fields)
            }
            Auth::Passthrough => Ok(Vec::new()),
        }
    }

    /// Replaces placeholders in the values of the client's fields, also inside the base64 of `Basic` credentials. Call it before the
    /// injected fields are set; fields that the rule injects are left alone in any case. True when something changed.
    ///
    /// # Errors
    /// When a credential is missing or its value cannot stand in a header. Fields before the failing one may have changed already: on
    /// an error the request is not to be sent.
    pub fn rewrite_headers(
        &self,
        headers: &mut HeaderMap,
        values: &dyn Values,
    ) -> Result<bool, SubstitutionError> {
        if !self.rewrites_headers() {
            return Ok(false);
        }
        let mut changed = false;
        for (name, value) in headers.iter_mut() {
            if is_framing(name) || self.injects_header(name) {
                continue;
            }
            let Some(entries) = self.header_entries(name) else {
                continue;
            };
            if let Some(rewritten) = rewrite_value(entries, name, value, values)? {
                *value = rewritten;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Whether the rule replaces anything in headers.
    #[must_use]
    pub fn rewrites_headers(&self) -> bool {
        self.surfaces.any_header.is_some() || !self.surfaces.named_headers.is_empty()
    }

    fn header_entries(&self, name: &HeaderName) -> Option<&Entries> {
        let named = self
            .surfaces
            .named_headers
            .iter()
            .find(|(known, _)| known == name);
        named
            .map(|(_, entries)| entries)
            .or(self.surfaces.any_header.as_ref())
            .map(Arc::as_ref)
    }
}

/// The names of the fields that an injection sets.
pub(crate) fn injected_names(auth: &Auth) -> Vec<HeaderName> {
    match auth {
        Auth::Bearer { .. } | Auth::Basic { .. } => vec![AUTHORIZATION],
        Auth::ApiKey { header, .. } => vec![header.name().clone()],
        Auth::Custom { headers } => headers
            .iter()
            .map(|(header, _)| header.name().clone())
            .collect(),
        Auth::Passthrough => Vec::new(),
    }
}

/// The decoded credentials of a `Basic` field value (RFC 7617); nothing for other schemes and malformed base64.
pub(crate) fn basic_credentials(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    LENIENT.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

fn rewrite_value(
    entries: &Entries,
    name: &HeaderName,
    value: &HeaderValue,
    values: &dyn Values,
) -> Result<Option<HeaderValue>, SubstitutionError> {
    // Inside base64 every value is safe; outside it must be one that a header can carry.
    if let Some(credentials) = basic_credentials(value.as_bytes())
        && let Some(rewritten) = entries.replace(&credentials, Encoding::Raw, values, &unchecked)?
    {
        return Ok(mark(&basic_value(&rewritten)));
    }
    let check = |key: &CredentialKey, text: &[u8]| {
        validate_header_safe(text).map_err(|reason| SubstitutionError::UnsafeHeader {
            key: key.clone(),
            header: name.to_string(),
            reason,
        })
    };
    let rewritten = entries.replace(value.as_bytes(), Encoding::Raw, values, &check)?;
    Ok(rewritten.and_then(|rewritten| mark(&rewritten)))
}

/// Every part was checked before: the result is always there.
fn mark(text: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn sensitive(
    text: &[u8],
    key: &CredentialKey,
    header: &HeaderName,
) -> Result<HeaderValue, SubstitutionError> {
    mark(text).ok_or_else(|| SubstitutionError::UnsafeHeader {
        key: key.clone(),
        header: header.to_string(),
        reason: crate::header_field::HeaderUnsafe::Control,
    })
}

fn value_of<'v>(
    key: &CredentialKey,
    values: &'v dyn Values,
) -> Result<&'v [u8], SubstitutionError> {
    values
        .value(key)
        .ok_or_else(|| SubstitutionError::MissingCredential { key: key.clone() })
}

fn header_safe<'v>(
    key: &CredentialKey,
    header: &HeaderName,
    values: &'v dyn Values,
) -> Result<&'v [u8], SubstitutionError> {
    let value = value_of(key, values)?;
    validate_header_safe(value).map_err(|reason| SubstitutionError::UnsafeHeader {
        key: key.clone(),
        header: header.to_string(),
        reason,
    })?;
    Ok(value)
}

/// Joins with one allocation, so that growing leaves no copy behind.
fn concat(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(parts.concat())
}

fn basic_value(credentials: &[u8]) -> Zeroizing<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(credentials));
    concat(&[b"Basic ", encoded.as_bytes()])
}

/// Fields that say where a message goes or ends: the proxy computes them, a placeholder in them is nobody's business.
fn is_framing(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name)
}

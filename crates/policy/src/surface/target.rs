//! The path and query surfaces.

use super::encode::Encoding;
use super::{SubstitutionError, Values, unchecked};
use crate::credential::CredentialKey;
use crate::ruleset::Rule;
use crate::target::{RequestTarget, escapes_are_sound};

impl Rule {
    /// Replaces placeholders in path and query. Nothing when the target stays as it is. The result contains secrets: it goes to the
    /// upstream and nowhere else.
    ///
    /// # Errors
    /// When a credential is missing, its value would change the path's structure, or the path does not decode afterwards.
    pub fn rewrite_target(
        &self,
        target: &RequestTarget,
        values: &dyn Values,
    ) -> Result<Option<String>, SubstitutionError> {
        let path = match &self.surfaces.path {
            Some(entries) => entries.replace(
                target.path().as_bytes(),
                Encoding::PathSegment,
                values,
                &refuse_dot_segments,
            )?,
            None => None,
        };
        let query = match (&self.surfaces.query, target.query()) {
            (Some(entries), Some(query)) => {
                entries.replace(query.as_bytes(), Encoding::Form, values, &unchecked)?
            }
            _ => None,
        };
        if path.is_none() && query.is_none() {
            return Ok(None);
        }
        if path.as_ref().is_some_and(|path| !escapes_are_sound(path)) {
            return Err(SubstitutionError::PathEscape);
        }
        let path = path
            .as_ref()
            .map_or(target.path().as_bytes(), |path| path.as_slice());
        let query_part = match (&query, target.query()) {
            (Some(query), _) => Some(query.as_slice()),
            (None, query) => query.map(str::as_bytes),
        };
        let length = path
            .len()
            .saturating_add(query_part.map_or(0, |query| query.len().saturating_add(1)));
        let mut joined = Vec::with_capacity(length);
        joined.extend_from_slice(path);
        if let Some(query) = query_part {
            joined.push(b'?');
            joined.extend_from_slice(query);
        }
        // Both encodings yield ASCII from any value, and the target was ASCII.
        String::from_utf8(joined)
            .map(Some)
            .map_err(|_| SubstitutionError::PathEscape)
    }

    /// Whether the rule replaces anything in path or query.
    #[must_use]
    pub fn rewrites_target(&self) -> bool {
        self.surfaces.path.is_some() || self.surfaces.query.is_some()
    }
}

/// An empty value and dot segments would make another path of the one that was matched.
fn refuse_dot_segments(key: &CredentialKey, value: &[u8]) -> Result<(), SubstitutionError> {
    match value {
        b"" | b"." | b".." => Err(SubstitutionError::UnsafePath { key: key.clone() }),
        _ => Ok(()),
    }
}

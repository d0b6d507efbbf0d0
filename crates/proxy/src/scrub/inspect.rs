//! Decoding a request body only to look at it; what is sent stays encoded.

use bytes::Bytes;
use http::HeaderMap;

use super::decode::{DecodeError, Decoder};
use super::encoding::{EncodingError, codings};

/// Bytes that one piece of a body may expand to and be looked at; after more, nothing is.
const MAX_LOOKED_AT: usize = 4 * 1024 * 1024;

/// Undoes the content codings of one request body.
#[derive(Debug)]
pub(crate) struct Inspection(Decoder);

/// Why a body is not looked at further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectionError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a piece of the request body expands to more than {} MiB", MAX_LOOKED_AT / (1024 * 1024))]
    TooMuch,
}

impl Inspection {
    /// Nothing for a body that is not encoded.
    ///
    /// # Errors
    /// When a coding is not known here.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, EncodingError> {
        let codings = codings(headers)?;
        Ok((!codings.is_empty()).then(|| Self(Decoder::new(&codings))))
    }

    /// Shows what the next piece decodes to.
    ///
    /// # Errors
    /// When it does not, or to too much. The body must not be looked at further.
    pub(crate) fn look(
        &mut self,
        encoded: &Bytes,
        eye: &mut dyn FnMut(&[u8]),
    ) -> Result<(), InspectionError> {
        if encoded.is_empty() {
            return Ok(());
        }
        self.0.supply(encoded.clone());
        let mut seen = 0;
        while let Some(decoded) = self.0.pull()? {
            eye(&decoded);
            seen += decoded.len();
            if seen > MAX_LOOKED_AT {
                return Err(InspectionError::TooMuch);
            }
        }
        Ok(())
    }
}

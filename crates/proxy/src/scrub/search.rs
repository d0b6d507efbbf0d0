//! The use of a scrubber for one exchange: what was found is counted, wherever it was.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::stream::ScrubStream;
use super::{Fit, MIN_VALUE_BYTES, Scrubber};

/// Searches everything that one upstream says in one exchange. Clones count together.
#[derive(Clone)]
pub struct Search {
    scrubber: Arc<Scrubber>,
    found: Arc<AtomicU32>,
}

impl Search {
    pub(super) fn new(scrubber: Arc<Scrubber>) -> Self {
        Self {
            scrubber,
            found: Arc::default(),
        }
    }

    pub(super) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// How many finds were replaced so far.
    #[must_use]
    pub fn found(&self) -> u32 {
        self.found.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, finds: u32) {
        self.found.fetch_add(finds, Ordering::Relaxed);
    }

    /// Returns `text`, taken as a whole, with every find replaced, or `None` when there is nothing to replace.
    #[must_use]
    pub fn replace(&self, text: &[u8], fit: Fit) -> Option<Vec<u8>> {
        let (replaced, finds) = self.scrubber.replace(text, fit)?;
        self.count(finds);
        Some(replaced)
    }

    /// Replaces finds in header values, in place; used for response headers (`Location` and any other) and for trailers.
    /// A field whose name is a value is taken off.
    pub fn scrub_headers(&self, headers: &mut HeaderMap) {
        let mut named: Vec<HeaderName> = Vec::new();
        for (name, value) in headers.iter_mut() {
            if name.as_str().len() >= MIN_VALUE_BYTES
                && self.replace(name.as_str().as_bytes(), Fit::Free).is_some()
            {
                named.push(name.clone());
                continue;
            }
            let Some(replaced) = self.replace(value.as_bytes(), Fit::Free) else {
                continue;
            };
            // A label is visible ASCII, so a valid value stays valid.
            let mut replaced = HeaderValue::from_bytes(&replaced)
                .unwrap_or_else(|_| HeaderValue::from_static("*"));
            replaced.set_sensitive(value.is_sensitive());
            *value = replaced;
        }
        for name in named {
            headers.remove(name);
        }
    }

    /// Starts on one byte stream.
    #[must_use]
    pub fn stream(&self, fit: Fit) -> ScrubStream {
        ScrubStream::new(self.clone(), fit)
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("found", &self.found())
            .finish_non_exhaustive()
    }
}

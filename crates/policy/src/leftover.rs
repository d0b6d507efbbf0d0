//! Placeholders that leave for an upstream as they are: which, and whether each stands where a credential would.
//!
//! One search, whatever the surface: all placeholders of the vault at once, over what is sent. Where one occurs, the few bytes around it
//! tell whether it is a value or a part of a text. Nothing is held back, nothing is parsed.

mod grammar;
mod watch;

pub(crate) use grammar::CONVERSATION;
pub use watch::LeftoverWatch;

use crate::credential::CredentialKey;

/// Placeholders that are named for one part of a request. Of further ones it is said that they are there.
pub const MAX_LEFTOVERS: usize = 8;

/// How a placeholder stood where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// As a value of its own, where a credential would: most likely the request fails for it.
    Sent,
    /// Inside a longer text, or in a conversation with a model: somebody's words about it.
    Quoted,
}

/// The placeholders that were found, by the credentials that they stand for; each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    found: Vec<(CredentialKey, Standing)>,
    more: bool,
}

impl Leftovers {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Each in the order in which it was first found; the worse of how it stood.
    pub fn iter(&self) -> impl Iterator<Item = (&CredentialKey, Standing)> {
        self.found.iter().map(|(key, standing)| (key, *standing))
    }

    /// Whether there are more than [`MAX_LEFTOVERS`].
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Adds what `other` has. True when that is anything new.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut changed = other.more && !self.more;
        self.more |= other.more;
        for (key, standing) in other.iter() {
            changed |= self.note(key, standing);
        }
        changed
    }

    fn note(&mut self, key: &CredentialKey, standing: Standing) -> bool {
        if let Some((_, known)) = self.found.iter_mut().find(|(known, _)| known == key) {
            let worse = standing < *known;
            *known = standing.min(*known);
            return worse;
        }
        if self.found.len() >= MAX_LEFTOVERS {
            return !std::mem::replace(&mut self.more, true);
        }
        self.found.push((key.clone(), standing));
        true
    }

    /// The same, none of them as a value.
    fn quoted(&self) -> Self {
        let mut quoted = self.clone();
        for (_, standing) in &mut quoted.found {
            *standing = Standing::Quoted;
        }
        quoted
    }

    fn any_sent(&self) -> bool {
        self.iter().any(|(_, standing)| standing == Standing::Sent)
    }
}

/// What is noted of whatever stands in a head: nobody writes prose there.
pub(crate) fn note_in_head(leftovers: &mut Leftovers, key: &CredentialKey) {
    leftovers.note(key, Standing::Sent);
}

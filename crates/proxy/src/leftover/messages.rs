//! The messages of a WebSocket, watched as they leave.

use std::sync::Arc;

use agent_vault_policy::{LeftoverWatch, RuleSet};

use super::{Place, Watching};
use crate::relay::Fate;
use crate::websocket::MessageWatcher;

/// Looks at one message after the other; each may be of another kind.
pub(crate) struct Messages {
    watch: LeftoverWatch,
    watching: Watching,
}

impl Messages {
    /// Nothing when there is nothing to look for.
    pub(crate) fn new(rules: Option<&RuleSet>, fate: &Arc<Fate>) -> Option<Self> {
        Some(Self {
            watch: rules?.watch(None)?,
            watching: Watching::begin(fate),
        })
    }

    /// A message is judged when it ends: only then it is clear what it is.
    fn end(&mut self) {
        self.watch.feed(&[], true);
        let found = self.watch.leftovers();
        self.watch.restart();
        if !found.is_empty() {
            self.watching.noted().change(|state| {
                let (_, all) = state.found.get_or_insert_with(|| {
                    (Place::Websocket, agent_vault_policy::Leftovers::default())
                });
                all.merge(&found);
            });
        }
    }
}

impl MessageWatcher for Messages {
    fn look(&mut self, payload: &[u8], fin: bool) {
        self.watch.feed(payload, false);
        if fin {
            self.end();
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // A message that was broken off.
        self.end();
    }
}

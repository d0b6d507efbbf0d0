//! What agents ask to change, and the decisions on it.
//!
//! | file | for whom |
//! |---|---|
//! | `agent.rs` | agents: raise, list, wait |
//! | `review.rs` | people who look |
//! | `decide.rs` | people who decide |
//! | `link.rs` | whoever has the link, and their browser |
//! | `view.rs` | what more than one of them shows |

pub(crate) mod agent;
pub(crate) mod decide;
pub(crate) mod link;
pub(crate) mod review;
mod view;

use crate::error::ApiError;

/// Reads the number of a proposal.
fn number(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            ApiError::bad_request("id: must be a proposal's number").hint("for example `1`")
        })
}

//! Upstreams and agents that fail in the middle: whatever is cut short must look cut short on the other side.

mod answers;
mod certificates;
mod clock;
mod cutter;
mod frames;
mod http2;
mod lengths;

use agent_vault_testing::client::{self, Answer};
use agent_vault_testing::within;
use bytes::Bytes;

use crate::fixture::{Agent, Stage, Way};

/// A host that no service of a test's vault matches: nothing is injected and nothing scrubbed.
pub(super) const OTHER: &str = "other.example.test";

/// What an agent made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Our own 502, and its word for the log.
    Refused,
    /// It was seen to break off: the connection or the stream ended before the answer did.
    Broken,
    /// It came to its end as HTTP has it.
    Whole(Bytes),
}

/// Asks, and tells how it ended. `agent` is replaced when its connection does not serve another request.
async fn outcome(
    stage: &Stage,
    agent: &mut Option<Agent>,
    way: Way,
    authority: &str,
    path: &str,
) -> Outcome {
    let mut using = match agent.take() {
        Some(agent) => agent,
        None => Agent::open(stage, way, authority).await,
    };
    let coded = [("accept-encoding", "gzip, deflate, br, zstd")];
    let response = match using.send("GET", path, &coded, client::empty()).await {
        Ok(response) => response,
        Err(_) => {
            if way.is_h2() {
                *agent = Some(using);
            }
            return Outcome::Broken;
        }
    };
    let status = response.status();
    let is_ours = response.headers().contains_key("x-agent-vault-proxy-error");
    match within("the end of an answer", Answer::read(response)).await {
        Err(_) => {
            // A broken stream must not cost the connection that others share.
            if way.is_h2() {
                *agent = Some(using);
            }
            Outcome::Broken
        }
        Ok(answer) => {
            *agent = Some(using);
            if is_ours {
                assert_eq!(status, 502, "{answer:?}");
                crate::fixture::refusal(&answer);
                Outcome::Refused
            } else {
                assert_eq!(status, 200, "{answer:?}");
                Outcome::Whole(answer.body)
            }
        }
    }
}
